"""What do paths probe? A network of ways, each as quick, lossy and wide as a test wants it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from weave_py.link.egress import NextHop
from weave_py.link.paths import Paths
from weave_py.model.names import Endpoint, PeerName

NEAR = Endpoint("192.0.2.1", 6783)
FAR = Endpoint("198.51.100.1", 6783)


@dataclass
class Road:
    """What one way is like."""

    rtt: float = 0.02
    loss: float = 0.0
    """Of each direction."""
    up: bool = True
    mtu: int = 1472
    interface: int = 8972


def _next_hop(place: NextHop | Endpoint | PeerName) -> NextHop:
    if isinstance(place, NextHop):
        return place
    return NextHop(place, None) if isinstance(place, Endpoint) else NextHop(None, place)


@dataclass
class World:
    """Paths, and the network they probe. Time passes from deadline to deadline."""

    seed: int = 0
    in_use: bool = True
    now: float = 100.0
    datapath: dict[NextHop, Road] = field(default_factory=dict)
    probes: list[tuple[float, NextHop, int]] = field(default_factory=list)
    used: list[tuple[float, NextHop | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.paths = Paths()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def road(self, next_hop: NextHop | Endpoint | PeerName) -> Road:
        return self.datapath.setdefault(_next_hop(next_hop), Road())

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._turn()
            deadline = self.paths.next_deadline()
            due = [end]
            if deadline is not None:
                due.append(max(deadline.at, self.now))
            if self._events:
                due.append(self._events[0][0])
            self.now = min(due)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            if self.now >= end:
                self._turn()
                return

    def run_until(self, fact: Callable[[], bool], within: float) -> float:
        """How long it took, to 10 ms."""
        start = self.now
        while not fact():
            assert self.now - start < within, f"not within {within} s: {self.paths.best}"
            self.run(0.01)
        return self.now - start

    def _turn(self) -> None:
        for next_hop, number, size in self.paths.advance(self.now, self.in_use):
            self.probes.append((self.now, next_hop, size))
            road = self.road(next_hop)
            if size > road.interface:
                self.paths.refused(number, self.now)
            elif road.up and size <= road.mtu and self._survives(road) and self._survives(road):
                self._later(road.rtt, number, size)
        best = self.paths.best
        used = best.next_hop if best else None
        if not self.used or self.used[-1][1] != used:
            self.used.append((self.now, used))

    def _survives(self, road: Road) -> bool:
        return self.dice.random() >= road.loss

    def _later(self, delay: float, number: int, size: int) -> None:
        def answer() -> None:
            self.paths.answered(number, size, self.now)

        heapq.heappush(self._events, (self.now + delay, next(self._order), answer))

    @property
    def endpoint(self) -> Endpoint | None:
        best = self.paths.best
        return best.next_hop.endpoint if best else None

    @property
    def size(self) -> int:
        assert self.paths.best is not None
        return self.paths.best.datagram_bytes

    def is_lost(self) -> bool:
        return self.paths.best is None

    def is_at(self, place: Endpoint) -> bool:
        return self.endpoint == place

    def is_straight(self) -> bool:
        return self.paths.is_direct

    def is_around(self) -> bool:
        return not self.is_straight()

    def is_at_most(self, size: int) -> bool:
        return self.size <= size


def direct(seed: int = 0, in_use: bool = True) -> World:
    """A world with one direct path that has just come up and knows its MTU."""
    world = World(seed, in_use)
    world.paths.set_candidates([NEAR], world.now, NEAR)
    world.run(6)
    assert world.endpoint == NEAR
    assert world.size == 1472
    return world


def phases() -> Iterator[float]:
    """Moments between two heartbeats, and around them."""
    yield from (i * 0.13 for i in range(16))
