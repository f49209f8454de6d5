"""Do the daemon's data plane and the simulation's send the same datagram to the same place?"""

from __future__ import annotations

from typing import NamedTuple, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.control_connections import ControlConnections, Stream
from tests.kit.data_plane import Host, make_frame
from weave_py.crypto.suites import Suite
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Sealer
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.router.engine import Engine
from weave_py.sim.packets import Packets
from weave_py.sim.underlay import Station, StreamEnd, Underlay, Wire
from weave_py.wire.sleeve import RELAY_PREFIX_BYTES, relay_prefix

NUMBERS = range(2, 7)
PEERS = [PeerName(bytes((2, 0, 0, 0, 0, n))) for n in NUMBERS]
PLACES = [Endpoint(f"10.0.0.{n}", 6783) for n in NUMBERS]
QUICK = settings(max_examples=300, deadline=None, derandomize=True)

Sent = tuple[Endpoint | PeerName, bytes]


class Case(NamedTuple):
    """What one router knows."""

    relay: dict[PeerName, PeerName]
    unicast: dict[PeerName, PeerName]
    egresses: dict[PeerName, NextHop | None]
    connected: set[PeerName]

    def fill(self, egresses: dict[PeerName, Egress]) -> None:
        for number, (peer, next_hop) in enumerate(self.egresses.items(), start=1000):
            egress = egresses[peer]
            egress.sealer = Sealer(Suite.AES_256_GCM, bytes(32), number)
            egress.use(next_hop, 1472)


peers = st.sampled_from(PEERS)
table = st.dictionaries(peers, peers)
next_hops = st.one_of(
    st.none(),
    st.builds(NextHop, st.sampled_from(PLACES), st.none()),
    st.builds(NextHop, st.none(), peers, st.booleans()),
)
cases = st.builds(Case, table, table, st.dictionaries(peers, next_hops), st.sets(peers))
sources = st.one_of(peers, st.sampled_from(PLACES))


class Daemon:
    def __init__(self, case: Case) -> None:
        self.host = Host(1)
        self._connections = ControlConnections()
        self._connections.numbers = dict.fromkeys(case.connected, 1)
        self.host.use_tunnel(self._connections.tunnel(Stream()))
        self.host.relay.forwarding.routes = RouteTable(relay=case.relay, unicast=case.unicast)
        self._others = {PEERS[n - 2]: Host(n) for n in NUMBERS}
        case.fill({peer: self.host.egress(self._others[peer]) for peer in case.egresses})
        self.counters = self.host.counters

    def receive(self, datagram: bytes, source: Endpoint | PeerName) -> None:
        if isinstance(source, Endpoint):
            self.host.receive([(datagram, len(datagram), (source.host, source.port))])
        else:
            self.host.inbound.receive_train(source, len(datagram), datagram)

    def send(self, peer: PeerName) -> None:
        self.host.send(self._others[peer], [make_frame(1, 100)])

    def egress(self, peer: PeerName) -> Egress:
        return self.host.egress(self._others[peer])

    def sent(self) -> list[Sent]:
        by_udp: list[Sent] = [
            (Endpoint(*d.destination), d.payload) for d in self.host.socket.take()
        ]
        return by_udp + [(to, train.datagrams) for to, train in self._connections.sent]


class Wireless(Underlay):
    """Keeps what was sent."""

    def __init__(self) -> None:
        super().__init__(0, Wire())
        self.sent: list[Sent] = []

    def send_datagram(self, source: Station, to: Endpoint, datagram: bytes) -> None:
        self.sent.append((to, datagram))


class SimEngine(ControlConnections):
    name = PeerName(bytes((2, 0, 0, 0, 0, 1)))

    def traffic_woke(self, peer: PeerName, now: float) -> None:
        """Frames have begun to flow."""


class Simulated(Packets):
    def __init__(self, case: Case) -> None:
        self._connections, self._wireless = SimEngine(), Wireless()
        super().__init__(cast(Engine, self._connections), self._wireless)
        self._connections.numbers = dict.fromkeys(case.connected, 1)
        self.streams[1] = cast(StreamEnd, None)
        self.forwarding.routes = RouteTable(relay=case.relay, unicast=case.unicast)
        self.egresses.update({peer: Egress(peer) for peer in case.egresses})
        case.fill(self.egresses)

    def carry_out(self) -> None:
        self._connections.carry_out()

    def _station(self) -> Station:
        return cast(Station, self)

    def receive(self, datagram: bytes, source: Endpoint | PeerName) -> None:
        if isinstance(source, Endpoint):
            self.on_datagram(datagram, source)
        else:
            self.on_datagram(datagram, None, source)

    def sent(self) -> list[Sent]:
        return self._wireless.sent + [(to, t.datagrams) for to, t in self._connections.sent]


def close(daemon: Daemon) -> None:
    daemon.host.__exit__(None, None, None)


@QUICK
@given(case=cases, destination=peers, hop_limit=st.integers(0, 255), source=sources)
def test_datagrams_of_others(
    case: Case, destination: PeerName, hop_limit: int, source: Endpoint | PeerName
) -> None:
    """F3: the same hop, the same bytes, the same counter."""
    datagram = relay_prefix(destination, hop_limit) + bytes(60)
    daemon, simulated = Daemon(case), Simulated(case)
    try:
        daemon.receive(datagram, source)
        simulated.receive(datagram, source)
        sent = daemon.sent()
        assert simulated.sent() == sent
        assert simulated.counters.as_dict() == daemon.counters.as_dict()
        assert len(sent) == daemon.counters.datagrams_relayed
        counted = daemon.counters.relay_hop_limit + daemon.counters.relay_no_route
        assert daemon.counters.datagrams_relayed + counted == 1
    finally:
        close(daemon)


@QUICK
@given(case=cases, peer=peers)
def test_our_own(case: Case, peer: PeerName) -> None:
    """F3: they begin at the same place, with the same prefix, or are counted the same."""
    case.egresses.setdefault(peer, NextHop(None, peer))
    daemon, simulated = Daemon(case), Simulated(case)
    try:
        daemon.send(peer)
        is_sent = simulated.send_data(peer, bytes(100))
        theirs, ours = daemon.sent(), simulated.sent()
        assert [to for to, _ in ours] == [to for to, _ in theirs]
        assert bool(ours) == is_sent
        for (_, one), (_, other) in zip(ours, theirs, strict=True):
            is_relayed = one.startswith(relay_prefix(peer))
            assert is_relayed == other.startswith(relay_prefix(peer))
            assert one[0] == other[0]
            assert len(one) > RELAY_PREFIX_BYTES
        if case.egresses[peer] is not None:
            lost = daemon.egress(peer).counters.drop_no_path
            assert simulated.egresses[peer].counters.drop_no_path == lost == (not is_sent)
    finally:
        close(daemon)
