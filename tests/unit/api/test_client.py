"""The client asks a true server, over either kind of address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from weave_py.api.application import Application
from weave_py.api.client import RouterClient
from weave_py.api.listener import Listener, open_listener
from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response, text
from weave_py.api.route import Limits, Route
from weave_py.api.server import serve_api
from weave_py.config.resolve import HttpAddress
from weave_py.model.errors import RequestRefused, RouterNotRunning

T = TypeVar("T")


async def say(request: Request) -> Response:
    words = [request.method, *map(str, request.values.values()), request.body.decode()]
    return text(HTTPStatus.OK, " ".join(words))


async def free(request: Request) -> Response:
    return Response(HTTPStatus.NO_CONTENT)


async def refuse(request: Request) -> Response:
    raise Refusal(Response(HTTPStatus.BAD_REQUEST, b"not this\n\nnor that\n"))


APPLICATION = Application(
    [
        Route("GET", "/say/{what...}", say),
        Route("PUT", "/say/{what...}", say, Limits(content_types=frozenset({"application/json"}))),
        Route("POST", "/say", say),
        Route("DELETE", "/say", free),
        Route("POST", "/refuse", refuse),
    ]
)


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> HttpAddress:
    if request.param == "unix":
        return HttpAddress("", 0, str(tmp_path / "s"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return HttpAddress("127.0.0.1", int(probe.getsockname()[1]))


async def asked(address: HttpAddress, ask: Callable[[RouterClient], T]) -> T:
    async with trio.open_nursery() as nursery:
        listener = open_listener(Listener(address=address, application=APPLICATION))
        await nursery.start(serve_api, [listener])
        answer = await trio.to_thread.run_sync(ask, RouterClient(address))
        nursery.cancel_scope.cancel()
    return answer


async def test_every_method(address: HttpAddress) -> None:
    def ask(router: RouterClient) -> list[object]:
        return [
            router.get("/say/c%2F1/x"),
            router.post("/say", [("peer", "a b")]),
            router.ask("PUT", "/say/y", b"[1]", "application/json"),
            router.ask("DELETE", "/say"),
            router.ask("PUT", "/say/y", b"a=b")[0],
            router.listening(),
        ]

    assert await asked(address, ask) == [
        "GET c/1/x \n",
        "POST peer=a+b\n",
        (200, "PUT y [1]\n"),
        (204, ""),
        415,
        True,
    ]


async def test_a_refusal_is_in_the_routers_words(address: HttpAddress) -> None:
    def ask(router: RouterClient) -> str:
        with pytest.raises(RequestRefused) as caught:
            router.post("/refuse")
        return str(caught.value)

    assert await asked(address, ask) == "not this; nor that"


def test_nothing_listens(address: HttpAddress) -> None:
    router = RouterClient(address, bridge=lambda: "no-such-bridge")
    assert not router.listening()
    with pytest.raises(RouterNotRunning):
        router.get("/say/x")
