"""What do routers do with those who are not, or not only, who they should be?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, members_of, over_seeds
from weave_py.crypto.membership import Membership
from weave_py.model.names import PeerName
from weave_py.sim.host import SimHost

CLONED = "another router runs with our identity"


def messages_per_second(simulation: Simulation, seconds: float) -> float:
    before = simulation.messages
    simulation.run(seconds)
    return (simulation.messages - before) / seconds


class TestClones:
    @over_seeds(2, slow=3)
    def test_two_routers_with_one_identity_are_reported_and_do_no_harm(self, seed: int) -> None:
        """Somebody copied a virtual machine with its state directory. Only one of the two can be
        part of the network, and both take turns; but the others' network goes on."""
        simulation = Simulation(seed)
        hosts = simulation.mesh(5)
        simulation.run_until(simulation.is_full_mesh, within=4)
        simulation.run(5)
        original = hosts[4]
        at_rest = messages_per_second(simulation, 5)
        flow = simulation.flow(hosts[1], hosts[2])
        start = simulation.now
        clone = simulation.add(hosts[0], identity=simulation.identity_of(original))
        assert clone.name == original.name
        simulation.run(20)
        assert messages_per_second(simulation, 60) < 4 * at_rest
        simulation.run(0.05)  # what was sent in the last moment arrives
        assert flow.longest_gap(start) < 0.3
        assert flow.lost == []
        told = [self._complaints(host) for host in (original, clone)]
        assert any(told), f"nobody says what is wrong: {simulation}"
        for complaints in told:
            assert complaints <= 20, "the log is no place for a storm either"

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
