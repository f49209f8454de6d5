"""Is there a queue that never empties? How a bulk transfer is told to slow down, and when.

The kernel queues frames for a TAP by their number. Few enough to keep latency low when they are
super-frames of 64 KiB would be too few when they are small. So the queue is long, and here is what
keeps it short in time: CoDel's law (RFC 8289 §4.2: drop when the delay has stood above a target
for an interval, then ever faster by the square root of the count), with the one sign of delay we
can see. A queue that has been empty within the interval is a burst; one that has not stands.
"""

from __future__ import annotations

import math

INTERVAL = 0.012  # seconds, longer than the bursts of a healthy transfer


class Standing:
    """Watches one queue. Called once per turn."""

    __slots__ = ("_count", "_drop_at", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        """When it was last seen empty; None: it is."""
        self._drop_at = 0.0
        self._count = 0

    def emptied(self) -> None:
        self._since = None

    def not_emptied(self, now: float) -> bool:
        """A turn ended before the queue did; True: drop a frame of the next turn."""
        if self._since is None:
            self._since = now
            # Not long after the last time it takes up where it was (RFC 8289 §5.4).
            self._count = self._count // 2 if now - self._drop_at < 16 * INTERVAL else 0
            self._drop_at = now + INTERVAL / math.sqrt(self._count + 1)
            return False
        if now < self._drop_at:
            return False
        self._count += 1
        self._drop_at = now + INTERVAL / math.sqrt(self._count)
        return True
