"""Which requests does the router itself answer?

| Route | Answer |
|---|---|
| GET /status | the overview as text; 503 (body complete all the same) until start-up is over |
| GET /status/connections, /peers, /targets, /paths | tables as text |
| GET /report | JSON, `docs/report.schema.json` |
| GET /metrics | for Prometheus |
| GET /healthz | `ok`, or 503 until start-up is over |
| POST /connect | form `peer=…&peer=…&replace=true`; 400 with what was wrong, good ones are kept |
| POST /forget | form `peer=…` |
| POST /stop | the router says goodbye and ends |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response, document, text
from weave_py.api.route import Handler, Route
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe import metrics, status
from weave_py.observe.report import ReportExtras, report
from weave_py.observe.sections import SECTIONS


class ControlService(Protocol):
    """What the API needs of the router that runs it."""

    @property
    def is_ready(self) -> bool: ...

    def snapshot(self) -> RouterSnapshot: ...

    async def report_extras(self) -> ReportExtras: ...

    async def connect(self, targets: list[str], replace: bool) -> list[str]:
        """Add targets, or make them all there are; returns what was wrong with the bad ones."""
        ...

    async def forget(self, targets: list[str]) -> None: ...

    def stop(self) -> None:
        """Begin to end the router; returns at once."""
        ...


def router_routes(service: ControlService) -> tuple[Route, ...]:
    """The routes of a router."""
    own = _Handlers(service)
    return (
        Route("GET", "/status", own.status),
        *(Route("GET", f"/status/{part.name}", own.table(part.text)) for part in SECTIONS),
        Route("GET", "/metrics", own.metrics),
        Route("GET", "/report", own.report),
        Route("GET", "/healthz", own.healthz),
        Route("POST", "/connect", own.connect),
        Route("POST", "/forget", own.forget),
        Route("POST", "/stop", own.stop),
    )


class _Handlers:
    def __init__(self, service: ControlService) -> None:
        self._service = service

    def table(self, render: Callable[[RouterSnapshot], str]) -> Handler:
        async def handler(request: Request) -> Response:
            return _said(HTTPStatus.OK, render(self._service.snapshot()))

        return handler

    async def metrics(self, request: Request) -> Response:
        values = metrics.exposition(self._service.snapshot())
        return Response(HTTPStatus.OK, values.encode(), metrics.CONTENT_TYPE)

    async def status(self, request: Request) -> Response:
        extras = await self._service.report_extras()
        code = HTTPStatus.OK if extras.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _said(code, status.status(self._service.snapshot(), extras))

    async def report(self, request: Request) -> Response:
        if "format" in request.parameters():
            raise Refusal(
                text(
                    HTTPStatus.BAD_REQUEST,
                    "templates are not supported: take the JSON and select from it (with jq, say)",
                )
            )
        extras = await self._service.report_extras()
        return document(report(self._service.snapshot(), extras, datetime.now(UTC)))

    async def healthz(self, request: Request) -> Response:
        if self._service.is_ready:  # (asked often, and by machines: nothing is looked up for it)
            return text(HTTPStatus.OK, "ok")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "starting")

    async def connect(self, request: Request) -> Response:
        form = request.form()
        peers, replace = form.get("peer", []), form.get("replace", ["false"])[-1].lower()
        if replace not in ("true", "false", "1", "0"):
            return text(HTTPStatus.BAD_REQUEST, "replace must be true or false")
        replacing = replace in ("true", "1")
        if not peers and not replacing:
            return text(HTTPStatus.BAD_REQUEST, "no peer given: send peer=HOST")
        errors = await self._service.connect(peers, replacing)
        return text(HTTPStatus.BAD_REQUEST, "\n".join(errors)) if errors else _done()

    async def forget(self, request: Request) -> Response:
        peers = request.form().get("peer", [])
        if not peers:
            return text(HTTPStatus.BAD_REQUEST, "no peer given: send peer=HOST")
        await self._service.forget(peers)
        return _done()

    async def stop(self, request: Request) -> Response:
        return Response(HTTPStatus.OK, b"stopping\n", after=self._service.stop)


def _said(code: HTTPStatus, words: str) -> Response:
    return Response(code, words.encode())


def _done() -> Response:
    return Response(HTTPStatus.OK)
