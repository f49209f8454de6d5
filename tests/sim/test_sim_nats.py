"""Does every pair behind NATs and firewalls find the best path there is, and keep it?"""

from __future__ import annotations

from functools import partial
from itertools import combinations_with_replacement, product

import pytest

from tests.kit.nat_box import are_direct, behind, kinds
from tests.kit.simulation import Simulation, over_seeds
from weave_py.lab.nat_pairs import Kinds, expected
from weave_py.lab.nats import Kind
from weave_py.sim.host import SimHost
from weave_py.sim.underlay import Wire

PAIRS = list(combinations_with_replacement([k for k in Kind if k is not Kind.DOUBLE], 2))

FORGETFUL = (Kind.FULL_CONE, Kind.RESTRICTED, Kind.PORT_RESTRICTED, Kind.SYMMETRIC)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_best_path_is_found_soon_and_carries_data(one: Kind, other: Kind) -> None:
    simulation, _, (_, a, b) = behind(1, one, other)
    wanted = expected(one, other)
    simulation.run_until(lambda: kinds(a, b) == wanted, within=4)
    flows = simulation.flow(a, b), simulation.flow(b, a)
    simulation.run(60)  # longer than mappings are kept without traffic
    assert kinds(a, b) == wanted
    assert all(flow.longest_gap() < 0.3 and flow.refused == [] for flow in flows)
    simulation.run(60)
    for flow in flows:
        flow.stop()
    simulation.run(300)
    assert kinds(a, b) == wanted, "also without traffic"


@pytest.mark.parametrize("pair", [(Kind.PORT_RESTRICTED,) * 2, (Kind.SYMMETRIC, Kind.RESTRICTED)])
@over_seeds(3, slow=5)
def test_a_fifth_of_all_datagrams_lost_is_no_obstacle(seed: int, pair: tuple[Kind, Kind]) -> None:
    simulation, _, (_, a, b) = behind(seed, *pair, wire=Wire(loss=0.2))
    simulation.run_until(lambda: kinds(a, b) == Kinds("direct", "direct"), within=15)


PUNCHABLE = [
    kind
    for kind in Kind
    if kind is not Kind.DOUBLE and expected(Kind.MASQUERADE, kind) == Kinds("direct", "direct")
]


@pytest.mark.parametrize("other", PUNCHABLE)
@pytest.mark.parametrize("latency", [0.0002, 0.02, 0.15])
@pytest.mark.parametrize("is_first", [True, False])
@over_seeds(1, slow=10)
def test_a_port_that_can_be_taken_away_is_not(
    seed: int, is_first: bool, latency: float, other: Kind
) -> None:
    """t69: whoever joined the mesh earlier probed the other's gateway before its host had sent
    anything, and never had a direct path with it."""
    pair = (Kind.MASQUERADE, other) if is_first else (other, Kind.MASQUERADE)
    for late in (0.0, 0.037, 1.3):
        wire = Wire(latency=latency, jitter=latency / 10)
        simulation, _, (_, a, b) = behind(seed, *pair, wire=wire, late=late)
        simulation.run_until(partial(are_direct, a, b), within=8)


@over_seeds(2, slow=10)
def test_a_port_that_was_taken_away_comes_back(seed: int) -> None:
    """t69: the gateway forgets, and what arrives first takes the port; all are silent for long
    enough then, and the next volley finds it free."""
    simulation, boxes, (_, a, b) = behind(seed, Kind.MASQUERADE, Kind.MASQUERADE)
    simulation.run_until(lambda: are_direct(a, b), within=4)
    boxes.box(a).forget()
    boxes.box(b).forget()
    flow = simulation.flow(a, b)
    simulation.run_until(lambda: not are_direct(a, b), within=10)
    simulation.run_until(lambda: are_direct(a, b), within=90)
    assert flow.longest_gap() < 2.0, "the relay stands in"


def rebound_gaps(seed: int, one: Kind, other: Kind) -> float:
    """The longest gap in either direction when the first one's NAT forgets its mappings."""
    simulation, boxes, (_, a, b) = behind(seed, one, other)
    wanted = expected(one, other)
    simulation.run_until(lambda: kinds(a, b) == wanted, within=4)
    flows = simulation.flow(a, b, every=0.05), simulation.flow(b, a, every=0.05)
    simulation.run(5 + simulation.dice.random())
    start = simulation.now
    boxes.box(a).forget()
    simulation.run(6)
    assert kinds(a, b) == wanted
    return max(flow.longest_gap(start) for flow in flows)


@pytest.mark.parametrize(
    ("one", "other"),
    list(product(FORGETFUL, (Kind.OPEN, Kind.FULL_CONE, Kind.PORT_RESTRICTED, Kind.SYMMETRIC))),
)
@over_seeds(2, slow=10)
def test_a_nat_that_forgets_its_mappings_is_survived_in_two_seconds(
    seed: int, one: Kind, other: Kind
) -> None:
    assert rebound_gaps(seed, one, other) <= 2.0


def test_reasons() -> None:
    simulation, _, (_, a, b, c, _) = behind(
        1, Kind.SYMMETRIC, Kind.PORT_RESTRICTED, Kind.NO_UDP, Kind.OPEN
    )
    simulation.run(5)
    assert why(simulation, a, b) == "symmetric-nat"
    assert why(simulation, b, a) == "peer-symmetric-nat"
    assert why(simulation, a, c) == "peer-udp-blocked,no-relay"
    assert why(simulation, c, a) == "udp-blocked,no-relay"


def why(simulation: Simulation, one: SimHost, other: SimHost) -> str:
    return one.path_view(other).why


def test_a_symmetric_nat_does_not_have_its_host_announce_a_port_for_every_peer() -> None:
    simulation, _, hosts = behind(1, Kind.SYMMETRIC, *[Kind.OPEN] * 8)
    a = hosts[1]
    simulation.run(5)
    assert len(a.engine.links.observed) == 9
    seen = [place for place in a.engine.ourself.record.endpoints if place.host != a.address]
    assert len(seen) == 2
    versions = a.engine.ourself.record.order.version
    simulation.run(60)
    assert a.engine.ourself.record.order.version <= versions + 2
