"""What do routers do with those who are not, or not only, who they should be?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation, members_of, over_seeds
from weave_py.crypto.membership import Membership
from weave_py.model.effects import WARNING
from weave_py.model.names import PeerName
from weave_py.sim.host import SimHost

CLONED = "another router runs with our identity"


def messages_per_second(simulation: Simulation, seconds: float) -> float:
    before = simulation.messages
    simulation.run(seconds)
    return (simulation.messages - before) / seconds


class TestClones:
    """Somebody copied a virtual machine with its state directory, and both run (t06)."""

    @over_seeds(3, slow=5)
    def test_the_original_goes_on_and_the_clone_is_refused(self, seed: int) -> None:
        """(t06) It lost hundreds of packets: whose connection was newer went on."""
        simulation = Simulation(seed)
        hosts = simulation.mesh(5)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(5)
        original, others = hosts[4], hosts[:4]
        at_rest = messages_per_second(simulation, 5)
        flows = [simulation.flow(hosts[1], hosts[2])]
        flows += [simulation.flow(original, host) for host in others]
        flows += [simulation.flow(host, original) for host in others]
        start = simulation.now
        clone = simulation.add(*others[:3], identity=simulation.identity_of(original))
        simulation.run(20)
        assert messages_per_second(simulation, 60) < 1.5 * at_rest
        simulation.run(0.05)  # what was sent in the last moment arrives
        for flow in flows:
            assert flow.longest_gap(start) < 0.15
            assert flow.lost == []
            assert flow.refused == []
        assert len(original.engine.neighbours) == 4
        assert not original.events("connection ended", start)
        assert not clone.engine.neighbours.names()
        assert 1 <= self._complaints(clone) <= 20, f"nobody says what is wrong: {simulation}"
        assert any(CLONED in c.error for c in clone.view().connections)
        for host in others[:3]:
            (refused,) = [e for e in host.events("peer refused", start) if e.level >= WARNING]
            assert "its identity" in str(refused.fields["error"])
        # `reset` of the clone: another identity, and all is well.
        simulation.kill(clone)
        simulation.add(*others[:3], address=clone.address)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(16)
        simulation.check_no_leaks()
        for flow in flows:
            flow.stop()
        simulation.run(0.05)  # what was sent in the last moment arrives
        assert [flow.lost for flow in flows] == [[]] * len(flows)

    @over_seeds(2)
    def test_when_one_of_them_goes_the_other_is_in(self, seed: int) -> None:
        simulation = Simulation(seed)
        hosts = simulation.mesh(4)
        simulation.run_until(simulation.is_full_mesh, within=4)
        clone = simulation.add(hosts[0], identity=simulation.identity_of(hosts[3]))
        simulation.run(30)
        simulation.kill(hosts[3])
        simulation.run_until(simulation.is_full_mesh, within=35)
        simulation.run(16)
        simulation.check_no_leaks()
        assert clone.alive

    @over_seeds(2)
    def test_who_is_not_connected_with_the_original_does_not_let_the_clone_in(
        self, seed: int
    ) -> None:
        """(t06) The mesh reaches it: a restart would have been noticed by its neighbours."""
        simulation = Simulation(seed)
        hosts = simulation.chain(4)
        simulation.run_until(simulation.is_whole, within=10)
        original, far = hosts[0], hosts[3]
        flow = simulation.flow(original, far)
        start = simulation.now
        clone = simulation.add(far, identity=simulation.identity_of(original))
        for host in hosts[:3]:
            simulation.cut(clone, host)
        simulation.run(60)
        assert not clone.engine.neighbours.names()
        assert self._complaints(clone)
        flow.stop()
        simulation.run(1)
        assert flow.longest_gap(start) < 1.2
        assert flow.lost == []

    @over_seeds(2)
    def test_whom_the_clone_let_in_does_no_harm_to_others(self, seed: int) -> None:
        """(t06) A new host was told the clone's address: it hears of the original too late."""
        simulation = Simulation(seed)
        hosts = simulation.mesh(5)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(5)
        original, others = hosts[4], hosts[:4]
        flows = [simulation.flow(original, host) for host in others]
        flows += [simulation.flow(host, original) for host in others]
        start = simulation.now
        clone = simulation.add(*others[:2], identity=simulation.identity_of(original))
        simulation.run(1)
        newcomer = simulation.add(clone)
        simulation.run(3)
        simulation.call(newcomer, others[0])
        simulation.run(60.05)
        for flow in flows:
            assert flow.longest_gap(start) < 0.15
            assert flow.lost == []
        assert newcomer.engine.neighbours.names() >= {host.name for host in others}
        simulation.kill(clone)
        simulation.add(*others[:2], address=clone.address)
        simulation.run_until(simulation.is_full_mesh, within=35)

    @over_seeds(2)
    def test_the_original_has_its_place_back_after_a_silence(self, seed: int) -> None:
        """(t06) It stood still for longer than anybody waits; it was known first all the same."""
        simulation = Simulation(seed)
        hosts = simulation.mesh(4)
        simulation.run_until(simulation.is_full_mesh, within=4)
        original = hosts[3]
        simulation.freeze(original, 8)
        simulation.run(5)
        clone = simulation.add(*hosts[:3], identity=simulation.identity_of(original))
        simulation.run(1)
        assert clone.engine.neighbours.names(), "nobody else is there to tell"
        simulation.run(8)
        assert len(original.engine.neighbours) == 3, f"{simulation}"
        assert not clone.engine.neighbours.names()
        assert self._complaints(clone)
        flow = simulation.flow(hosts[0], original)
        simulation.run(20)
        assert flow.longest_gap() < 0.3

    @pytest.mark.parametrize("end", ["kill", "vanish"])
    @over_seeds(2)
    def test_a_restart_replaces_the_earlier_life(self, seed: int, end: str) -> None:
        """(t06) Its old connection is dead, whether we have noticed (a process killed) or not (the
        power was gone for a moment, and nothing answers for it)."""
        simulation = Simulation(seed)
        hosts = simulation.mesh(4)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(2)
        getattr(simulation, end)(hosts[3])
        again = simulation.restart(hosts[3], hosts[0])
        within = {"kill": 1.5, "vanish": 5.0}[end]
        simulation.run_until(simulation.is_full_mesh, within)
        assert not self._complaints(again)

    @staticmethod
    def _complaints(host: SimHost) -> int:
        return sum(
            CLONED in entry.event or CLONED in str(entry.fields.get("error")) for entry in host.log
        )


class TestPasswords:
    @over_seeds(2, slow=2)
    def test_groups_with_different_passwords_never_merge(self, seed: int) -> None:
        simulation = Simulation(seed)
        groups = self._groups(simulation, members_of("one"), members_of("two"))
        self._check_apart(simulation, groups)
        for group, error in zip(groups, ("wrong password", "refused our password"), strict=True):
            errors = {str(e.fields["error"]) for h in group for e in h.events("connection ended")}
            assert any(error in e for e in errors), errors

    @over_seeds(2)
    def test_a_network_with_and_one_without_password_neither(self, seed: int) -> None:
        simulation = Simulation(seed)
        groups = self._groups(simulation, members_of("one"), Membership.open_network())
        self._check_apart(simulation, groups)

    @staticmethod
    def _groups(
        simulation: Simulation, one: Membership, other: Membership
    ) -> tuple[list[SimHost], list[SimHost]]:
        """Both groups are told about each other, by every member."""
        ours = [simulation.add("10.0.0.2", "10.0.0.5", membership=one) for _ in range(3)]
        theirs = [simulation.add("10.0.0.2", "10.0.0.5", membership=other) for _ in range(3)]
        return ours, theirs

    @staticmethod
    def _check_apart(simulation: Simulation, groups: tuple[list[SimHost], list[SimHost]]) -> None:
        simulation.run(30)
        for group in groups:
            assert simulation.is_whole(group)
        # Heartbeats of 3 + 3 connections; calls back off to one in 30 s or so.
        dials = sum(host.dials for host in simulation.hosts)
        assert messages_per_second(simulation, 120) < 6 * 4 + 6
        dials = sum(host.dials for host in simulation.hosts) - dials
        assert 6 <= dials <= 6 * 120 / 15
        for group, others in (groups, reversed(groups)):
            names = {host.name for host in others}
            for host in group:
                known: set[PeerName] = set(host.engine.topology.peers())
                assert not known & names
        retries = [
            c.retry_in
            for host in simulation.hosts
            for c in host.view().connections
            if c.retry_in is not None
        ]
        assert max(retries) > 10
        for host in simulation.hosts:
            assert len(host.streams) <= 3, "no half-done handshakes are left"


@over_seeds(2)
def test_an_unauthenticated_peer_leaves_nothing_behind(seed: int) -> None:
    """Calls of strangers who say nothing: gone after the time for a handshake."""
    simulation = Simulation(seed)
    a, b = simulation.mesh(2)
    simulation.run_until(simulation.is_full_mesh, within=3)
    stranger = simulation.add(a)
    stranger.frozen_until = simulation.now + 1000  # connects, and says nothing more
    simulation.underlay.dial(stranger, 99, a.endpoint)
    simulation.run(2)
    assert len(a.streams) == 3
    simulation.run(5)
    assert len(a.streams) == len(b.streams) == 1
