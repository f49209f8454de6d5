"""Who is told what happens, as it happens? Server-sent events (text/event-stream).

Whoever publishes waits for nobody: each client has a queue of its own, bounded in number and
bytes, and one that does not read is cut (a browser connects again by itself). An event is encoded
once, however many hear it. Heartbeats tell both sides, and what lies between, that the other one
is still there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

HEARTBEAT_SECONDS = 15.0
MAX_QUEUED = 64
MAX_QUEUED_BYTES = 1024 * 1024
"""For one client; a single event may be larger, if nothing else waits."""
CONTENT_TYPE = "text/event-stream"
_HEARTBEAT = b": still here\n\n"

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Event:
    """What clients hear: the name they listen for, and text, of any number of lines."""

    name: str
    data: str

    def encode(self) -> bytes:
        """As it goes over the wire; ValueError for a name that is none."""
        if not re.fullmatch("[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"{self.name!r} cannot name an event")
        lines = re.split("\r\n|\n|\r", self.data)
        return "".join([f"event: {self.name}\n", *(f"data: {x}\n" for x in lines), "\n"]).encode()


class EventSource:
    """One kind of news, and those who want to hear it."""

    def __init__(self) -> None:
        self._queues: dict[_Queue, None] = {}

    def publish(self, event: Event) -> None:
        """Tell it to all who listen now; returns at once."""
        encoded = event.encode()
        for queue in self._queues:
            queue.put(encoded)

    def __len__(self) -> int:
        """How many listen: news for nobody need not be made."""
        return len(self._queues)

    @contextmanager
    def listening(self) -> Iterator[_Queue]:
        """The queue of one more client, while the context lasts; it ends early if that client
        is cut."""
        queue = _Queue()
        with queue.scope:
            self._queues[queue] = None
            try:
                yield queue
            finally:
                del self._queues[queue]


@dataclass(frozen=True, slots=True)
class EventStream:
    """The answer that goes on: what there is to hear first, and then what happens."""

    source: EventSource
    first: tuple[Event, ...] = ()

    async def feed(self, send: Send) -> None:
        """Send it all, until cancelled or cut, or until `send` raises."""
        with self.source.listening() as queue:
            for event in self.first:
                await send(event.encode())
            while True:
                piece = _HEARTBEAT
                with trio.move_on_after(HEARTBEAT_SECONDS):
                    piece = await queue.get()
                await send(piece)


class _Queue:
    """What waits for one client."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._is_there = trio.Event()

    def put(self, piece: bytes) -> None:
        """Full: the client is cut."""
        self._bytes += len(piece)
        self._waiting.append(piece)
        self._is_there.set()
        if len(self._waiting) > MAX_QUEUED or (
            self._bytes > MAX_QUEUED_BYTES and len(self._waiting) > 1
        ):
            self.scope.cancel()

    async def get(self) -> bytes:
        while not self._waiting:
            self._is_there = trio.Event()
            await self._is_there.wait()
        piece = self._waiting.popleft()
        self._bytes -= len(piece)
        return piece
