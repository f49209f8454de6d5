"""A router that runs the toy service: `python -m tests.kit.counter_daemon launch …`.

GET /counter              all counters, as JSON
POST /counter/NUMBER      add to ours; the sum of all
GET /counter/PEER         asks that peer, and waits until it answers or is forgotten
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from tests.kit.counter_service import Add, All, Ask, CounterService
from weave_py.__main__ import main
from weave_py.api.request import Request
from weave_py.api.response import Response, document, text
from weave_py.api.route import Limits, Route
from weave_py.model.names import name_text, parse_name
from weave_py.runtime import daemon
from weave_py.runtime.services import Offer, Requests

PATIENT = Limits(seconds=120.0, ends_with_caller=True)


def routes(requests: Requests) -> Sequence[Route]:
    async def everybody(request: Request) -> Response:
        found = await requests.ask(All())
        assert isinstance(found, dict)
        return document({name_text(peer): count for peer, count in found.items()})

    async def add(request: Request) -> Response:
        return text(HTTPStatus.OK, str(await requests.ask(Add(request.value("number", int)))))

    async def ask(request: Request) -> Response:
        count = await requests.ask(Ask(parse_name(request.value("peer", str))))
        if count is None:
            return text(HTTPStatus.NOT_FOUND, "that peer is gone")
        return text(HTTPStatus.OK, str(count))

    return (
        Route("GET", "/counter", everybody),
        Route("POST", "/counter/{number:int}", add),
        Route("GET", "/counter/{peer}", ask, PATIENT),
    )


if __name__ == "__main__":
    offers = (Offer(lambda config: CounterService(), routes),)
    daemon.run = partial(daemon.run, offers=offers)
    sys.exit(main())
