"""When did this machine stand still? Its own host may have had better things to do for a second.

Nobody who runs here can do anything in such a second, and who notices that it was late itself has
more patience with others, so what routers take longer because of it is excused. One sleeper per
CPU notices it: whoever asks for 20 ms and gets half a second was not let run.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

NAP = 0.02
LATE = 0.06
"""Seconds by which a nap may be too long: usual between busy processes."""
COST = 3.0
"""Seconds for each in which the machine stood still: itself, and `PathSettings.grace`."""
AFTERWARDS = 1.0
"""For so many seconds there is work left over from it."""


def clock() -> float:
    """Seconds, on the clock of pings and logs."""
    return datetime.now(UTC).timestamp()


class Standstills:
    """Watches while the context lasts."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._seen: list[tuple[float, float]] = []
        """(From, to): when some CPU stood still; the same moments may be in several."""

    def __enter__(self) -> Self:
        self._ended.clear()
        for cpu in sorted(os.sched_getaffinity(0)):
            thread = threading.Thread(target=self._watch, args=(cpu,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def longest(self) -> float:
        """Seconds of the longest one so far."""
        return max((to - since for since, to in self._seen), default=0.0)

    @property
    def total(self) -> float:
        """Seconds of all so far."""
        return self.seconds(float("-inf"), float("inf"))

    def noticed(self, since: float, before: float) -> None:
        """Somebody slept from `since` to `before` (on `clock`) who had asked for a nap."""
        if before - since > NAP + LATE:
            self._seen.append((since + NAP, before))

    def seconds(self, since: float, before: float) -> float:
        """How long, between two moments on `clock`, the machine stood still."""
        total, end = 0.0, since
        for start, stop in sorted(self._seen):
            start, stop = max(start, end), min(stop, before)
            if stop > start:
                total += stop - start
                end = stop
        return total

    def excused(self, since: float, before: float) -> float:
        """Seconds that what took from `since` to `before` may have taken longer because of it."""
        return COST * self.seconds(since - AFTERWARDS, before)

    def _watch(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})  # of this thread alone
        since = clock()
        while not self._ended.wait(NAP):
            now = clock()
            self.noticed(since, now)
            since = now


MACHINE = Standstills()
"""Entered by the session of tests in namespaces (their conftest)."""
