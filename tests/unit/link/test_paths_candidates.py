"""Where may the peer be? Is every hint followed, and none believed further than it deserves?"""

from __future__ import annotations

from functools import partial

import pytest

from tests.kit.path_world import FAR, NEAR, World, direct, phases
from weave_py.link.egress import NextHop
from weave_py.link.path import PathSettings
from weave_py.link.paths import Paths
from weave_py.model.names import Endpoint, PeerName

RELAY = PeerName(b"\x02relay")


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
    assert {next_hop.endpoint for _, next_hop, _ in world.probes[before:]} == {NEAR}
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
        assert world.used[-1][1] == NextHop(FAR, None)
        world.run(5)
        assert world.endpoint == FAR


def test_a_peer_that_is_only_heard_from_elsewhere_is_not_followed() -> None:
    """Two interfaces, or somebody on the way who repeats records."""
    world = direct()
    for _ in range(100):
        world.paths.heard_from(FAR, world.now)
        world.run(0.3)
    assert [next_hop for _, next_hop in world.used] == [None, NextHop(NEAR, None)]


def test_where_there_is_a_detour_places_are_probed_in_volleys_only() -> None:
    """t69: a probe that comes too early takes the peer's port away at its gateway."""
    world = World()
    world.road(NEAR).up = world.road(FAR).up = False
    world.paths.set_relay(RELAY, world.now)
    world.paths.set_candidates([NEAR, FAR], world.now)
    world.run(100)
    assert {next_hop.endpoint for _, next_hop, _ in world.probes} == {None}
    assert world.paths.is_holding(world.now)
    world.paths.fire(world.now)
    began, before = world.now, len(world.probes)
    world.run(100)
    fired = [(at, hop.endpoint) for at, hop, _ in world.probes[before:] if hop.endpoint]
    assert {place for _, place in fired} == {NEAR, FAR}
    assert len(fired) == 8
    assert fired[-1][0] < began + PathSettings().volley_lasts


@pytest.mark.parametrize("hint", ["called", "heard", "another works"])
def test_where_it_can_do_no_harm_a_place_is_probed_at_will(hint: str) -> None:
    world = World()
    world.road(FAR).up = False
    world.road(NEAR).up = hint == "another works"
    world.paths.set_relay(RELAY, world.now)
    called = {"called": FAR, "another works": NEAR}.get(hint)
    world.paths.set_candidates([NEAR, FAR], world.now, called)
    if hint == "heard":
        world.paths.heard_from(FAR, world.now)
    world.run(5)
    assert FAR in {next_hop.endpoint for _, next_hop, _ in world.probes}


def test_news_about_where_the_peer_might_be_is_hope_once() -> None:
    paths = Paths()
    paths.set_candidates([NEAR], 0.0)
    assert paths.take_probe_trigger()
    assert not paths.take_probe_trigger()
    paths.set_candidates([NEAR], 1.0)
    assert not paths.take_probe_trigger()
    paths.set_candidates([NEAR, FAR], 2.0)
    assert paths.take_probe_trigger()


def test_the_number_of_candidates_is_bounded() -> None:
    world = World()
    settings = PathSettings()
    most = settings.max_candidates
    places = [Endpoint(f"192.0.2.{n}", 6783) for n in range(1, 200)]
    for place in places:
        world.road(place).up = False
    world.paths.set_candidates(places, world.now)
    world.run(0.1)
    assert {next_hop.endpoint for _, next_hop, _ in world.probes} == set(places[:most])
    for place in places:
        world.paths.heard_from(place, world.now)
    before = len(world.probes)
    world.run(60)
    # Those heard from last, a few times each; those we were told of, for ever.
    heard = [
        next_hop
        for _, next_hop, _ in world.probes[before:]
        if next_hop.endpoint not in places[:most]
    ]
    assert {next_hop.endpoint for next_hop in heard} == set(places[-settings.max_heard :])
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


def test_a_peer_that_seems_to_be_in_many_places_is_probed_in_the_latest_few() -> None:
    world = direct()
    for number in range(100):
        world.paths.heard_from(Endpoint("203.0.113.9", 1000 + number), world.now)
        world.run(1)
    before = len(world.probes)
    world.run(60)
    probed = {next_hop.endpoint for _, next_hop, _ in world.probes[before:]}
    assert len(probed) <= PathSettings().max_unlisted + 2
    assert world.endpoint == NEAR
