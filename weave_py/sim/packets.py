"""How do a simulated router's datagrams travel? Sealed, relayed and opened for real, in memory.

What the daemon's data plane does with TAPs and sockets, one datagram at a time: control records
and numbered data records leave by the engine's egress, directly, through relays, or inside the
control connections. Where to is decided by `link.forwarding`, as in the daemon; sockets and streams
refuse nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop, prefix_to
from weave_py.link.forwarding import Adjacency, Drop, Forwarding, hops_left
from weave_py.link.sealing import Opener
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.router.engine import Engine
from weave_py.router.outputs import SendControlRecord
from weave_py.sim.underlay import UDP_IP_BYTES, Station, StreamEnd, Underlay
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    HEADER_BYTES,
    HOP_LIMIT,
    KIND_RELAYED,
    MAX_COUNTER,
    RELAY_PREFIX_BYTES,
    TAG_BYTES,
    header_value,
    parse_header,
)

INTERFACE_MTU = 9000  # of every host: larger datagrams its kernel refuses


class Arrival(NamedTuple):
    """A data record that was opened."""

    at: float
    peer: PeerName
    payload: bytes
    relays: int
    """How many peers passed it on."""


@dataclass(slots=True)
class IngressSession:
    """One session index of ours: whose records come under it, and how they open."""

    peer: PeerName
    opener: Opener
    source: Endpoint | None = None
    """Where the last data record came straight from."""


class Packets:
    """The data plane of one simulated router; the rest of it is `SimHost`."""

    def __init__(self, engine: Engine, underlay: Underlay) -> None:
        self.engine = engine
        self.egresses: dict[PeerName, Egress] = {}
        self.ingresses: dict[int, IngressSession] = {}
        self.streams: dict[int, StreamEnd] = {}
        self.forwarding = Forwarding(self._endpoint_of, self._is_connected)
        self.counters = DatapathCounters()
        self.arrivals: list[Arrival] = []
        self._underlay = underlay

    def carry_out(self) -> None:
        """Do what the engine asked for."""
        raise NotImplementedError

    def _station(self) -> Station:
        raise NotImplementedError

    def send_data(self, peer: PeerName, payload: bytes) -> bool:
        """Send a data record of one datagram; False if there is no way now."""
        egress = self.egresses.get(peer)
        if egress is None or egress.next_hop is None or egress.sealer is None:
            return False
        if not egress.busy:
            egress.busy = True
            self.engine.traffic_woke(peer, self._underlay.now)
            self.carry_out()
        hop = self.forwarding.first_hop(egress.next_hop)
        if hop is None:
            egress.counters.drop_no_path += 1
            return False
        egress.counters.records_out += 1
        egress.counters.datagrams_out += 1
        self._emit(egress, egress.next_hop, hop, 0, payload)
        return True

    def send_control(self, record: SendControlRecord) -> None:
        """What the engine wants sent to a peer's engine."""
        egress, next_hop = self.egresses.get(record.peer), record.next_hop
        if egress is None or egress.sealer is None:
            return
        hop = self.forwarding.first_hop(next_hop)
        if hop is None:
            return
        size = len(prefix_to(egress.peer, next_hop)) + HEADER_BYTES + TAG_BYTES + len(record.body)
        too_large = size + UDP_IP_BYTES > INTERFACE_MTU and isinstance(hop, Endpoint)
        if too_large and record.probe is not None:
            self.engine.probe_refused(record.peer, record.probe, self._underlay.now)
            return
        self._emit(egress, next_hop, hop, FLAG_CONTROL, record.body)

    def _emit(
        self, egress: Egress, next_hop: NextHop, hop: Adjacency, flags: int, body: bytes
    ) -> None:
        assert egress.sealer is not None
        sealed = memoryview(bytearray(len(body) + TAG_BYTES))
        flags |= FLAG_LAST
        counter = egress.sealer.seal(flags, memoryview(body), sealed)
        header = header_value(flags, egress.sealer.session, counter, len(sealed))
        datagram = header.to_bytes(HEADER_BYTES, "little") + sealed
        self._send(hop, prefix_to(egress.peer, next_hop) + datagram)

    def _send(self, hop: Adjacency, datagram: bytes) -> None:
        if isinstance(hop, Endpoint):
            self._underlay.send_datagram(self._station(), hop, datagram)
        else:
            self.engine.send_train(hop, len(datagram), datagram)
            self.carry_out()

    def _endpoint_of(self, peer: PeerName) -> Endpoint | None:
        egress = self.egresses.get(peer)
        return None if egress is None else egress.endpoint

    def _is_connected(self, neighbour: PeerName) -> bool:
        return self.engine.stream_to(neighbour) in self.streams

    def on_datagram(
        self, datagram: bytes, origin: Endpoint | None, tcp: PeerName | None = None
    ) -> None:
        """It came from `origin`, or inside the control connection of the neighbour `tcp`."""
        self.counters.datagrams_in += 1
        if datagram[0] != KIND_RELAYED:
            self._open(datagram, len(datagram), origin, tcp, 0)
            return
        hop_limit, destination = datagram[1], PeerName(datagram[2:RELAY_PREFIX_BYTES])
        if destination == self.engine.name:
            inner = datagram[RELAY_PREFIX_BYTES:]
            self._open(inner, len(datagram), None, tcp, HOP_LIMIT - hop_limit)
            return
        left = hops_left(hop_limit)
        hop = self.forwarding.onward(destination, left, origin or tcp)
        if isinstance(hop, Drop):
            hop.count(self.counters, 1)
            return
        self._send(hop, bytes((KIND_RELAYED, left)) + datagram[2:])
        self.counters.datagrams_relayed += 1

    def _open(
        self,
        datagram: bytes,
        size: int,
        origin: Endpoint | None,
        tcp: PeerName | None,
        relays: int,
    ) -> None:
        _, flags, _, index, rest = parse_header(datagram)
        ingress = self.ingresses.get(index)
        if ingress is None:
            self.counters.datagrams_unknown_session += 1
            return
        peer = ingress.peer
        counters = self.egresses[peer].counters
        sealed = datagram[HEADER_BYTES:]
        plain = bytearray(len(sealed) - TAG_BYTES)
        counter = rest & MAX_COUNTER
        if not ingress.opener.open_untrusted(flags, counter, sealed, memoryview(plain)):
            counters.records_replayed += 1
            return
        now = self._underlay.now
        if flags & FLAG_CONTROL:
            record = ControlRecord(index, bytes(plain), size, counters.datagrams_in, origin, tcp)
            self.engine.controls_received([record], now)
            self.carry_out()
            return
        counters.datagrams_in += 1
        counters.records_in += 1
        if origin is not None and origin != ingress.source:
            ingress.source = origin
            moved = ControlRecord(index, None, size, counters.datagrams_in, origin)
            self.engine.controls_received([moved], now)
            self.carry_out()
        self.arrivals.append(Arrival(now, peer, bytes(plain), relays))
