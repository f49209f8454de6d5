"""How fast does everybody notice that a router ended, stood still, or started again?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation, over_seeds
from weave_py.sim.host import SimHost


def settled(seed: int, count: int = 5, quiet: float = 8) -> tuple[Simulation, list[SimHost]]:
    simulation = Simulation(seed)
    hosts = simulation.mesh(count)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(quiet)
    return simulation, hosts


class TestEnds:
    @over_seeds(3, slow=3)
    def test_killed_its_streams_end_and_all_know_at_once(self, seed: int) -> None:
        simulation, hosts = settled(seed)
        simulation.kill(hosts[0])
        simulation.run_until(simulation.is_full_mesh, within=0.5)

    @over_seeds(3, slow=3)
    def test_terminated_it_says_goodbye(self, seed: int) -> None:
        simulation, hosts = settled(seed)
        simulation.leave(hosts[0])
        simulation.run_until(simulation.is_full_mesh, within=0.5)
        for host in hosts[1:]:
            assert host.way_to(hosts[0]) is None
            (entry,) = host.events("connection ended")
            assert "leaving" in str(entry.fields["error"])
            assert entry.level < 30, "nothing to worry about"

    @over_seeds(3, slow=5)
    def test_without_power_neighbours_notice_within_three_and_a_half_seconds(
        self, seed: int
    ) -> None:
        simulation, hosts = settled(seed)
        simulation.vanish(hosts[0])
        start = simulation.now
        gone = hosts[0].name
        simulation.run_until(
            lambda: all(gone not in h.engine.neighbours.names() for h in hosts[1:]), within=3.5
        )
        assert simulation.now - start > 1.5, "one lost heartbeat is no death"
        simulation.run_until(simulation.is_full_mesh, within=1)

    @over_seeds(3, slow=3)
    def test_what_is_beyond_a_vanished_relay_is_gone_a_second_later(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b, c, d = simulation.chain(4)
        simulation.run_until(simulation.is_whole, within=6)
        simulation.run(5)
        simulation.vanish(c)
        simulation.run_until(lambda: c.name not in b.engine.neighbours.names(), within=3.5)
        simulation.run_until(
            lambda: a.engine.topology.routes.hops.keys() == {a.name, b.name}, within=1
        )
        assert a.path_view(d).why == "peer-unreachable"
        assert not a.send_data(d.name, b"x")

    @over_seeds(2, slow=2)
    def test_all_but_two_vanish_at_once(self, seed: int) -> None:
        simulation, hosts = settled(seed, 8)
        for host in hosts[2:]:
            simulation.vanish(host)
        simulation.run_until(simulation.is_full_mesh, within=4.5)

    def test_after_the_goodbye_nothing_is_sent_any_more(self) -> None:
        simulation, hosts = settled(1)
        leaver = hosts[0]
        simulation.leave(leaver)
        sent = leaver.messages
        simulation.run(5)
        assert leaver.messages == sent
        assert leaver.engine.next_deadline() is None
        assert leaver.ingresses == {}
        assert leaver.egresses == {}


class TestRestarts:
    @pytest.mark.parametrize("how", ["kill", "leave", "vanish"])
    @over_seeds(2, slow=3)
    def test_a_new_life_is_adopted_quickly(self, seed: int, how: str) -> None:
        simulation, hosts = settled(seed)
        old = hosts[1]
        getattr(simulation, how)(old)
        simulation.run(0.3)
        new = simulation.restart(old, hosts[0])
        assert new.engine.uid != old.engine.uid
        simulation.run_until(simulation.is_full_mesh, within=5 if how == "vanish" else 2)
        for host in simulation.alive:
            if host is not new:
                assert host.send_data(new.name, b"hello " + host.name)
                assert new.send_data(host.name, b"hello back")
        simulation.run(0.5)
        others = {h.name for h in simulation.alive} - {new.name}
        assert {a.payload for a in new.arrivals} == {b"hello " + name for name in others}
        assert all(
            [a.payload for a in h.arrivals] == [b"hello back"]
            for h in simulation.alive
            if h is not new
        )
        simulation.run(15)
        simulation.check_no_leaks()

    @over_seeds(3, slow=3)
    def test_the_epoch_went_back_in_time(self, seed: int) -> None:
        """The state directory was restored from a backup: the router thinks that this is an early
        start of it, while the network remembers later ones."""
        simulation, hosts = settled(seed)
        simulation.kill(hosts[1])
        later = simulation.restart(hosts[1], hosts[0], incarnation=7)
        simulation.run(5)
        simulation.kill(later)
        simulation.run(2)
        simulation.restart(later, hosts[0], incarnation=3)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(10)
        simulation.check_no_leaks()

    @over_seeds(3, slow=3)
    def test_the_same_epoch_again(self, seed: int) -> None:
        """Its state directory cannot be written: every life claims to be the same start."""
        simulation, hosts = settled(seed)
        simulation.kill(hosts[1])
        simulation.run(2)
        simulation.restart(hosts[1], hosts[0], incarnation=1)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(10)
        simulation.check_no_leaks()

    @over_seeds(3, slow=3)
    def test_with_its_state_lost_it_is_a_stranger_at_an_old_address(self, seed: int) -> None:
        simulation, hosts = settled(seed)
        old = hosts[1]
        simulation.kill(old)
        simulation.run(1)
        new = simulation.add(hosts[0], address=old.address)
        assert new.name != old.name
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(75)
        assert not any(simulation.knows(host, old) for host in simulation.alive)
        simulation.check_no_leaks()

    @over_seeds(2)
    def test_again_and_again(self, seed: int) -> None:
        simulation, hosts = settled(seed)
        host = hosts[2]
        for incarnation in range(2, 12):
            simulation.kill(host)
            simulation.run(0.4)
            host = simulation.restart(host, hosts[0], incarnation=incarnation)
            simulation.run(1.1)
        simulation.run_until(simulation.is_full_mesh, within=5)
        simulation.run(12)
        simulation.check_no_leaks()


class TestStandingStill:
    @over_seeds(3, slow=5)
    def test_who_was_stopped_blames_nobody(self, seed: int) -> None:
        """SIGSTOP for 30 s. The others have given up on it; it hears so, and comes back."""
        simulation, hosts = settled(seed)
        frozen, *others = hosts
        start = simulation.now
        simulation.freeze(frozen, 30)
        simulation.run(30)
        for host in others:
            assert frozen.name not in host.engine.neighbours.names()
        assert simulation.is_converged(others)
        simulation.run_until(simulation.is_full_mesh, within=3)
        for entry in frozen.events("connection ended", since=start):
            assert "nothing heard" not in str(entry.fields["error"]), entry
        simulation.run(16)  # keys of before are kept for a while
        simulation.check_no_leaks()

    @over_seeds(3, slow=5)
    def test_a_short_stop_costs_nothing(self, seed: int) -> None:
        simulation, hosts = settled(seed)
        start = simulation.now
        simulation.freeze(hosts[0], 1.8)
        simulation.run(8)
        assert all(not host.events("connection ended", since=start) for host in hosts)
        assert simulation.is_full_mesh()

    @over_seeds(2, slow=3)
    def test_all_at_once(self, seed: int) -> None:
        """The laptop with the whole lab on it was closed for an hour."""
        simulation, hosts = settled(seed)
        start = simulation.now
        for host in hosts:
            simulation.freeze(host, 3600)
        simulation.run(3600)
        simulation.run_until(simulation.is_full_mesh, within=3)
        simulation.run(5)
        assert all(not host.events("connection ended", since=start) for host in hosts)
        simulation.run(10)
        simulation.check_no_leaks()
