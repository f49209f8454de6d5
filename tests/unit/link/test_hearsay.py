"""How many probes go to where nobody has answered, whoever names it?"""

from __future__ import annotations

from tests.kit.path_world import NEAR, World, direct
from weave_py.link.hearsay import (
    CREDIT_BYTES,
    GAIN,
    HOST_PROBES,
    SPARE_PROBES,
    Credit,
    Hearsay,
)
from weave_py.model.names import Endpoint, PeerName

RELAY = PeerName(b"\x02relay")
THIRD = "203.0.113.9"
PROBE = 64


def spent(credit: Credit, now: float, hosts: int = 250, *, is_spare: bool = False) -> int:
    """How many probes one may send now, to so many hosts in turn."""
    count = 0
    while credit.take(f"203.0.{count % hosts}.1", PROBE, is_spare, now):
        count += 1
    return count


def test_what_a_peer_has_us_send_it_could_have_sent_itself() -> None:
    """F10: a peer's records made us probe without end, for nothing that it said to us."""
    credit = Credit(Hearsay())
    assert spent(credit, 0.0) == CREDIT_BYTES // PROBE
    for _ in range(10):
        credit.heard(100)
    assert spent(credit, 0.0) == 10 * 100 * GAIN // PROBE
    credit.heard(10**9)
    assert spent(credit, 0.0) == CREDIT_BYTES // PROBE, "nobody saves up"


def test_many_peers_that_name_one_host_share_what_goes_there() -> None:
    """F10: identities cost little, and each could name the same victim."""
    shared = Hearsay()
    sent = sum(spent(Credit(shared), 0.0, hosts=1) for _ in range(50))
    assert sent == HOST_PROBES
    assert Credit(shared).take(THIRD, PROBE, False, 0.0), "others are not concerned"


def test_behind_a_host_that_answers_there_may_be_many() -> None:
    shared = Hearsay()
    credits = [Credit(shared) for _ in range(50)]
    for credit in credits:
        for _ in range(5):
            assert credit.take(THIRD, PROBE, False, 0.0)
        credit.answered(THIRD)


def test_who_is_reached_has_other_addresses_looked_at_at_leisure() -> None:
    """F10: an honest peer may announce what a third one lied to it."""
    shared = Hearsay()
    assert sum(spent(Credit(shared), 0.0, is_spare=True) for _ in range(50)) == SPARE_PROBES
    assert spent(Credit(shared), 0.0) > 0, "who is not reached need not wait for that"


def test_paths_keep_to_it_however_often_the_addresses_change() -> None:
    """F10: new ports of a third party with every record."""
    world = World()
    sent = 0
    for number in range(100):
        places = [Endpoint(THIRD, 11 * number + n + 1) for n in range(11)]
        for place in places:
            world.road(place).up = False
        world.paths.set_candidates(places, world.now)
        before = len(world.probes)
        world.run(1)
        sent += len(world.probes) - before
    assert sent * PROBE <= CREDIT_BYTES + 101 * PROBE
    world.paths.set_candidates([NEAR], world.now)
    world.run_until(lambda: world.is_at(NEAR), within=5)


def test_a_way_that_works_is_kept_whatever_else_is_named() -> None:
    world = direct()
    places = [Endpoint(THIRD, n + 1) for n in range(12)]
    for place in places:
        world.road(place).up = False
    world.paths.set_candidates([NEAR, *places], world.now)
    before = len(world.probes)
    world.run(100)
    there = [hop for _, hop, _ in world.probes[before:] if hop.endpoint in places]
    assert len(there) <= SPARE_PROBES + 100 * 0.2 + 1
    assert world.is_at(NEAR)


def test_a_peer_that_moves_is_followed_though_nothing_is_left_for_spare_ways() -> None:
    world = direct()
    elsewhere = Endpoint("198.51.100.77", 4000)
    named = [Endpoint(THIRD, n + 1) for n in range(15)]
    for place in named:
        world.road(place).up = False
    world.paths.set_candidates([NEAR, *named], world.now)
    world.run(60)
    world.road(NEAR).up = False
    world.paths.heard_from(elsewhere, world.now)
    assert world.run_until(lambda: world.is_at(elsewhere), within=5) < 1.0
