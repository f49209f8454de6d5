"""Which requests does the control API know, and which does it refuse?

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

The API has no login: whoever reaches it may use it. Browsers reach it on behalf of any web page,
so: a page of another name (DNS rebinding) is told by its `Host`; calls that change something must
not carry `Origin`, `Referer` or `Sec-Fetch-Site`, of which browsers send at least one with every
such request and command line tools none. No CORS header is ever sent, so a foreign page that does
get an answer cannot read it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe import metrics, status
from weave_py.observe.report import ReportExtras, report
from weave_py.observe.sections import SECTIONS

MAX_FORM_FIELDS = 1024
TEXT = "text/plain; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
BROWSER_HEADERS = ("origin", "referer", "sec-fetch-site")


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


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the transport read it, complete and within the limits."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `after` is called once it has been sent."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    after: Callable[[], None] | None = field(default=None, compare=False)


def text(status_code: HTTPStatus, line: str, *headers: tuple[str, str]) -> Response:
    """A one-line answer."""
    return Response(status_code, line + "\n", headers=headers)


Handler = Callable[[Request, ControlService], Awaitable[Response]]


async def answer(
    request: Request, service: ControlService, hosts: frozenset[str] | None
) -> Response:
    """The answer to a request; `hosts` as `allowed_hosts` made it."""
    if hosts is not None and (request.header("host") or "").lower() not in hosts:
        return text(
            HTTPStatus.FORBIDDEN,
            "the Host header names another server: use the address we listen on, or localhost",
        )
    methods = ROUTES.get(request.path)
    if methods is None:
        return text(HTTPStatus.NOT_FOUND, "there is nothing at this path")
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        allowed = "GET, HEAD" if "GET" in methods else ", ".join(methods)
        return text(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}", ("Allow", allowed))
    refusal = _refusal(request) if request.method == "POST" else None
    return refusal or await handler(request, service)


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """The `Host` values of requests meant for a listener at this address.

    A web page can only bring a name it was loaded from; loopback's names are never such.
    """
    names = {f"[{host}]" if ":" in host else host, "localhost", "127.0.0.1", "[::1]"}
    return frozenset(names | {f"{name}:{port}" for name in names})


def _refusal(request: Request) -> Response | None:
    for name in BROWSER_HEADERS:
        if request.header(name) is not None:
            return text(
                HTTPStatus.FORBIDDEN,
                f"this changes the router and is not for web pages: the {name} header is set",
            )
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if request.body and kind != FORM:
        return text(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the form as {FORM}")
    return None


async def _status(request: Request, service: ControlService) -> Response:
    extras = await service.report_extras()
    code = HTTPStatus.OK if extras.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(code, status.status(service.snapshot(), extras))


def _table(render: Callable[[RouterSnapshot], str], kind: str = TEXT) -> Handler:
    async def handler(request: Request, service: ControlService) -> Response:
        return Response(HTTPStatus.OK, render(service.snapshot()), kind)

    return handler


async def _report(request: Request, service: ControlService) -> Response:
    if "format=" in request.query:
        return text(
            HTTPStatus.BAD_REQUEST,
            "templates are not supported: take the JSON and select from it (with jq, say)",
        )
    extras = await service.report_extras()
    document = report(service.snapshot(), extras, datetime.now(UTC))
    return Response(HTTPStatus.OK, json.dumps(document, indent=4) + "\n", "application/json")


async def _healthz(request: Request, service: ControlService) -> Response:
    if service.is_ready:  # (asked often, and by machines: nothing is looked up for it)
        return text(HTTPStatus.OK, "ok")
    return text(HTTPStatus.SERVICE_UNAVAILABLE, "starting")


async def _connect(request: Request, service: ControlService) -> Response:
    form = _form_untrusted(request.body)
    if form is None:
        return text(HTTPStatus.BAD_REQUEST, "the body is not a form: send peer=HOST&peer=HOST")
    peers, replace = form.get("peer", []), form.get("replace", ["false"])[-1].lower()
    if replace not in ("true", "false", "1", "0"):
        return text(HTTPStatus.BAD_REQUEST, "replace must be true or false")
    replacing = replace in ("true", "1")
    if not peers and not replacing:
        return text(HTTPStatus.BAD_REQUEST, "no peer given: send peer=HOST")
    errors = await service.connect(peers, replacing)
    return text(HTTPStatus.BAD_REQUEST, "\n".join(errors)) if errors else _done()


async def _forget(request: Request, service: ControlService) -> Response:
    peers = (_form_untrusted(request.body) or {}).get("peer", [])
    if not peers:
        return text(HTTPStatus.BAD_REQUEST, "no peer given: send peer=HOST")
    await service.forget(peers)
    return _done()


async def _stop(request: Request, service: ControlService) -> Response:
    return Response(HTTPStatus.OK, "stopping\n", after=service.stop)


def _done() -> Response:
    return Response(HTTPStatus.OK, "")


def _form_untrusted(body: bytes) -> dict[str, list[str]] | None:
    """The fields of a form; None for what is none."""
    try:
        return parse_qs(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        return None


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/status": {"GET": _status},
    **{f"/status/{section.name}": {"GET": _table(section.text)} for section in SECTIONS},
    "/metrics": {"GET": _table(metrics.exposition, metrics.CONTENT_TYPE)},
    "/report": {"GET": _report},
    "/healthz": {"GET": _healthz},
    "/connect": {"POST": _connect},
    "/forget": {"POST": _forget},
    "/stop": {"POST": _stop},
}
