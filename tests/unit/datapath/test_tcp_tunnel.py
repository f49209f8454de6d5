"""Datagrams inside control connections: whole, in bounded number, answered the way they came."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from tests.kit.control_connections import ControlConnections, Stream
from tests.kit.data_plane import Host, essence, make_frame, merge, pair, use_direct
from weave_py.datapath.tcp_tunnel import MAX_WAITING, MAX_WAITING_CONTROL
from weave_py.link.egress import NextHop
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable

NEIGHBOUR = PeerName(b"\x02neigh")


class Connected:
    """Hosts of the data plane with control connections between them, and no UDP but as told."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.engines = {host.name: ControlConnections() for host in hosts}
        self.stream = Stream()
        for host in hosts:
            host.use_tunnel(self.engines[host.name].tunnel(self.stream))

    def connect(self, one: Host, other: Host) -> None:
        self.engines[one.name].numbers[other.name] = 1
        self.engines[other.name].numbers[one.name] = 1

    def deliver(self) -> int:
        """Carry all trains that wait, once; how many."""
        sent = [(name, *one) for name, e in self.engines.items() for one in e.sent]
        for engine in self.engines.values():
            engine.sent.clear()
        for source, neighbour, train in sent:
            inbound = self.hosts[neighbour].inbound
            inbound.receive_train(source, train.size, train.datagrams)
        return len(sent)


@pytest.fixture
def three() -> Iterator[tuple[Host, Host, Host]]:
    with Host(1) as a, Host(2) as relay, Host(3) as b:
        yield a, relay, b


def test_a_frame_goes_straight_to_a_neighbour(three: tuple[Host, Host, Host]) -> None:
    a, _, b = three
    net = Connected(a, b)
    net.connect(a, b)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, b.name, True), 8972)
    a.send(b, [make_frame(1, 60_000), make_frame(2, 100)])
    assert net.engines[a.name].carried == 2
    assert net.deliver() == 2
    assert [essence(f) for f in b.delivered(a)] == [
        essence(make_frame(1, 60_000)),
        essence(make_frame(2, 100)),
    ]
    assert a.socket.sent == []


@pytest.mark.parametrize("datagram_bytes", [1200, 1472, 8972])
def test_the_longest_trains_fit_a_message(
    three: tuple[Host, Host, Host], datagram_bytes: int
) -> None:
    a, relay, b = three
    net = Connected(a, relay)
    net.connect(a, relay)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, relay.name, True), datagram_bytes)
    a.send(b, [make_frame(n, 65_000) for n in range(3)])  # the engine checks their size
    assert net.engines[a.name].sent


def test_from_tcp_to_udp_and_from_udp_to_tcp(three: tuple[Host, Host, Host]) -> None:
    """Who has no UDP reaches third peers through a neighbour, and they reach it."""
    a, relay, b = three
    net = Connected(a, relay)
    net.connect(a, relay)
    pair(a, b, 7)
    pair(b, a, 8)
    a.egress(b).use(NextHop(None, relay.name, True), 1472)
    use_direct(relay, b, 1472)
    a.send(b, [make_frame(1, 30_000)])
    assert net.deliver() == 1
    left = relay.socket.take()
    assert {d.destination for d in left} == {tuple(b.endpoint)}
    b.receive(merge(left))
    assert [essence(f) for f in b.delivered(a)] == [essence(make_frame(1, 30_000))]

    use_direct(b, relay, 1472)
    b.egress(a).use(NextHop(None, relay.name), 1472)
    relay.relay.forwarding.routes = RouteTable(unicast={a.name: a.name})
    b.send(a, [make_frame(2, 30_000)])
    relay.receive(merge(b.socket.take()))
    assert net.deliver() >= 1
    assert [essence(f) for f in a.delivered(b)] == [essence(make_frame(2, 30_000))]


def test_a_relay_that_udp_does_not_reach_any_more_is_reached_inside_tcp(
    three: tuple[Host, Host, Host],
) -> None:
    a, relay, b = three
    net = Connected(a, relay)
    net.connect(a, relay)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, relay.name), 1472)
    a.send(b, [make_frame(1, 100)])
    assert net.deliver() == 1
    assert relay.counters.relay_no_route == 1  # it has none


def test_nothing_goes_back_into_the_connection_it_came_from(
    three: tuple[Host, Host, Host],
) -> None:
    a, relay, b = three
    net = Connected(a, relay)
    net.connect(a, relay)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, relay.name, True), 1472)
    relay.relay.forwarding.routes = RouteTable(unicast={b.name: a.name})
    a.send(b, [make_frame(1, 100)])
    net.deliver()
    assert relay.counters.relay_no_route == 1
    assert net.deliver() == 0


def test_without_a_connection_there_is_no_path(three: tuple[Host, Host, Host]) -> None:
    a, _, b = three
    Connected(a, b)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, b.name, True), 1472)
    a.send(b, [make_frame(1, 100)])
    assert a.egress(b).counters.drop_no_path == 1


def test_while_much_waits_data_is_refused_and_counted(three: tuple[Host, Host, Host]) -> None:
    a, _, b = three
    net = Connected(a, b)
    net.connect(a, b)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, b.name, True), 1472)
    net.stream.waiting = MAX_WAITING + 1
    a.send(b, [make_frame(1, 100)])
    assert a.egress(b).counters.drop_send_refused == 1
    hop = a.relay.forwarding.first_hop(NextHop(None, b.name, True))
    assert hop == b.name
    assert a.relay.send(hop, (bytes(64),), 64, 1) == errno.ENOBUFS
    assert a.relay.send(hop, (bytes(64),), 64, 1, is_control=True) == 0
    net.stream.waiting = MAX_WAITING_CONTROL + 1
    assert a.relay.send(hop, (bytes(64),), 64, 1, is_control=True) == errno.ENOBUFS
    net.engines[a.name].numbers.clear()
    assert a.relay.send(hop, (bytes(64),), 64, 1) == errno.ENOTCONN


def test_a_datagram_inside_tcp_says_whose_connection_it_was(
    three: tuple[Host, Host, Host],
) -> None:
    a, _, b = three
    net = Connected(a, b)
    net.connect(a, b)
    pair(a, b, 7)
    a.egress(b).use(NextHop(None, b.name, True), 1472)
    a.send(b, [make_frame(1, 100)])
    net.deliver()
    assert b.inbound.controls == [], "inside TCP nobody comes from a new place"
    use_direct(a, b, 1472)
    a.send(b, [make_frame(n, 100) for n in range(5)])
    a.send(b, [make_frame(n, 100) for n in range(5)])
    b.receive(merge(a.socket.take()))
    (moved,) = b.inbound.controls
    assert (moved.body, moved.origin, moved.tcp) == (None, a.endpoint, None)
    a.send(b, [make_frame(9, 100)])
    b.receive(merge([d._replace(source=("10.0.0.77", 1234)) for d in a.socket.take()]))
    assert [str(c.origin.text) for c in b.inbound.controls if c.origin][1:] == ["10.0.0.77:1234"]
