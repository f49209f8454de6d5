"""Does data get through from one host to another, and how long does it not? Numbered records."""

from __future__ import annotations

import itertools

from weave_py.sim.host import SimHost
from weave_py.sim.underlay import Underlay


class Flow:
    """Numbered data records from one host to another, at regular times."""

    def __init__(self, underlay: Underlay, source: SimHost, to: SimHost, every: float) -> None:
        self.sent: dict[bytes, float] = {}
        self.refused: list[float] = []
        """When there was no way."""
        self._underlay = underlay
        self._source = source
        self._to = to
        self._every = every
        self._is_running = True
        self._label = underlay.dice.randbytes(8)
        self._tick()

    def stop(self) -> None:
        self._is_running = False

    def _tick(self) -> None:
        if not self._is_running or not self._source.alive:
            return
        now = self._underlay.now
        if now >= self._source.frozen_until:
            payload = self._label + len(self.sent).to_bytes(4, "big") + bytes(80)
            if self._source.send_data(self._to.name, payload):
                self.sent[payload] = now
            else:
                self.refused.append(now)
        self._underlay.later(self._every, self._tick)

    @property
    def arrived(self) -> list[float]:
        """When data arrived, in order."""
        return [a.at for a in self._to.arrivals if a.payload.startswith(self._label)]

    @property
    def lost(self) -> list[float]:
        """When the data was sent that never arrived."""
        there = {a.payload for a in self._to.arrivals}
        return [at for payload, at in self.sent.items() if payload not in there]

    def longest_gap(self, since: float = 0.0) -> float:
        """Seconds without an arrival, at worst, since then and until now."""
        times = [at for at in self.arrived if at >= since]
        marks = [max(since, min(self.sent.values(), default=since)), *times, self._underlay.now]
        return max(b - a for a, b in itertools.pairwise(marks))
