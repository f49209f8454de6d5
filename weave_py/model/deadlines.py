"""When does an engine want to be woken, and why? Deadlines, and a timer queue."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Generic, NamedTuple, TypeVar


class Deadline(NamedTuple):
    """An absolute time on the clock given to the engine (seconds), with the reason for it."""

    at: float
    why: str


def earliest(deadlines: Iterable[Deadline | None]) -> Deadline | None:
    """The first of several deadlines to come; None if there is none."""
    first = None
    for deadline in deadlines:  # asked after every event of a router: min() takes twice as long
        if deadline is not None and (first is None or deadline < first):
            first = deadline
    return first


MOMENT = 0.5  # seconds
"""Of many things that a router does now and then, those due in one moment are done together: being
woken costs more than most of them."""


def after(now: float, pause: float) -> float:
    """When what is to be done every `pause` seconds is due again; on the beat if it is rare."""
    due = now + pause
    if pause <= 2 * MOMENT or not math.isfinite(due):  # (it may never have been done yet)
        return due
    return due // MOMENT * MOMENT


K = TypeVar("K", bound=Hashable)


class TimerQueue(Generic[K]):
    """The deadlines of many parts, each known by a key; the first one costs no search.

    A heap that keeps what has been replaced until it comes to the top, or is the greater part.
    """

    def __init__(self) -> None:
        self._due: dict[K, Deadline] = {}
        self._heap: list[tuple[float, int, K, Deadline]] = []
        self._count = 0

    def set(self, key: K, deadline: Deadline | None) -> None:
        """This part's deadline from now on; None: it has none."""
        known = self._due.get(key)
        if deadline == known:
            return
        if deadline is None:
            del self._due[key]
            return
        self._due[key] = deadline
        self._count += 1  # what is due at the same time is so in the order in which it was set
        heappush(self._heap, (deadline.at, self._count, key, deadline))
        if len(self._heap) > 4 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) is entry[3]]
            heapify(self._heap)

    def first(self) -> Deadline | None:
        while self._heap:
            _, _, key, deadline = self._heap[0]
            if self._due.get(key) is deadline:
                return deadline
            heappop(self._heap)
        return None

    def pending(self) -> list[tuple[K, float]]:
        """All parts that have a deadline, and when, in the order in which they got it."""
        return [(key, deadline.at) for key, deadline in self._due.items()]

    def take_due(self, now: float) -> list[K]:
        """Parts whose deadline has come, the longest due first. They have none any more."""
        found = []
        while (deadline := self.first()) is not None and deadline.at <= now:
            key = heappop(self._heap)[2]
            del self._due[key]
            found.append(key)
        return found
