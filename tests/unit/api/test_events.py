"""Server-sent events: what goes over the wire, heartbeats, and who is cut."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from weave_py.api.events import (
    HEARTBEAT_SECONDS,
    MAX_QUEUED,
    MAX_QUEUED_BYTES,
    Event,
    EventSource,
    EventStream,
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_arrives_line_by_line(data: str) -> None:
    """As a browser reads it (HTML Living Standard, 9.2.6): lines end with \\r\\n, \\n or \\r."""
    wire = Event("news", data).encode().decode()
    assert "\r" not in wire
    assert wire.endswith("\n\n")
    lines = wire[:-2].split("\n")
    assert lines[0] == "event: news"
    assert all(line.startswith("data: ") for line in lines[1:])
    heard = "\n".join(line.removeprefix("data: ") for line in lines[1:])
    assert heard == data.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ä", "a:"])
def test_names_of_events(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name"):
        Event(name, "").encode()


class Client:
    """Takes what it is sent, if it reads."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.reads = trio.Event()
        self.is_cut = False

    async def run(self, stream: EventStream) -> None:
        await stream.feed(self._take)
        self.is_cut = True

    async def _take(self, piece: bytes) -> None:
        await self.reads.wait()
        self.heard.append(piece)


async def test_all_hear_what_is_published_while_they_listen() -> None:
    source = EventSource()
    clients = [Client() for _ in range(3)]
    source.publish(Event("early", ""))
    async with trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            client.reads.set()
            nursery.start_soon(client.run, EventStream(source, (Event("first", str(number)),)))
        await trio.testing.wait_all_tasks_blocked()
        source.publish(Event("news", "a"))
        source.publish(Event("news", "b"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for number, client in enumerate(clients):
        expected = [Event("first", str(number)), Event("news", "a"), Event("news", "b")]
        assert client.heard == [event.encode() for event in expected]
    assert len(source) == 0


async def test_silence_is_filled_with_heartbeats(autojump_clock: trio.testing.MockClock) -> None:
    source, client = EventSource(), Client()
    client.reads.set()
    with trio.move_on_after(3.5 * HEARTBEAT_SECONDS):
        await client.run(EventStream(source))
    assert len(client.heard) == 3
    assert all(beat.startswith(b":") and beat.endswith(b"\n\n") for beat in client.heard)


@pytest.mark.parametrize(("size", "most"), [(1, MAX_QUEUED), (MAX_QUEUED_BYTES // 8, 7)])
async def test_who_does_not_read_is_cut_and_the_others_hear_on(size: int, most: int) -> None:
    source, slow, quick = EventSource(), Client(), Client()
    quick.reads.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.run, EventStream(source, (Event("first", ""),)))
        nursery.start_soon(quick.run, EventStream(source))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(most):
            source.publish(Event("news", "x" * size))
            await trio.testing.wait_all_tasks_blocked()
        assert not slow.is_cut
        source.publish(Event("news", "x" * size))
        await trio.testing.wait_all_tasks_blocked()
        assert slow.is_cut
        assert not quick.is_cut
        assert len(quick.heard) == most + 1
        nursery.cancel_scope.cancel()


async def test_one_large_event_cuts_nobody() -> None:
    source, client = EventSource(), Client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run, EventStream(source, (Event("first", ""),)))
        await trio.testing.wait_all_tasks_blocked()
        source.publish(Event("news", "x" * 2 * MAX_QUEUED_BYTES))
        await trio.testing.wait_all_tasks_blocked()
        assert not client.is_cut
        client.reads.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(client.heard) == 2
        nursery.cancel_scope.cancel()
