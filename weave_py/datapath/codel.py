"""Is there a queue that stands? CoDel: when a bulk transfer is told to slow down.

A router has two queues in front of it, both the kernel's: frames in a TAP, and datagrams in a
socket. Few enough super-frames to keep latency low would be too few small frames. So the queues
are long, and here is what keeps them short in time: CoDel's law (RFC 8289 §4.2: drop when the
delay has stood above a target for an interval, then ever faster by the square root of the count).
Who asks says whether the delay is above the target: of the socket's queue we can tell
(`host.udp`); of the TAP's only whether it was empty, for which it is given longer.

What gets dropped is the last segment of a super-frame: to TCP one lost packet says as much as 43.
"""

from __future__ import annotations

import math

TARGET = 0.001
"""Seconds that a datagram may wait for us while much flows."""
DELAY_INTERVAL = 0.010
"""Seconds for which it may be longer than that."""
EMPTINESS_INTERVAL = 0.050
"""Seconds for which a queue may not be empty: longer than bursts, and than turns of others."""


class CoDel:
    """Watches one queue. Called once per turn."""

    __slots__ = ("_count", "_drop_at", "_interval", "_since")

    def __init__(self, interval: float) -> None:
        """`interval`: seconds for which the queue may stand before something is dropped."""
        self._interval = interval
        self._since: float | None = None
        """Since when it has stood; None: it does not."""
        self._drop_at = 0.0
        self._count = 0

    def is_low(self) -> None:
        """The queue is empty, or its delay below the target."""
        self._since = None

    def is_high(self, now: float) -> bool:
        """A turn ended, and the queue is neither; True: drop something in the next turn."""
        if self._since is None:
            self._since = now
            # Not long after the last time it takes up where it was (RFC 8289 §5.4).
            recently = now - self._drop_at < 16 * self._interval
            self._count = self._count // 2 if recently else 0
            self._drop_at = now + self._interval / math.sqrt(self._count + 1)
            return False
        if now < self._drop_at:
            return False
        self._count += 1
        self._drop_at = now + self._interval / math.sqrt(self._count)
        return True
