"""How do a simulated router's datagrams travel? Sealed, relayed and opened for real, in memory.

What the daemon's data plane does with TAPs and sockets, one datagram at a time: control records
and numbered data records leave by the engine's egress, directly, through relays, or inside the
control connections.
"""

from __future__ import annotations

from typing import NamedTuple

from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop, prefix_to
from weave_py.link.sealing import Opener
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.router.engine import Engine
from weave_py.router.outputs import SendControlRecord
from weave_py.sim.underlay import UDP_IP_BYTES, Station, Underlay
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    HEADER_BYTES,
    HOP_LIMIT,
    KIND_RELAYED,
    RELAY_PREFIX_BYTES,
    TAG_BYTES,
    header_value,
    parse_header,
)

INTERFACE_MTU = 9000  # of every host: larger datagrams its kernel refuses
COUNTER_MASK = (1 << 48) - 1


class Arrival(NamedTuple):
    """A data record that was opened."""

    at: float
    peer: PeerName
    payload: bytes
    relays: int
    """How many peers passed it on."""


class Packets:
    """The data plane of one simulated router; the rest of it is `SimHost`."""

    def __init__(self, engine: Engine, underlay: Underlay) -> None:
        self.engine = engine
        self.egresses: dict[PeerName, Egress] = {}
        self.openers: dict[int, tuple[PeerName, Opener]] = {}
        self.routes = RouteTable()
        self.arrivals: list[Arrival] = []
        self.relayed = 0
        self.spent = 0
        """Datagrams of others that had used up their hop limit here."""
        self.unknown = 0
        """Datagrams under keys that we do not have (any more)."""
        self._underlay = underlay
        self._sources: dict[int, Endpoint] = {}
        """Where the last data record under each of our indexes came straight from."""
        self._heard_from: dict[PeerName, Endpoint] = {}
        """Where each peer's last data record came from."""

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
        egress.counters.records_out += 1
        egress.counters.datagrams_out += 1
        self._emit(egress, egress.next_hop, 0, payload)
        if egress.next_hop.tcp:
            self.carry_out()
        return True

    def send_control(self, record: SendControlRecord) -> None:
        """What the engine wants sent to a peer's engine."""
        egress, next_hop = self.egresses.get(record.peer), record.next_hop
        if egress is None or egress.sealer is None:
            return
        size = len(prefix_to(egress.peer, next_hop)) + HEADER_BYTES + TAG_BYTES + len(record.body)
        too_large = size + UDP_IP_BYTES > INTERFACE_MTU and not next_hop.tcp
        if too_large and record.probe is not None:
            self.engine.probe_refused(record.peer, record.probe, self._underlay.now)
            return
        self._emit(egress, next_hop, FLAG_CONTROL, record.body)

    def _emit(self, egress: Egress, next_hop: NextHop, flags: int, body: bytes) -> None:
        assert egress.sealer is not None
        sealed = memoryview(bytearray(len(body) + TAG_BYTES))
        flags |= FLAG_LAST
        counter = egress.sealer.seal(flags, memoryview(body), sealed)
        header = header_value(flags, egress.sealer.session, counter, len(sealed))
        datagram = header.to_bytes(HEADER_BYTES, "little") + sealed
        datagram = prefix_to(egress.peer, next_hop) + datagram
        if next_hop.endpoint is not None:
            self._underlay.send_datagram(self._station(), next_hop.endpoint, datagram)
        elif next_hop.relay is not None and next_hop.tcp:
            self.engine.send_train(next_hop.relay, len(datagram), datagram)
        elif next_hop.relay is not None:
            self._hand_to(next_hop.relay, datagram)

    def _hand_to(self, neighbour: PeerName | None, datagram: bytes) -> bool:
        """By UDP, if it leads there."""
        egress = None if neighbour is None else self.egresses.get(neighbour)
        if egress is None or egress.next_hop is None or egress.next_hop.endpoint is None:
            return False
        self._underlay.send_datagram(self._station(), egress.next_hop.endpoint, datagram)
        return True

    def on_datagram(
        self, datagram: bytes, origin: Endpoint | None, tcp: PeerName | None = None
    ) -> None:
        """It came from `origin`, or inside the control connection of the neighbour `tcp`."""
        if datagram[0] != KIND_RELAYED:
            self._open(datagram, len(datagram), origin, tcp, 0)
            return
        hop_limit, destination = datagram[1], PeerName(datagram[2:RELAY_PREFIX_BYTES])
        if destination == self.engine.name:
            inner = datagram[RELAY_PREFIX_BYTES:]
            self._open(inner, len(datagram), None, tcp, HOP_LIMIT - hop_limit)
        elif hop_limit > 1:
            self.relayed += 1
            again = bytes((KIND_RELAYED, hop_limit - 1)) + datagram[2:]
            if self._hand_to(destination, again):
                return
            if not self._hand_to(self.routes.relay.get(destination), again):
                self._on_the_control_road(destination, again)
        else:
            self.spent += 1

    def _on_the_control_road(self, destination: PeerName, datagram: bytes) -> None:
        """UDP does not lead all the way: one hop of the control plane, if need be inside TCP."""
        hop = self.routes.unicast.get(destination)
        if hop is not None and not self._hand_to(hop, datagram):
            self.engine.send_train(hop, len(datagram), datagram)
            self.carry_out()

    def _open(
        self,
        datagram: bytes,
        size: int,
        origin: Endpoint | None,
        tcp: PeerName | None,
        relays: int,
    ) -> None:
        _, flags, _, index, rest = parse_header(datagram)
        found = self.openers.get(index)
        if found is None:
            self.unknown += 1
            return
        peer, opener = found
        sealed = datagram[HEADER_BYTES:]
        plain = bytearray(len(sealed) - TAG_BYTES)
        if not opener.open_untrusted(flags, rest & COUNTER_MASK, sealed, memoryview(plain)):
            self.unknown += 1
            return
        counters = self.egresses[peer].counters
        now = self._underlay.now
        if flags & FLAG_CONTROL:
            record = ControlRecord(index, bytes(plain), size, counters.datagrams_in, origin, tcp)
            self.engine.controls_received([record], now)
            self.carry_out()
        else:
            if origin is not None and self._heard_from.get(peer) != origin:
                self._heard_from[peer] = origin
                moved = ControlRecord(index, None, size, counters.datagrams_in, origin)
                self.engine.controls_received([moved], now)
                self.carry_out()
            counters.datagrams_in += 1
            counters.records_in += 1
            if origin is not None and self._sources.get(index) != origin:
                self._sources[index] = origin
                moved = ControlRecord(index, None, size, counters.datagrams_in, origin)
                self.engine.controls_received([moved], now)
                self.carry_out()
            self.arrivals.append(Arrival(now, peer, bytes(plain), relays))
