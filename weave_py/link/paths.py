"""Which ways to a peer are there, and which one is best? Candidates, and the choice among them.

Every way is probed through the session (link.path): an answer proves both directions, measures
the round trip, and (for large probes) the path MTU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from weave_py.link.outlet import Way
from weave_py.link.path import Path, PathSettings, PathState
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.names import Endpoint, PeerName


class ProbeRequest(NamedTuple):
    """Please send a probe of `datagram_bytes` this way."""

    way: Way
    number: int
    datagram_bytes: int


class Paths:
    """All ways to one peer."""

    def __init__(self, settings: PathSettings | None = None) -> None:
        self._settings = settings or PathSettings()
        self._direct: dict[Endpoint, Path] = {}
        self._told: frozenset[Endpoint] = frozenset()
        self._relay: Path | None = None
        self._best: Path | None = None
        self._number = 0

    @property
    def best(self) -> Path | None:
        return self._best

    @property
    def relay(self) -> PeerName | None:
        """The neighbour through which the peer can be reached, if any."""
        return self._relay.way.relay if self._relay else None

    @property
    def relay_way(self) -> Way | None:
        return self._relay.way if self._relay else None

    @property
    def is_direct(self) -> bool:
        return self._best is not None and self._best.way.endpoint is not None

    @property
    def why(self) -> str:
        """Reason code: why there is no better path; empty when there is none better."""
        if self.is_direct:
            return ""
        code = "direct-unanswered" if self._direct else "no-direct-address"
        if self._best is None:
            return f"{code},no-relay"
        return code

    def set_candidates(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Where the peer might be reached, best guess first."""
        told = list(dict.fromkeys(endpoints))[: self._settings.max_candidates]
        self._told = frozenset(told)
        for place in told:
            if place not in self._direct:
                self._direct[place] = Path(Way(place, None), now, self._settings)
        for place in [p for p in self._direct if p not in self._told]:
            if self._direct[place].state is not PathState.UP:
                self._drop(place)

    def heard_from(self, place: Endpoint, now: float) -> None:
        """An authentic record came from this address: the peer (or its NAT) is there."""
        path = self._direct.get(place)
        if path is None:
            unproven = [p for p in self._direct if self._is_hearsay(p)]
            if len(unproven) >= self._settings.max_heard:
                self._drop(unproven[0])
            path = self._direct[place] = Path(Way(place, None), now, self._settings)
        # Anybody on the way can send a true record again from an address of their choice: what
        # that makes us send there must stay little.
        path.poke(now)

    def set_relay(self, via: PeerName | None, now: float) -> None:
        """The neighbour through which the peer can be reached, if any."""
        if via is None:
            self._relay = None
        elif self._relay is None or self._relay.way.relay != via:
            self._relay = Path(Way(None, via), now, self._settings)

    def restart(self, now: float) -> None:
        """The peer started anew, or we have new hope: prove everything again, soon."""
        for path in self._all():
            path.restart(now)

    def hurry(self, now: float) -> None:
        """The best path is in use again: probe it as often as one in use."""
        if self._best is not None:
            self._best.hurry(now)

    def advance(self, now: float, in_use: bool) -> list[ProbeRequest]:
        requests = []
        for path in self._all():
            if path is self._relay and self.is_direct:
                continue
            place = path.way.endpoint
            if place and path.is_hopeless and self._is_hearsay(place):
                self._drop(place)
                continue
            for kind, size in path.advance(now, in_use and path is self._best):
                self._number = (self._number + 1) & 0xFFFF_FFFF
                path.sent(self._number, kind, size, now)
                requests.append(ProbeRequest(path.way, self._number, size))
        self._choose()
        return requests

    def answered(self, number: int, size: int, now: float) -> bool:
        """An answer came; False if nobody waits for it."""
        for path in self._all():
            if path.is_waiting_for(number):
                path.answered(number, size, now)
                self._choose()
                return True
        return False

    def refused(self, number: int, now: float) -> None:
        for path in self._all():
            if path.is_waiting_for(number):
                path.refused(number, now)

    def next_deadline(self) -> Deadline | None:
        relay_rests = self.is_direct
        return earliest(
            path.next_deadline()
            for path in self._all()
            if not (path is self._relay and relay_rests)
        )

    # --- inside --------------------------------------------------------------------------

    def _all(self) -> list[Path]:
        paths = list(self._direct.values())
        if self._relay is not None:
            paths.append(self._relay)
        return paths

    def _is_hearsay(self, place: Endpoint) -> bool:
        """Whether we only heard from there, and it never answered."""
        return place not in self._told and self._direct[place].state is not PathState.UP

    def _drop(self, place: Endpoint) -> None:
        path = self._direct.pop(place)
        if path is self._best:
            self._best = None

    def _choose(self) -> None:
        up = [p for p in self._direct.values() if p.state is PathState.UP]
        current = self._best
        if not up:
            self._best = self._relay
            return
        # What the peer or its neighbours say comes before what only seems to be its address: who
        # is on the way could make us believe so, and stay on the way.
        told = [p for p in up if p.way.endpoint in self._told] or up
        quickest = min(told, key=lambda p: p.rtt or 0.0)
        if current is None or current not in told or self._is_much_better(quickest, current):
            self._best = quickest

    def _is_much_better(self, path: Path, current: Path) -> bool:
        new, old = path.rtt or 0.0, current.rtt or 0.0
        return new < old - self._settings.better_by and new < old * 2 / 3
