"""Do frames arrive once, and paths stay, when the network repeats, shuffles and delays datagrams?

(There is no netem in the tests' kernels, so these faults are tried in virtual time.)
"""

from __future__ import annotations

from collections import Counter

from tests.kit.simulation import Simulation, over_seeds
from weave_py.sim.host import SimHost
from weave_py.sim.underlay import Wire

A_MINUTE = 60.0


def settled(seed: int, wire: Wire) -> tuple[Simulation, list[SimHost]]:
    simulation = Simulation(seed, default=wire)
    hosts = simulation.mesh(3)
    simulation.run_until(simulation.is_full_mesh, within=10)
    simulation.run(5)
    for host in hosts:
        host.watches_ways = True
        host.carry_out()
        host.way_changes.clear()
    return simulation, hosts


def check_exactly_once(wire: Wire, seed: int, every: float = 0.005) -> None:
    """A minute of data; none twice, none missing, and no path is doubted."""
    simulation, hosts = settled(seed, wire)
    start = simulation.now
    flow = simulation.flow(hosts[0], hosts[1], every)
    simulation.run(A_MINUTE)
    flow.stop()
    simulation.run(2)
    came = Counter(a.payload for a in hosts[1].arrivals if a.payload in flow.sent)
    assert max(came.values()) == 1, "delivered twice"
    assert flow.refused == []
    assert flow.lost == []
    assert all(host.way_changes == [] for host in hosts)
    assert not any(host.events("connection ended", since=start) for host in hosts)


@over_seeds(2, slow=3)
def test_a_tenth_arrives_twice(seed: int) -> None:
    check_exactly_once(Wire(twice=0.1), seed)


@over_seeds(2, slow=3)
def test_everything_arrives_twice(seed: int) -> None:
    check_exactly_once(Wire(twice=1.0), seed)


@over_seeds(2, slow=3)
def test_every_fifth_is_overtaken_by_twenty_others(seed: int) -> None:
    check_exactly_once(Wire(dawdling=0.2, dawdle=0.1), seed)


@over_seeds(1, slow=3)
def test_shuffled_over_half_a_second(seed: int) -> None:
    check_exactly_once(Wire(latency=0.01, jitter=0.5), seed, every=0.002)


@over_seeds(2, slow=3)
def test_all_at_once(seed: int) -> None:
    """Lost, repeated, late: what arrives does so once, and nobody gives up a path for long."""
    wire = Wire(loss=0.1, twice=0.1, dawdling=0.1, dawdle=0.2, jitter=0.05)
    simulation, hosts = settled(seed, wire)
    start = simulation.now
    flow = simulation.flow(hosts[0], hosts[1])
    simulation.run(5 * A_MINUTE)
    assert flow.longest_gap(start) < 1
    flow.stop()
    simulation.run(2)
    came = Counter(a.payload for a in hosts[1].arrivals if a.payload in flow.sent)
    assert max(came.values()) == 1
    assert 0.05 < len(flow.lost) / len(flow.sent) < 0.15
    assert not any(host.events("connection ended", since=start) for host in hosts)


@over_seeds(2, slow=3)
def test_the_delay_changes_by_a_second_and_back(seed: int) -> None:
    """A route change somewhere, or a full queue: no death, and no detour for good."""
    simulation, hosts = settled(seed, Wire())
    start = simulation.now
    flow = simulation.flow(hosts[0], hosts[1])
    for _ in range(5):
        simulation.wire(hosts[0], hosts[1]).queue = 1.0
        simulation.run(10)
        simulation.wire(hosts[0], hosts[1]).queue = 0.0
        simulation.run(10)
    assert flow.refused == []
    assert not any(host.events("connection ended", since=start) for host in hosts)
    simulation.run_until(simulation.is_full_mesh, within=5)
    print(f"longest gap {flow.longest_gap(start):.2f} s")
    assert flow.longest_gap(start) < 2.5
