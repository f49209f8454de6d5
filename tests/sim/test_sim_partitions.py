"""Does a network heal, and does it forget those who are gone, and only those?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation, over_seeds


def heal(seed: int, half: int, apart: float) -> None:
    """A network falls into two halves for a while, and is whole again after the longest pause
    between two calls at most (30 s, give or take a half, and some time to call)."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(2 * half)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(5)
    # The seed peer, target of all, is on one side.
    left, right = hosts[:half], hosts[half:]
    simulation.partition(left, right)
    simulation.run_until(
        lambda: simulation.is_whole(left) and simulation.is_whole(right), within=4.5
    )
    simulation.run(apart)
    simulation.partition(left, right, up=True)
    seconds = simulation.run_until(simulation.is_whole, within=35)
    print(f"whole again after {seconds:.1f} s")
    simulation.run_until(simulation.is_full_mesh, within=35)
    simulation.run(16)
    simulation.check_no_leaks()


@over_seeds(2, slow=3)
def test_longer_than_it_takes_to_forget(seed: int) -> None:
    heal(seed, 4, apart=300)


@over_seeds(2, slow=2)
def test_shorter_than_it_takes_to_forget(seed: int) -> None:
    heal(seed, 4, apart=30)


@over_seeds(2, slow=2)
def test_about_as_long_as_it_takes_to_forget(seed: int) -> None:
    """Some have forgotten, others are about to."""
    heal(seed, 4, apart=57 + seed)


@pytest.mark.slow
def test_two_halves_of_fifteen() -> None:
    heal(1, 15, apart=300)


@over_seeds(2, slow=2)
def test_who_left_for_good_is_forgotten_by_all_and_stays_forgotten(seed: int) -> None:
    simulation = Simulation(seed)
    hosts = simulation.mesh(6)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(5)
    gone = hosts[2], hosts[4]
    simulation.leave(gone[0])
    simulation.run(20)
    simulation.vanish(gone[1])
    simulation.run(30)
    assert all(simulation.knows(host, gone[0]) for host in simulation.alive)
    simulation.run(12)
    assert not any(simulation.knows(host, gone[0]) for host in simulation.alive)
    simulation.run(25)
    for _ in range(600):
        simulation.run(1)
        assert not any(simulation.knows(host, peer) for host in simulation.alive for peer in gone)
    simulation.check_no_leaks()
    late = simulation.add(hosts[0])
    simulation.run(20)
    assert simulation.is_full_mesh()
    assert not any(simulation.knows(late, peer) for peer in gone)


@over_seeds(2, slow=2)
def test_two_islands_forget_different_peers_and_meet_again(seed: int) -> None:
    """The dead of one side are still remembered on the other: they must not come back."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(8)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(5)
    left, right = hosts[:4], hosts[4:]
    simulation.partition(left, right)
    simulation.run(20)
    simulation.vanish(left[3])
    simulation.vanish(right[3])
    simulation.run(45)
    simulation.partition(left, right, up=True)
    simulation.run_until(simulation.is_whole, within=35)
    simulation.run(70)
    for _ in range(120):
        simulation.run(1)
        assert not any(
            simulation.knows(h, d) for h in simulation.alive for d in (left[3], right[3])
        )
    simulation.check_no_leaks()


@over_seeds(2, slow=2)
def test_a_peer_that_comes_back_after_everybody_has_forgotten_it(seed: int) -> None:
    """It never stopped running, so its record is the very one that all have put away."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(4)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(15)
    simulation.partition([hosts[3]], hosts[:3])
    simulation.run(200)
    assert not any(simulation.knows(host, hosts[3]) for host in hosts[:3])
    simulation.partition([hosts[3]], hosts[:3], up=True)
    simulation.run_until(simulation.is_full_mesh, within=47)
    simulation.run(16)
    simulation.check_no_leaks()


@over_seeds(2)
def test_a_flapping_wire_is_no_storm(seed: int) -> None:
    """A wire that is up for two seconds and down for five, for two minutes."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(6)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(5)
    others = simulation.flow(hosts[2], hosts[3])
    across = simulation.flow(hosts[0], hosts[1])
    start, before = simulation.now, simulation.messages
    for _ in range(17):
        simulation.cut(hosts[0], hosts[1])
        simulation.run(5)
        simulation.mend(hosts[0], hosts[1])
        simulation.run(2)
    heartbeats = 15 * 4 * (simulation.now - start)
    assert simulation.messages - before < 1.5 * heartbeats
    assert others.longest_gap(start) < 0.3
    assert across.longest_gap(start) < 4.5
    simulation.run_until(simulation.is_full_mesh, within=35)
