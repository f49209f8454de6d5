"""Do the checks notice what they are there for?"""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tests.kit.builders import synthetic_name
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.sim import drills, invariants
from weave_py.sim.host import SimHost
from weave_py.sim.network import Network
from weave_py.sim.packets import Arrival


@pytest.fixture
def network() -> Network:
    made = Network(1)
    made.mesh(4)
    made.run(5)
    assert invariants.sound(made, 200) == []
    return made


def bend(host: SimHost, destination: PeerName, via: PeerName) -> None:
    routes = host.engine.topology.routes
    unicast = MappingProxyType({**routes.unicast, destination: via})
    relay = MappingProxyType({**routes.relay, destination: via})
    host.engine.topology.routes = RouteTable(routes.version, unicast, relay, routes.hops)


def test_somebody_who_is_dead_but_still_reached(network: Network) -> None:
    network.vanish(network.hosts[3])
    found = list(invariants.topology_is_true(network))
    assert len(found) == 3
    assert "reaches 1 dead ones" in found[0]


def test_somebody_who_is_missed(network: Network) -> None:
    network.add()
    found = list(invariants.topology_is_true(network))
    assert len(found) == 5
    assert "misses 1 peers" in found[0]


def test_an_old_record(network: Network) -> None:
    own = network.hosts[0].engine.ourself
    assert own.update([], [])
    assert [text for text in invariants.topology_is_true(network) if "old record of h1" in text]


def test_routes_in_a_circle(network: Network) -> None:
    a, b, c, d = network.hosts
    bend(a, d.name, b.name)
    assert any("comes no nearer" in text for text in invariants.unicast_has_no_loops(network))
    bend(b, d.name, c.name)
    bend(c, d.name, a.name)
    assert any("no arrival" in text for text in invariants.relaying_has_no_loops(network))


def test_a_route_through_the_dead(network: Network) -> None:
    bend(network.hosts[0], network.hosts[1].name, synthetic_name(1))
    assert any("who is dead" in text for text in invariants.unicast_has_no_loops(network))


def test_too_many_connections_and_pieces(network: Network) -> None:
    assert any("more than 2" in text for text in invariants.control_graph_is_sound(network, 2))
    lonely = Network(2)
    lonely.add()
    lonely.add()
    assert any("in pieces" in text for text in invariants.control_graph_is_sound(lonely, 0))


def test_a_connection_with_one_end(network: Network) -> None:
    network.vanish(network.hosts[3])
    found = list(invariants.control_graph_is_sound(network, 0))
    assert any("the other end does not have" in text for text in found)


def test_refused_records_and_leaks(network: Network) -> None:
    host = network.hosts[0]
    host.engine.topology.quarantined = 2
    assert list(invariants.nothing_was_refused(network)) == ["h1 refused 2 records"]
    host.streams.popitem()
    assert any("streams" in text for text in invariants.nothing_leaks(network))


class TestDrills:
    def test_all_is_well(self, network: Network) -> None:
        assert drills.directness(network, 5)[0] == []
        assert list(drills.broadcast(network, network.hosts, is_lossy=False)) == []
        assert list(drills.loops(network, is_lossy=False)) == []
        assert any(host.counters.relay_hop_limit for host in network.hosts), (
            "something did go round"
        )

    def test_a_pair_without_a_direct_path(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drills, "PATIENCE", 1.0)
        for a in network.hosts:
            for b in network.hosts:
                network.wire(a, b).udp = a is b
        network.run(10)
        found, _ = drills.directness(network, 3)
        assert len(found) == 3

    def test_a_broadcast_that_comes_twice_or_not_at_all(self, network: Network) -> None:
        a, b, c, _ = network.hosts
        send = SimHost.send_data

        def twice(host: SimHost, peer: PeerName, payload: bytes) -> bool:
            if (host, peer) == (a, b.name):
                return send(host, peer, payload) and send(host, peer, payload)
            return (host, peer) == (a, c.name) or send(host, peer, payload)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimHost, "send_data", twice)
            found = list(drills.broadcast(network, network.hosts, is_lossy=False))
        assert found == ["h2 got the broadcast of h1 2 times", "h3 missed 1 broadcasts"]

    def test_a_broadcast_from_the_wrong_port(self, network: Network) -> None:
        a, b, _, d = network.hosts
        send = SimHost.send_data

        def forged(host: SimHost, peer: PeerName, payload: bytes) -> bool:
            if (host, peer) == (a, b.name):
                b.arrivals.append(Arrival(network.now, d.name, payload, 0))
            return send(host, peer, payload)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimHost, "send_data", forged)
            found = list(drills.broadcast(network, network.hosts, is_lossy=False))
        assert found == ["h2 got the broadcast of h1 from another"]

    def test_datagrams_that_no_hop_limit_ends(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_datagram = SimHost.on_datagram

        def fresh(
            host: SimHost, datagram: bytes, origin: object, tcp: PeerName | None = None
        ) -> None:
            again = bytes((datagram[0], 32)) + datagram[2:] if datagram[0] == 0x12 else datagram
            on_datagram(host, again, origin, tcp)  # type: ignore[arg-type]

        monkeypatch.setattr(SimHost, "on_datagram", fresh)
        found = list(drills.loops(network, is_lossy=False))
        assert any("were passed on" in text for text in found)
        assert any("by its hop limit" in text for text in found)
        assert any("still goes round" in text for text in found)
