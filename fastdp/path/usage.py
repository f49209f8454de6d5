"""Do frames flow through the kernel's device? Its packet counters, less our own probes.

Probes pass the same counters, so they must be subtracted, or probing would look like use and be
its own reason. Counters are read a little before or after a probe crosses, which must not look
like use either. Transmitted: a probe is noted before it is sent, so what exceeds the notes is
data for sure. Received: a probe is noted after it was counted, so a few packets say nothing.
"""

from __future__ import annotations

from fastdp.path.settings import FastSettings

_LOST_AFTER = 8  # readings


class _Window:
    """Whether more than a few packets came within a while."""

    def __init__(self, settings: FastSettings) -> None:
        self._settings = settings
        self._level = 0
        self._at = float("-inf")

    def restart(self, level: int) -> None:
        self._level, self._at = level, float("-inf")

    def moved(self, old: int, new: int, now: float) -> bool:
        if now >= self._at + self._settings.in_use:
            self._level, self._at = old, now
        self._level = min(self._level, new)
        if new <= self._level + self._settings.stray_packets:
            return False
        self._level, self._at = new, now
        return True


class Usage:
    """Engine of one device. `probes_out` and `probes_in` are kept by its owner."""

    def __init__(self, settings: FastSettings) -> None:
        self.probes_out = 0
        self.probes_in = 0
        self.received = 0
        """Packets, as read last."""
        self._settings = settings
        self._arrived_at = float("-inf")
        self._used_at = float("-inf")
        self._tx: int | None = None
        self._out = self._in = 0
        """What was sent and received beside probes, as far as it is known for sure."""
        self._behind = 0
        self._out_window = _Window(settings)
        self._in_window = _Window(settings)

    @property
    def data(self) -> tuple[int, int]:
        """Packets (out, in) beside probes, so far."""
        return self._out, self._in

    def in_use(self, now: float) -> bool:
        return now < self._used_at + self._settings.in_use

    def is_alive(self, now: float) -> bool:
        """Whether packets came through the kernel lately: then somebody depends on it, even if
        the peer's router is silent."""
        return now < self._arrived_at + self._settings.alive

    def woken(self, now: float) -> None:
        """Frames flow, as others noticed (on the sleeve)."""
        self._used_at = now

    def counted(self, tx: int, rx: int, now: float) -> bool:
        """The device's counters were read. Whether any data was sent since last time."""
        out, into = tx - self.probes_out, rx - self.probes_in
        is_new = self._tx is None or tx < self._tx or rx < self.received  # counts from zero
        if rx != self.received and not is_new:
            self._arrived_at = now
        self._tx, self.received = tx, rx
        # A probe that still was not counted never left.
        self._behind = self._behind + 1 if out < self._out else 0
        if is_new or self._behind >= _LOST_AFTER:
            self._behind = 0
            self._out, self._in = out, into
            self._out_window.restart(out)
            self._in_window.restart(into)
            return False
        before, self._out = self._out, max(out, self._out)
        heard, self._in = self._in, into
        sends = self._out_window.moved(before, self._out, now)
        if self._in_window.moved(heard, into, now) or sends:
            self._used_at = now
        return self._out > before
