"""A handler that waits for the engine: answered, or taken back when it is too late."""

from __future__ import annotations

from http import HTTPStatus

import pytest
import trio
import trio.testing

from tests.kit.api import HOSTS, ask, get, post
from weave_py.api.application import Application
from weave_py.api.exchange import Door
from weave_py.api.request import Request
from weave_py.api.response import Response, text
from weave_py.api.route import Limits, Route
from weave_py.api.server import serve_connection
from weave_py.api.waiting import wait_for_reply
from weave_py.runtime.replies import Replies


class Allocator:
    """Answers when told to; a route whose callers block until then."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.wanted: dict[int, str] = {}

    def door(self) -> Door:
        limits = Limits(seconds=60, ends_with_caller=True)
        return Door(Application([Route("POST", "/ip/{id}", self._allocate, limits)]))

    async def _allocate(self, request: Request) -> Response:
        name = request.value("id", str)
        address = await wait_for_reply(
            self.replies,
            lambda ticket: self.wanted.update({ticket: name}),
            lambda ticket: self.wanted.pop(ticket),
            seconds=10,
            reason=lambda: f"waiting for land, as are {len(self.wanted)}",
        )
        return text(HTTPStatus.OK, str(address))


@pytest.fixture
def allocator() -> Allocator:
    return Allocator()


async def test_the_engine_answers(allocator: Allocator) -> None:
    async with trio.open_nursery() as nursery:

        async def caller() -> None:
            status, _, body = await ask(allocator.door(), post("/ip/c%2F1"))
            assert (status, body) == (200, "10.32.0.1/12\n")

        nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        ((ticket, name),) = allocator.wanted.items()
        assert name == "c/1"
        allocator.replies.reply(ticket, "10.32.0.1/12")


async def test_time_is_up(allocator: Allocator, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    status, _, body = await ask(allocator.door(), get("/ip/c1", method="POST"))
    assert (status, body) == (503, "waiting for land, as are 1\n")
    assert trio.current_time() - began == pytest.approx(10)
    assert not allocator.wanted


async def test_the_caller_hangs_up(allocator: Allocator) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, allocator.door(), HOSTS)
        await ours.send_all(get("/ip/c1", method="POST").encode())
        await trio.testing.wait_all_tasks_blocked()
        assert len(allocator.wanted) == len(allocator.replies) == 1
        await ours.aclose()
    assert not allocator.wanted
    assert not len(allocator.replies)
