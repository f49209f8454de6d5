"""Which time is it? A clock that also counts while the host is suspended.

Trio's own clock (CLOCK_MONOTONIC) stands still meanwhile. A laptop that sleeps over night would
wake with keys that are, by that clock, as fresh as they were, and go on sealing under them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


class BootClock(trio.abc.Clock):
    """CLOCK_BOOTTIME: never set back, whatever is done to the wall clock."""

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        """`read`: seconds since any moment."""
        self._read = read or (lambda: time.clock_gettime(time.CLOCK_BOOTTIME))

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        return self._read()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How long to wait for it. Waiting stands still in suspend, so the driver may wake late
        by what is left of it: with a heartbeat a second that is not long."""
        return deadline - self.current_time()
