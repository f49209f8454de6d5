"""Are connections found again, and kept, by calling: after long splits, twice, from new places?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, over_seeds
from weave_py.model.underlay import OwnAddress
from weave_py.sim.host import SimHost


def at_rest(seed: int, count: int) -> tuple[Simulation, list[SimHost]]:
    simulation = Simulation(seed)
    hosts = simulation.mesh(count)
    simulation.run_until(simulation.is_full_mesh, within=6)
    simulation.run(20)
    return simulation, hosts


@over_seeds(2, slow=3)
def test_two_halves_that_have_forgotten_each_other_and_their_seed_is_gone(seed: int) -> None:
    """Nobody who is left is anybody's target: the forgotten themselves must be called."""
    simulation, hosts = at_rest(seed, 7)
    left, right = hosts[1:4], hosts[4:]
    simulation.vanish(hosts[0])
    simulation.partition(left, right)
    simulation.run(120)
    assert not simulation.knows(left[0], right[0])
    simulation.partition(left, right, up=True)
    simulation.run_until(simulation.is_whole, within=60)
    simulation.run_until(simulation.is_full_mesh, within=10)
    simulation.run(16)
    simulation.check_no_leaks()


@over_seeds(2, slow=3)
def test_calling_a_neighbour_again_costs_no_connection(seed: int) -> None:
    """With many peers heartbeats are rare, and each end has heard the other at another time."""
    simulation, hosts = at_rest(seed, 12)
    for number in range(40):
        caller = hosts[number % 12]
        callee = hosts[(number * 5 + 1) % 12]
        if caller is not callee:
            simulation.call(caller, callee)
        simulation.run(0.83)
        assert simulation.is_full_mesh(), f"call {number}: {simulation}"
    assert not any(host.events("another router") for host in hosts)


@over_seeds(2, slow=3)
def test_a_host_whose_address_comes_back_calls_at_once(seed: int) -> None:
    simulation, hosts = at_rest(seed, 4)
    simulation.partition([hosts[3]], hosts[:3])
    simulation.run(300)
    simulation.partition([hosts[3]], hosts[:3], up=True)
    hosts[3].engine.set_local_addresses([OwnAddress(hosts[3].address)], simulation.now)
    hosts[3].carry_out()
    simulation.run_until(simulation.is_full_mesh, within=3)


@over_seeds(2, slow=3)
def test_who_leaves_while_silent_is_not_counted_as_silent_for_ever(seed: int) -> None:
    simulation, hosts = at_rest(seed, 10)
    for host in hosts[1:8]:
        wire = simulation.wire(hosts[0], host)
        wire.loss = 1.0
        simulation.run(0.9)
        wire.loss = 0.0
        simulation.leave(host)
    simulation.run(120)
    assert hosts[0].engine.load.silent == 0
