"""Which way do datagrams take when UDP is blocked, one-sided, narrow, or of another family?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, over_seeds
from weave_py.link.path_mtu import BASE


class TestUdp:
    @over_seeds(4, slow=4)
    def test_blocked_from_the_start_means_relay_and_unblocked_means_direct(self, seed: int) -> None:
        simulation = Simulation(seed)
        a = simulation.add()
        b = simulation.add(a)
        simulation.wire(a, b).udp = False
        c = simulation.add(a, b)
        simulation.run_until(simulation.is_whole, within=6)
        simulation.run(20)
        for one, other in ((a, b), (b, a)):
            view = one.path_view(other)
            assert (view.kind, view.via, view.why) == ("relay", c.name, "direct-unanswered")
            assert one.forwarding.routes.unicast[other.name] == other.name, (
                "the control connection is direct"
            )
        flow = simulation.flow(a, b)
        simulation.run(3)
        assert flow.longest_gap() < 0.3
        simulation.wire(a, b).udp = True
        start = simulation.now
        simulation.run_until(
            lambda: a.path_view(b).kind == b.path_view(a).kind == "direct", within=12
        )
        simulation.run(2)
        assert flow.longest_gap(start) < 0.3
        flow.stop()
        simulation.run(0.2)
        assert flow.lost == []

    @over_seeds(4, slow=4)
    def test_blocked_in_between_is_noticed_in_use_within_four_seconds(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b, c = simulation.mesh(3)
        simulation.run_until(simulation.is_full_mesh, within=3)
        flow = simulation.flow(a, b)
        simulation.run(5)
        start = simulation.now
        simulation.wire(a, b).udp = False
        simulation.run_until(lambda: a.path_view(b).kind == "relay", within=4)
        simulation.run(3)
        assert flow.longest_gap(start) < 4
        assert a.path_view(b).via == c.name
        assert c.name in a.egresses

    @over_seeds(3)
    def test_blocked_between_the_only_two_means_frames_inside_tcp(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b = simulation.mesh(2)
        simulation.wire(a, b).udp = False
        simulation.run(20)
        view = a.path_view(b)
        assert (view.kind, view.via, view.why) == ("tcp", b.name, "direct-unanswered,no-relay")
        connection = a.view().connections[0]
        assert (connection.state, connection.overlay) == ("established", "tcp")
        flows = simulation.flow(a, b), simulation.flow(b, a)
        simulation.run(10)
        assert all(flow.longest_gap() < 0.3 for flow in flows)
        simulation.wire(a, b).udp = True
        start = simulation.now
        simulation.run_until(lambda: a.path_view(b).kind == b.path_view(a).kind == "direct", 12)
        assert a.view().connections[0].overlay == "sleeve"
        assert all(flow.longest_gap(start) < 0.3 for flow in flows)

    @over_seeds(2)
    def test_one_direction_only_is_no_path(self, seed: int) -> None:
        """Firewalls: a's datagrams get to b, b's never to a. Neither may believe in the way."""
        simulation = Simulation(seed)
        a, b, c = simulation.mesh(3)
        simulation.underlay.block(b.address, a.address)
        simulation.run(15)
        assert a.path_view(b).kind == b.path_view(a).kind == "relay"
        assert a.path_view(b).via == b.path_view(a).via == c.name
        flows = simulation.flow(a, b), simulation.flow(b, a)
        simulation.run(10)
        assert all(flow.lost == [] and flow.longest_gap() < 0.3 for flow in flows)


class TestMtu:
    @over_seeds(3)
    def test_every_wire_gets_the_size_that_it_carries(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b, c = simulation.mesh(3)
        simulation.wire(a, b).mtu = 1280
        simulation.wire(b, c).mtu = 9000
        simulation.run_until(simulation.is_full_mesh, within=3)
        simulation.run(8)
        assert a.path_view(b).datagram_bytes == b.path_view(a).datagram_bytes == 1252
        assert a.path_view(c).datagram_bytes == c.path_view(a).datagram_bytes == 1472
        assert b.path_view(c).datagram_bytes == c.path_view(b).datagram_bytes == 8972

    @over_seeds(3)
    def test_a_wire_that_becomes_narrower_is_noticed(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b = simulation.mesh(2)
        simulation.run_until(simulation.is_full_mesh, within=3)
        flow = simulation.flow(a, b)
        simulation.run(5)
        assert a.path_view(b).datagram_bytes == 1472
        simulation.wire(a, b).mtu = 1400
        simulation.run_until(lambda: a.path_view(b).datagram_bytes <= 1372, within=4)
        simulation.run(10)
        assert a.path_view(b).datagram_bytes == 1372
        assert flow.longest_gap() < 0.3, "small datagrams pass all the time"
        simulation.wire(a, b).mtu = 1500
        simulation.run(620)
        assert a.path_view(b).datagram_bytes == 1472

    def test_a_relayed_path_has_a_size_too(self) -> None:
        simulation = Simulation(1)
        a, b, c = simulation.chain(3)
        simulation.wire(b, c).mtu = 1280
        simulation.run_until(simulation.is_whole, within=6)
        simulation.run(8)
        assert BASE <= a.path_view(c).datagram_bytes == 1252
        assert a.path_view(b).datagram_bytes == 1472


def test_an_ipv6_underlay() -> None:
    simulation = Simulation(1)
    first = simulation.add(address="2001:db8::1")
    for address in ("2001:db8::2", "2001:db8::3"):
        simulation.add(f"[{first.address}]", address=address)
    simulation.run_until(simulation.is_full_mesh, within=3)
