"""Whose packet counters are to be read, and when? Many at a time: one reading tells of all."""

from __future__ import annotations

from weave_py.model.deadlines import Deadline, TimerQueue
from weave_py.model.names import PeerName


class CounterSchedule:
    """Each peer at a pace of its own."""

    def __init__(self) -> None:
        self._paces: dict[PeerName, float] = {}
        self._read_at: dict[PeerName, float] = {}
        self._due: TimerQueue[PeerName] = TimerQueue()

    def set(self, peer: PeerName, pace: float | None) -> None:
        """Seconds between two readings from now on; None: no more of them."""
        if pace is None:
            self._paces.pop(peer, None)
            self._due.set(peer, None)
        elif pace != self._paces.get(peer):
            self._paces[peer] = pace
            self._plan(peer)

    def forget(self, peer: PeerName) -> None:
        self.set(peer, None)
        self._read_at.pop(peer, None)

    def take_due(self, now: float) -> tuple[PeerName, ...]:
        """Those that are due, and with them those that soon will be: one reading of many devices
        costs little more than of one."""
        if not self._due.take_due(now):
            return ()
        read_at = self._read_at
        due = tuple(p for p, pace in self._paces.items() if now >= read_at.get(p, 0.0) + pace / 2)
        for peer in due:
            read_at[peer] = now
            self._plan(peer)
        return due

    def next_deadline(self) -> Deadline | None:
        return self._due.first()

    def _plan(self, peer: PeerName) -> None:
        at = self._read_at.get(peer, 0.0) + self._paces[peer]
        self._due.set(peer, Deadline(at, "fast path counters"))
