"""Is the best way found, kept while it works, and left in time when it does not?"""

from __future__ import annotations

import pytest

from tests.kit.path_world import FAR, NEAR, World, direct, phases
from weave_py.link.egress import NextHop
from weave_py.link.path import SMALL_PROBE, Kind
from weave_py.link.path_mtu import BASE
from weave_py.model.names import PeerName

RELAY = PeerName(b"\x02relay")
OTHER_RELAY = PeerName(b"\x02other")


def test_a_little_quicker_is_not_better() -> None:
    world = World()
    world.road(NEAR).rtt = 0.020
    world.road(FAR).rtt = 0.018
    world.paths.set_candidates([NEAR], world.now, NEAR)
    world.run(5)
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(60)
    assert world.endpoint == NEAR


def test_much_quicker_is_better() -> None:
    world = World()
    world.road(NEAR).rtt = 0.100
    world.road(FAR).rtt = 0.010
    world.paths.set_candidates([NEAR], world.now, NEAR)
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
    assert [next_hop for _, next_hop in world.used] == [
        None,
        NextHop(NEAR, None),
        NextHop(FAR, None),
    ]


def test_the_relay_is_used_until_there_is_a_direct_path_and_again_after() -> None:
    world = World()
    world.road(NEAR).up = False
    world.paths.set_candidates([NEAR], world.now, NEAR)
    world.paths.set_relay(RELAY, world.now)
    world.run(1)
    relayed = NextHop(None, RELAY)
    best = world.paths.best
    assert best is not None
    assert best.next_hop == relayed
    assert world.paths.detour_way == relayed
    assert world.paths.why == "direct-unanswered"
    world.run(60)
    world.road(NEAR).up = True
    assert world.run_until(lambda: world.endpoint == NEAR, within=11) <= 10.1
    before = len(world.probes)
    world.run(60)
    assert all(
        next_hop.endpoint == NEAR for _, next_hop, _ in world.probes[before:]
    )  # the relay rests
    world.road(NEAR).up = False
    world.run_until(lambda: world.paths.best is not None and not world.paths.is_direct, within=3.5)
    assert world.paths.best is not None
    assert world.paths.best.next_hop == relayed


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
        world.paths.set_candidates([NEAR], world.now, NEAR)
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
        world.paths.set_candidates([NEAR], world.now, NEAR)
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
    world.paths.set_candidates([NEAR], world.now, NEAR)
    world.paths.set_relay(RELAY, world.now)
    world.run(10)
    world.road(NEAR).up = False
    world.run(2)
    assert world.paths.is_direct
    assert world.paths.is_suspect
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
    assert [next_hop for _, next_hop in world.used] == [None, NextHop(NEAR, None)]


def test_inside_tcp_is_used_where_nothing_else_works() -> None:
    world = World()
    inside = NextHop(None, RELAY, True)
    world.road(NEAR).up = world.road(RELAY).up = False
    world.paths.set_candidates([NEAR], world.now, NEAR)
    world.paths.set_tcp(RELAY, world.now)
    world.run(0.001)
    assert world.used[-1][1] == inside, "at once"
    assert world.paths.why == "direct-unanswered,no-relay"
    world.paths.set_relay(RELAY, world.now)
    world.run(5)
    assert world.used[-1][1] == inside
    assert world.paths.why == "direct-unanswered,relay-unanswered"
    world.road(RELAY).up = True
    world.run_until(lambda: world.used[-1][1] == NextHop(None, RELAY), within=11)
    before = len(world.probes)
    world.run(30)
    assert not [next_hop for _, next_hop, _ in world.probes[before:] if next_hop.tcp]  # it rests
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
    assert world.paths.best.next_hop == NextHop(None, OTHER_RELAY)
    world.paths.set_relay(None, world.now)
    world.run(1)
    assert world.paths.best is None
    assert world.paths.why == "no-direct-address,no-relay"
    assert world.paths.next_deadline() is None
