"""Who waits for which answer of the engine?

What an engine cannot answer at once it answers by ticket: whoever asks draws one, tells the engine
with it what is wanted, and waits; some time later an output `Reply(ticket, value)` comes, or the
one who asked gives up, and the engine is told that, too. Nothing here knows what is asked, nor
over which protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import trio

from weave_py.model.errors import WeaveError

MAX_WAITING = 1024
"""Tickets out at a time; whoever comes then is refused."""


class TooManyWait(WeaveError):
    """More wait for answers already than there is room for."""


class Replies:
    """The tickets that are out, and what became of them."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._numbers = count(1)
        self._waiting: dict[int, _Waiter] = {}

    async def ask(self, begin: Callable[[int], object], cancel: Callable[[int], object]) -> object:
        """The value of the reply. TooManyWait if there is no room to wait; nothing began then.

        `begin` tells the engine what is wanted; the reply may come while it does. `cancel` tells
        the engine that nobody waits any more; it is called if the task that waits is cancelled (or
        if `begin` raises) before the reply came, and never after it.
        """
        if len(self._waiting) >= self._limit:
            raise TooManyWait("too many wait for an answer already: try again")
        ticket = next(self._numbers)  # never used twice
        waiter = self._waiting[ticket] = _Waiter()
        try:
            begin(ticket)
            await waiter.replied.wait()
        finally:
            if self._waiting.pop(ticket, None):
                cancel(ticket)
        return waiter.value

    def reply(self, ticket: int, value: object) -> None:
        """The engine answers. An answer to nobody (who gave up meanwhile) is dropped."""
        if waiter := self._waiting.pop(ticket, None):
            waiter.value = value
            waiter.replied.set()

    def __len__(self) -> int:
        return len(self._waiting)


class _Waiter:
    def __init__(self) -> None:
        self.replied = trio.Event()
        self.value: object = None
