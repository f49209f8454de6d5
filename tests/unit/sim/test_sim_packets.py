"""Do simulated datagrams travel, and tell the engine, as the daemon's do?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from weave_py.link.control_record import ControlRecord
from weave_py.sim.network import Network
from weave_py.wire.sleeve import relay_prefix


@pytest.fixture
def network() -> Network:
    made = Network(1)
    made.mesh(3)
    made.run(5)
    return made


def test_a_new_place_is_reported_once_by_session(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3: the daemon reports a move by session index; here it was by peer as well."""
    a, b, _ = network.hosts
    told: list[ControlRecord] = []
    receive = b.engine.controls_received

    def listen(records: list[ControlRecord], now: float) -> None:
        told.extend(record for record in records if record.body is None)
        receive(records, now)

    monkeypatch.setattr(b.engine, "controls_received", listen)
    for _ in range(3):
        assert a.send_data(b.name, b"hello")
        network.run(0.1)
    (moved,) = told
    assert (moved.origin, moved.tcp) == (a.endpoint, None)
    assert moved.received == 1, "the datagram that says so is one of them"
    assert b.ingresses[moved.session].source == a.endpoint


def test_nothing_is_passed_back(network: Network) -> None:
    """F3: neither to the address, nor into the connection, that it came from."""
    a, b, c = network.hosts
    datagram = relay_prefix(b.name) + bytes(50)
    relayed = a.counters.datagrams_relayed
    a.on_datagram(datagram, b.endpoint)
    a.egresses[b.name].use(None, 0)
    a.on_datagram(datagram, None, b.name)
    assert (a.counters.relay_no_route, a.counters.datagrams_relayed) == (2, relayed)
    a.on_datagram(datagram, c.endpoint)
    assert (a.counters.relay_no_route, a.counters.datagrams_relayed) == (2, relayed + 1)


def test_without_udp_it_goes_inside_tcp_to_the_neighbour_of_the_data_routes(
    network: Network,
) -> None:
    """F3: it went to the neighbour of the control routes instead, by UDP."""
    a, b, c = network.hosts
    routes = a.forwarding.routes
    a.forwarding.routes = replace(routes, unicast={b.name: c.name}, relay={b.name: b.name})
    a.egresses[b.name].use(None, 0)
    sent, unknown = network.underlay.datagrams, b.counters.datagrams_unknown_session
    a.on_datagram(relay_prefix(b.name) + bytes(50), c.endpoint)
    assert network.underlay.datagrams == sent
    network.run(0.05)
    assert b.counters.datagrams_unknown_session == unknown + 1, "it is there"
