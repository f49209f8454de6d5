"""Is the best way found, kept while it works, and left in time when it does not?"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from weave_py.link.outlet import Way
from weave_py.link.path import SMALL_PROBE, Kind, Path, PathSettings, PathState
from weave_py.link.path_mtu import BASE
from weave_py.link.paths import Paths
from weave_py.model.names import Endpoint, PeerName

NEAR = Endpoint("192.0.2.1", 6783)
FAR = Endpoint("198.51.100.1", 6783)
RELAY = PeerName(b"\x02relay")
OTHER_RELAY = PeerName(b"\x02other")


@dataclass
class Road:
    """What one way is like."""

    rtt: float = 0.02
    loss: float = 0.0
    """Of each direction."""
    up: bool = True
    mtu: int = 1472
    interface: int = 8972


def _way(place: Way | Endpoint | PeerName) -> Way:
    if isinstance(place, Way):
        return place
    return Way(place, None) if isinstance(place, Endpoint) else Way(None, place)


@dataclass
class World:
    """Paths, and the network they probe. Time passes from deadline to deadline."""

    seed: int = 0
    in_use: bool = True
    now: float = 100.0
    roads: dict[Way, Road] = field(default_factory=dict)
    probes: list[tuple[float, Way, int]] = field(default_factory=list)
    used: list[tuple[float, Way | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.paths = Paths()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def road(self, way: Way | Endpoint | PeerName) -> Road:
        return self.roads.setdefault(_way(way), Road())

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
        for way, number, size in self.paths.advance(self.now, self.in_use):
            self.probes.append((self.now, way, size))
            road = self.road(way)
            if size > road.interface:
                self.paths.refused(number, self.now)
            elif road.up and size <= road.mtu and self._survives(road) and self._survives(road):
                self._later(road.rtt, number, size)
        best = self.paths.best
        used = best.way if best else None
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
        return best.way.endpoint if best else None

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
    world.paths.set_candidates([NEAR], world.now)
    world.run(6)
    assert world.endpoint == NEAR
    assert world.size == 1472
    return world


def phases() -> Iterator[float]:
    """Moments between two heartbeats, and around them."""
    yield from (i * 0.13 for i in range(16))


# --- up ----------------------------------------------------------------------------------


def test_one_answer_is_enough() -> None:
    world = World()
    world.paths.set_candidates([NEAR], world.now)
    assert world.paths.best is None
    world.run(0.019)
    assert world.paths.best is None
    world.run(0.002)
    assert world.endpoint == NEAR
    assert world.paths.is_direct
    assert world.paths.why == ""
    assert world.size == BASE
    world.run(0.1)
    assert world.size == 1472


def test_nothing_is_sent_without_an_answer() -> None:
    world = World()
    world.road(NEAR).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.run(3600)
    assert world.paths.best is None
    # First soon, then ever more rarely, but for ever.
    times = [at for at, _, _ in world.probes]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[0] <= 0.3
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(pauses))
    assert max(pauses) == pytest.approx(PathSettings().longest_retry)
    assert 3600 / 10 <= len(times) <= 3600 / 10 + 10
    assert all(size == SMALL_PROBE for _, _, size in world.probes)


def test_rtt_and_loss_are_measured() -> None:
    world = direct()
    best = world.paths.best
    assert best is not None
    assert best.rtt == pytest.approx(0.02)
    assert best.loss == 0.0
    world.road(NEAR).loss = 0.3
    world.run(60)
    assert 0.1 < best.loss < 0.9


def test_a_quiet_path_costs_little() -> None:
    world = direct(in_use=False)
    before = len(world.probes)
    world.run(500)  # less than the time after which larger sizes are tried again
    assert len(world.probes) - before <= 500 / 5 + 2
    world.in_use = True
    world.paths.hurry(world.now)
    before = len(world.probes)
    world.run(60)
    assert 58 <= len(world.probes) - before <= 62


# --- down --------------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1])
def test_a_dead_path_in_use_is_noticed_in_time(rtt: float) -> None:
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.run(10 + phase)
        assert world.endpoint == NEAR
        world.road(NEAR).up = False
        assert world.run_until(world.is_lost, within=4) <= 3.27
        assert world.paths.why == "direct-unanswered,no-relay"


def test_a_dead_path_that_begins_to_be_used_is_noticed_in_time() -> None:
    world = direct(in_use=False)
    world.road(NEAR).up = False
    world.run(0.5)
    world.in_use = True
    world.paths.hurry(world.now)
    assert world.run_until(lambda: world.paths.best is None, within=4) <= 3.5


def test_a_dead_path_comes_back() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(600)
    assert world.paths.best is None
    world.road(NEAR).up = True
    assert world.run_until(lambda: world.endpoint == NEAR, within=11) <= 10.1


def test_a_sign_of_life_brings_it_back_at_once() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(600)
    world.road(NEAR).up = True
    world.paths.heard_from(NEAR, world.now)
    assert world.run_until(lambda: world.endpoint == NEAR, within=1) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_ten_per_cent_of_loss_for_an_hour_is_no_reason_to_leave(seed: int) -> None:
    world = direct(seed)
    world.road(NEAR).loss = 0.1
    narrow = 0
    for _ in range(3600):
        world.run(1)
        assert world.endpoint == NEAR
        narrow += world.size < 1452
    assert [way for _, way in world.used] == [None, Way(NEAR, None)]
    assert narrow < 3600 * 0.05  # a wrong guess of a black hole is corrected soon


@pytest.mark.parametrize("seed", range(3))
def test_loss_on_a_quiet_path_is_no_reason_to_leave(seed: int) -> None:
    world = direct(seed, in_use=False)
    world.road(NEAR).loss = 0.1
    world.run(3600)
    assert [way for _, way in world.used] == [None, Way(NEAR, None)]


# --- which one ---------------------------------------------------------------------------


def test_a_little_quicker_is_not_better() -> None:
    world = World()
    world.road(NEAR).rtt = 0.020
    world.road(FAR).rtt = 0.018
    world.paths.set_candidates([NEAR], world.now)
    world.run(5)
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(60)
    assert world.endpoint == NEAR


def test_much_quicker_is_better() -> None:
    world = World()
    world.road(NEAR).rtt = 0.100
    world.road(FAR).rtt = 0.010
    world.paths.set_candidates([NEAR], world.now)
    world.run(5)
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(5)
    assert world.endpoint == FAR


def test_two_alike_do_not_flap() -> None:
    world = World()
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(5)
    for _ in range(600):
        world.road(NEAR).rtt = world.dice.uniform(0.015, 0.025)
        world.road(FAR).rtt = world.dice.uniform(0.015, 0.025)
        world.run(1)
    assert len(world.used) == 2


def test_the_other_direct_path_takes_over() -> None:
    world = World()
    world.road(FAR).rtt = 0.1
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(10)
    assert world.endpoint == NEAR
    world.road(NEAR).up = False
    assert world.run_until(lambda: world.endpoint == FAR, within=4) <= 3.5
    assert [way for _, way in world.used] == [None, Way(NEAR, None), Way(FAR, None)]


def test_the_relay_is_used_until_there_is_a_direct_path_and_again_after() -> None:
    world = World()
    world.road(NEAR).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.paths.set_relay(RELAY, world.now)
    world.run(1)
    relayed = Way(None, RELAY)
    best = world.paths.best
    assert best is not None
    assert best.way == relayed
    assert world.paths.detour_way == relayed
    assert world.paths.why == "direct-unanswered"
    world.run(60)
    world.road(NEAR).up = True
    assert world.run_until(lambda: world.endpoint == NEAR, within=11) <= 10.1
    before = len(world.probes)
    world.run(60)
    assert all(way.endpoint == NEAR for _, way, _ in world.probes[before:])  # the relay rests
    world.road(NEAR).up = False
    world.run_until(lambda: world.paths.best is not None and not world.paths.is_direct, within=3.5)
    assert world.paths.best is not None
    assert world.paths.best.way == relayed


def test_the_relay_is_used_before_it_has_answered() -> None:
    world = World()
    world.paths.set_relay(RELAY, world.now)
    world.run(0.001)
    assert world.paths.best is not None
    assert world.size == BASE
    assert world.paths.why == "no-direct-address"


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1])
def test_the_relay_takes_over_well_before_a_direct_path_is_given_up(rtt: float) -> None:
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = world.road(RELAY).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.paths.set_relay(RELAY, world.now)
        world.run(10 + phase)
        world.road(NEAR).up = False
        assert world.run_until(world.is_around, within=3) <= 1.8
        world.road(NEAR).up = True
        # It has not been given up: its next answer is enough.
        assert world.run_until(world.is_straight, within=1) <= 0.4


def test_a_relay_that_was_used_a_moment_ago_takes_over_just_as_soon() -> None:
    for phase in phases():
        world = World()
        world.paths.set_candidates([NEAR], world.now)
        world.paths.set_relay(RELAY, world.now)
        world.run(10)
        for _ in range(3):
            world.road(NEAR).up = False
            assert world.run_until(world.is_around, within=3) <= 1.8
            world.run(0.3 + phase)
            world.road(NEAR).up = True
            world.run_until(world.is_straight, within=4)
            world.run(0.3)


def test_a_relay_that_does_not_answer_takes_nothing_over() -> None:
    world = World()
    world.road(RELAY).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.paths.set_relay(RELAY, world.now)
    world.run(10)
    world.road(NEAR).up = False
    world.run(2)
    assert world.paths.is_direct
    assert world.paths.is_shaken
    world.run(2)
    assert world.paths.why == "direct-unanswered"  # nothing works: the relay might, in the end


def test_a_lost_probe_is_no_silence_if_a_later_one_was_answered() -> None:
    world = direct()
    best = world.paths.best
    assert best is not None
    for probe in (901, 902):
        best.sent(probe, Kind.SMALL, SMALL_PROBE, world.now)
        world.now += 0.05
    assert world.paths.answered(902, SMALL_PROBE, world.now)
    world.now += 0.5
    world.paths.advance(world.now, True)
    assert best.loss > 0
    assert best.is_sound


@pytest.mark.parametrize("late", [1.0, 3.0, 6.0])
def test_answers_that_come_late_are_waited_for_and_asked_for_no_more_often(late: float) -> None:
    """A host that is too busy answers all in the end; the more it is asked, the later."""
    world = direct()
    world.paths.set_tcp(RELAY, world.now)
    world.run(5)
    world.road(NEAR).rtt = late
    world.run(4 * late)
    before, changes = len(world.probes), len(world.used)
    world.run(30)
    assert len(world.probes) - before <= 40
    assert len(world.used) == changes
    assert world.paths.is_direct
    world.road(NEAR).rtt = 0.02
    world.run(late + 2)
    assert world.paths.best is not None
    assert world.paths.best.rtt == pytest.approx(0.02)


def test_ten_per_cent_of_loss_for_an_hour_is_no_reason_for_a_detour() -> None:
    world = direct()
    world.paths.set_relay(RELAY, world.now)
    world.paths.set_tcp(RELAY, world.now)
    world.road(NEAR).loss = 0.1
    world.run(3600)
    assert [way for _, way in world.used] == [None, Way(NEAR, None)]


def test_inside_tcp_is_used_where_nothing_else_works() -> None:
    world = World()
    inside = Way(None, RELAY, True)
    world.road(NEAR).up = world.road(RELAY).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.paths.set_tcp(RELAY, world.now)
    world.run(0.001)
    assert world.used[-1][1] == inside, "at once"
    assert world.paths.why == "direct-unanswered,no-relay"
    world.paths.set_relay(RELAY, world.now)
    world.run(5)
    assert world.used[-1][1] == inside
    assert world.paths.why == "direct-unanswered,relay-unanswered"
    world.road(RELAY).up = True
    world.run_until(lambda: world.used[-1][1] == Way(None, RELAY), within=11)
    before = len(world.probes)
    world.run(30)
    assert not [way for _, way, _ in world.probes[before:] if way.tcp]  # it rests
    world.road(RELAY).up = False
    assert world.run_until(lambda: world.used[-1][1] == inside, within=3) <= 1.8
    world.road(NEAR).up = True
    world.run_until(lambda: world.endpoint == NEAR, within=11)
    world.paths.set_tcp(None, world.now)
    assert world.paths.tcp is None


def test_another_relay_takes_its_place_and_none_leaves_none() -> None:
    world = World()
    world.paths.set_relay(RELAY, world.now)
    world.run(5)
    kept = world.paths.best
    world.paths.set_relay(RELAY, world.now)
    world.run(1)
    assert world.paths.best is kept  # the same again changes nothing
    world.paths.set_relay(OTHER_RELAY, world.now)
    world.run(1)
    assert world.paths.best is not None
    assert world.paths.best.way == Way(None, OTHER_RELAY)
    world.paths.set_relay(None, world.now)
    world.run(1)
    assert world.paths.best is None
    assert world.paths.why == "no-direct-address,no-relay"
    assert world.paths.next_deadline() is None


# --- candidates --------------------------------------------------------------------------


def test_candidates_that_are_not_told_any_more_go_unless_they_work() -> None:
    world = World()
    world.road(FAR).up = False
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(1)
    world.paths.set_candidates([], world.now)
    world.run(1)
    assert world.endpoint == NEAR
    before = len(world.probes)
    world.run(30)
    assert {way.endpoint for _, way, _ in world.probes[before:]} == {NEAR}
    world.road(NEAR).up = False
    world.run(10)
    world.paths.set_candidates([], world.now)
    assert world.paths.next_deadline() is None


def test_a_place_that_was_only_heard_from_works_as_well() -> None:
    world = World()
    world.paths.heard_from(FAR, world.now)
    world.run(0.1)
    assert world.endpoint == FAR


@pytest.mark.parametrize("rtt", [0.0005, 0.02])
def test_a_peer_that_moves_is_followed_at_once(rtt: float) -> None:
    """Its NAT has changed its mind: it is heard from elsewhere, and the old place is silent."""
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = world.road(FAR).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.run(10 + phase)
        world.road(NEAR).up = False
        world.paths.heard_from(FAR, world.now)
        assert world.run_until(partial(world.is_at, FAR), within=1) <= 0.31
        assert world.used[-1][1] == Way(FAR, None)
        world.run(5)
        assert world.endpoint == FAR


def test_a_peer_that_is_only_heard_from_elsewhere_is_not_followed() -> None:
    """Two interfaces, or somebody on the way who repeats records."""
    world = direct()
    for _ in range(100):
        world.paths.heard_from(FAR, world.now)
        world.run(0.3)
    assert [way for _, way in world.used] == [None, Way(NEAR, None)]


def test_a_punch_has_all_places_probed_at_once_but_not_more_often_than_once_a_second() -> None:
    world = World()
    world.road(NEAR).up = world.road(FAR).up = False
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(100)
    world.run_until(lambda: world.now - world.probes[-1][0] > 2, within=10)
    before = len(world.probes)
    for _ in range(20):
        world.paths.punched(world.now)
        world.run(0.01)
    assert {way.endpoint for _, way, _ in world.probes[before:]} == {NEAR, FAR}
    assert len(world.probes) == before + 2


def test_news_about_where_the_peer_might_be_is_hope_once() -> None:
    paths = Paths()
    paths.set_candidates([NEAR], 0.0)
    assert paths.take_hope()
    assert not paths.take_hope()
    paths.set_candidates([NEAR], 1.0)
    assert not paths.take_hope()
    paths.set_candidates([NEAR, FAR], 2.0)
    assert paths.take_hope()


def test_the_number_of_candidates_is_bounded() -> None:
    world = World()
    settings = PathSettings()
    most = settings.max_candidates
    places = [Endpoint(f"192.0.2.{n}", 6783) for n in range(1, 200)]
    for place in places:
        world.road(place).up = False
    world.paths.set_candidates(places, world.now)
    world.run(0.1)
    assert {way.endpoint for _, way, _ in world.probes} == set(places[:most])
    for place in places:
        world.paths.heard_from(place, world.now)
    before = len(world.probes)
    world.run(60)
    # Those heard from last, a few times each; those we were told of, for ever.
    heard = [way for _, way, _ in world.probes[before:] if way.endpoint not in places[:most]]
    assert {way.endpoint for way in heard} == set(places[-settings.max_heard :])
    assert len(heard) == settings.max_heard * settings.hearsay_probes


def test_a_place_heard_from_often_is_not_probed_as_often() -> None:
    """Who copies true records and sends them from an address of his choice, makes us send little
    there."""
    world = World()
    world.road(FAR).up = False
    for _ in range(1000):
        world.paths.heard_from(FAR, world.now)
        world.run(0.01)
    assert len(world.probes) <= 10 * PathSettings().hearsay_probes


def test_a_place_that_was_only_heard_from_does_not_win_against_one_we_were_told_of() -> None:
    """It may be somebody on the way, who answers quickly because he passes everything on."""
    world = World()
    world.road(NEAR).rtt = 0.100
    world.road(FAR).rtt = 0.001
    world.paths.set_candidates([NEAR], world.now)
    world.paths.heard_from(FAR, world.now)
    world.run(0.05)
    assert world.endpoint == FAR  # as long as nothing else works
    world.run(60)
    assert world.endpoint == NEAR


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    world = World()
    world.paths.set_candidates([NEAR], world.now)
    assert not world.paths.answered(12345, 1472, world.now)
    world.run(1)
    assert not world.paths.answered(1, 8972, world.now)  # twice
    assert world.size == 1472


# --- path MTU ----------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1])
@pytest.mark.parametrize("after", [1200, 1300, 1412])
def test_a_black_hole_in_use_is_noticed_within_two_seconds(rtt: float, after: int) -> None:
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.run(10 + phase)
        assert world.size == 1472
        world.road(NEAR).mtu = after
        assert world.run_until(partial(world.is_at_most, after), within=3) <= 2.01
        world.run(30)
        assert world.size == max(size for size in (1200, 1252, 1412) if size <= after)
        assert len(world.used) == 2  # all the time it was up


def test_a_black_hole_with_loss_is_noticed_as_well() -> None:
    for seed in range(20):
        world = direct(seed)
        world.road(NEAR).loss = 0.1
        world.road(NEAR).mtu = 1300
        world.run_until(partial(world.is_at_most, 1300), within=10)
        world.run(10)
        assert world.endpoint == NEAR


def test_an_interface_that_has_become_narrower_is_noticed_at_the_next_probe() -> None:
    world = direct()
    world.road(NEAR).interface = world.road(NEAR).mtu = 1372
    assert world.run_until(lambda: world.size <= 1372, within=2) <= 1.01
    world.run(5)
    assert world.size == 1372
    assert world.endpoint == NEAR


def test_an_interface_too_narrow_for_anything_still_tells_alive_from_dead() -> None:
    world = direct()
    world.road(NEAR).interface = 1000
    world.run(20)
    assert world.endpoint == NEAR
    before = len(world.probes)
    world.run(10)
    assert len(world.probes) - before < 100  # and does not spin
    world.road(NEAR).up = False
    assert world.run_until(lambda: world.paths.best is None, within=4) <= 3.5


def test_a_path_that_comes_back_proves_its_size_anew() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(10)
    world.road(NEAR).up = True
    world.road(NEAR).mtu = 1300
    world.run_until(lambda: world.endpoint == NEAR, within=11)
    assert world.size == BASE


def test_full_size_probes_are_as_large_as_the_datagrams_sent() -> None:
    world = direct()
    before = len(world.probes)
    world.run(10)
    assert {size for _, _, size in world.probes[before:]} == {1472}


def test_states_in_order() -> None:
    path, now = Path(Way(NEAR, None), 0.0, PathSettings()), 0.0
    states = [path.state]
    ((kind, size),) = path.advance(now, True)
    path.sent(1, kind, size, now)
    path.answered(1, size, now + 0.01)
    states.append(path.state)
    number = 1
    while path.state is states[-1]:
        now = path.next_deadline().at
        for kind, size in path.advance(now, True):
            number += 1
            path.sent(number, kind, size, now)
    assert [*states, path.state] == [PathState.UNPROVEN, PathState.UP, PathState.DOWN]
    assert now < 4
