"""Are connections found again, and kept, by calling: after long splits, twice, from new places?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation, over_seeds
from weave_py.model.effects import INFO
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


@over_seeds(2)
def test_a_living_target_among_dead_ones(seed: int) -> None:
    """(t44) The first of them that lives is reached within less than a dial's patience."""
    simulation = Simulation(seed)
    living = simulation.add()
    simulation.add(*(f"10.9.0.{number}" for number in range(1, 21)), living)
    simulation.run_until(lambda: len(living.engine.neighbours) == 1, within=3.0)


@over_seeds(2)
def test_the_same_list_of_targets_everywhere(seed: int) -> None:
    """(t07) Each host is in its own list, too, and all are in it twice: said once, not at each
    try, and connections are steady."""
    simulation = Simulation(seed)
    places = [f"10.0.0.{number}{port}" for number in (2, 3, 4) for port in ("", ":6783")]
    hosts = [simulation.add(*places) for _ in range(3)]
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(5)
    for host in hosts:
        said = [e for e in host.events("target is this router itself") if e.level >= INFO]
        assert len(said) == 2  # as many names of its own as it was given
        assert not host.events("peer refused")
    since, terminations = simulation.now, [host.engine.terminations for host in hosts]
    dials = [host.dials for host in hosts]
    simulation.run(240)
    for host in hosts:
        assert not [e for e in host.log if e.at > since and e.level >= INFO], host.log
    assert [host.engine.terminations for host in hosts] == terminations
    assert [host.dials for host in hosts] == dials
    # Who was ourself may be somebody else when our addresses have changed.
    hosts[0].engine.set_local_addresses(
        [OwnAddress("10.0.0.2"), OwnAddress("10.0.0.77")], simulation.now
    )
    hosts[0].carry_out()
    simulation.run(1)
    assert hosts[0].dials == dials[0] + 2


class TestForget:
    """(t30) A peer that is gone for good was still called, and shown, long after `forget`."""

    @over_seeds(2)
    @pytest.mark.parametrize("by", ["address", "nickname"])
    def test_who_is_gone_is_neither_shown_nor_called(self, seed: int, by: str) -> None:
        simulation = Simulation(seed)
        first, *others = simulation.mesh(4)
        gone = others[2]
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.call(first, gone)
        simulation.kill(gone)
        simulation.run(2)
        assert simulation.knows(first, gone)
        words = {"address": gone.address, "nickname": gone.engine.nickname}
        first.engine.forget([words[by], gone.address], simulation.now)
        first.carry_out()
        assert not simulation.knows(first, gone)
        simulation.run(6)  # a call may have been on its way
        dials = first.dials
        assert not [c for c in first.view().connections if gone.address in c.address]
        simulation.run(200)
        assert not simulation.knows(first, gone)
        assert first.dials == dials
        again = simulation.restart(gone, others[0])
        simulation.run_until(lambda: simulation.knows(first, again), within=5)
        simulation.run_until(simulation.is_full_mesh, within=10)

    def test_who_is_there_stays(self) -> None:
        simulation = Simulation(1)
        first, second = simulation.mesh(2)
        simulation.run_until(simulation.is_full_mesh, within=4)
        second.engine.forget([first.address], simulation.now)
        second.carry_out()
        simulation.run(100)
        assert simulation.is_full_mesh()
        simulation.kill(first)
        simulation.run(20)
        assert simulation.knows(second, first), "for its minute, as ever"
