"""What does the shell around one simulated router do? What the real one does, with dictionaries.

It carries out what the engine asks for, keeps its timer, seals and opens datagrams, and relays
those of others, counted and unopened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.kit.underlay import StreamEnd, Underlay
from weave_py.link.control import ControlRecord
from weave_py.link.outlet import Outlet, Way
from weave_py.link.sealing import Opener
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.model.snapshot import PathView, RouterSnapshot
from weave_py.router.engine import Engine
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    CloseStream,
    Dial,
    LogEvent,
    OpenSession,
    Output,
    RemovePort,
    SaveTargets,
    SendBytes,
    SendControlRecord,
    UseRoutes,
)
from weave_py.router.view import snapshot
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
    relay_prefix,
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


class Logged(NamedTuple):
    at: float
    level: int
    event: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class WayChange:
    at: float
    peer: PeerName
    way: Way | None


class SimHost:
    """One router on the underlay."""

    def __init__(self, address: str, engine: Engine, underlay: Underlay) -> None:
        self.address = address
        self.engine = engine
        self.outlets: dict[PeerName, Outlet] = {}
        self.openers: dict[int, tuple[PeerName, Opener]] = {}
        self.routes = RouteTable()
        self.streams: dict[int, StreamEnd] = {}
        self.log: list[Logged] = []
        self.saved_targets: tuple[str, ...] = ()
        self.arrivals: list[Arrival] = []
        self.way_changes: list[WayChange] = []
        """Kept once `watches_ways` is set."""
        self.watches_ways = False
        self.messages = 0
        """Writes to our streams."""
        self.dials = 0
        self.relayed = 0
        self.unknown = 0
        """Datagrams under keys that we do not have (any more)."""
        self.alive = True
        self.powered = True
        self.frozen_until = 0.0
        self._underlay = underlay
        self._numbers: dict[StreamEnd, int] = {}
        self._armed: float | None = None
        self._ways: dict[PeerName, Way | None] = {}

    def __repr__(self) -> str:
        return f"<SimHost {self.engine.nickname}>"

    @property
    def name(self) -> PeerName:
        return self.engine.name

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.engine.port)

    def way_to(self, peer: SimHost) -> Way | None:
        outlet = self.outlets.get(peer.name)
        return outlet.way if outlet is not None and outlet.sealer is not None else None

    def events(self, event: str, since: float = 0.0) -> list[Logged]:
        """Logged events of this text."""
        return [entry for entry in self.log if entry.event == event and entry.at >= since]

    def view(self) -> RouterSnapshot:
        now = self._underlay.now
        return snapshot(self.engine, mtu=1500, trusted_subnets=(), counters={}, now=now)

    def path_view(self, peer: SimHost) -> PathView:
        return next(path for path in self.view().paths if path.peer == peer.name)

    # --- the engine's shell --------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the engine asked for, and re-arm its timer."""
        for output in self.engine.take_outputs():
            self._do(output)
        if self.watches_ways:
            self._note_ways()
        self._arm()

    def _do(self, output: Output) -> None:
        match output:
            case Dial(number, address, port):
                self.dials += 1
                self._underlay.dial(self, number, Endpoint(address, port))
            case SendBytes(number, data):
                end = self.streams.get(number)
                if end is not None:
                    self.messages += 1
                    end.send(data)
            case CloseStream(number):
                end = self.streams.pop(number, None)
                if end is not None:
                    del self._numbers[end]
                    end.close()
            case AddPort(peer, outlet):
                assert peer not in self.outlets, "a second port for the same peer"
                self.outlets[peer] = outlet
            case RemovePort(peer):
                del self.outlets[peer]
            case OpenSession(peer, index, opener):
                assert peer in self.outlets, "a session without a port"
                assert index not in self.openers
                self.openers[index] = (peer, opener)
            case CloseSession(index):
                del self.openers[index]
            case SendControlRecord(peer, way, body, probe):
                self._send_control(peer, way, body, probe)
            case UseRoutes(routes):
                self.routes = routes
            case SaveTargets(targets):
                self.saved_targets = targets
            case LogEvent(level, event, fields):
                self.log.append(Logged(self._underlay.now, level, event, dict(fields)))

    def _arm(self) -> None:
        deadline = self.engine.next_deadline()
        if deadline is None or (self._armed is not None and self._armed <= deadline.at):
            return
        at = self._armed = deadline.at

        def fire() -> None:
            if self._armed == at:
                self._armed = None
            self.engine.advance(self._underlay.now)
            self.carry_out()

        wait = at - self._underlay.now
        self._underlay.later(wait, lambda: self._underlay.when_awake(self, fire))

    def _note_ways(self) -> None:
        now = {peer: outlet.way for peer, outlet in self.outlets.items()}
        for peer, way in now.items():
            if self._ways.get(peer) != way:
                self.way_changes.append(WayChange(self._underlay.now, peer, way))
        self._ways = now

    def shut(self, powered: bool = True) -> None:
        """The process ends; with power its kernel closes the streams."""
        self.alive = False
        self.powered = powered
        if powered:
            for end in self.streams.values():
                end.close()
        self.streams.clear()
        self._numbers.clear()

    # --- streams (Station) ---------------------------------------------------------------

    def on_accepted(self, end: StreamEnd, remote: Endpoint) -> None:
        number = self.engine.accepted(remote, self._underlay.now)
        if number is None:
            end.close()
        else:
            self._hold(number, end)
        self.carry_out()

    def on_dialled(self, number: int, end: StreamEnd, remote: Endpoint) -> None:
        self._hold(number, end)
        self.engine.dialled(number, remote, self._underlay.now)
        self.carry_out()

    def on_dial_failed(self, number: int, error: str) -> None:
        self.engine.dial_failed(number, error, self._underlay.now)
        self.carry_out()

    def on_bytes(self, end: StreamEnd, data: bytes) -> None:
        number = self._numbers.get(end)
        if number is not None:
            self.engine.received(number, data, self._underlay.now)
            self.carry_out()

    def on_end(self, end: StreamEnd, reason: str) -> None:
        number = self._numbers.get(end)
        if number is not None:
            self.engine.stream_ended(number, reason, self._underlay.now)
            self.carry_out()

    def _hold(self, number: int, end: StreamEnd) -> None:
        self.streams[number] = end
        self._numbers[end] = number

    # --- datagrams -----------------------------------------------------------------------

    def send_data(self, peer: PeerName, payload: bytes) -> bool:
        """Send a data record of one datagram; False if there is no way now."""
        outlet = self.outlets.get(peer)
        if outlet is None or outlet.way is None or outlet.sealer is None:
            return False
        if not outlet.busy:
            outlet.busy = True
            self.engine.traffic_woke(peer, self._underlay.now)
            self.carry_out()
        outlet.counters.records_out += 1
        outlet.counters.datagrams_out += 1
        self._emit(outlet, outlet.way, 0, payload)
        return True

    def _send_control(self, peer: PeerName, way: Way, body: bytes, probe: int | None) -> None:
        outlet = self.outlets.get(peer)
        if outlet is None or outlet.sealer is None:
            return
        prefix = RELAY_PREFIX_BYTES if way.relay else 0
        if prefix + HEADER_BYTES + TAG_BYTES + len(body) + 28 > INTERFACE_MTU and probe is not None:
            self.engine.probe_refused(peer, probe, self._underlay.now)
            return
        self._emit(outlet, way, FLAG_CONTROL, body)

    def _emit(self, outlet: Outlet, way: Way, flags: int, body: bytes) -> None:
        assert outlet.sealer is not None
        sealed = memoryview(bytearray(len(body) + TAG_BYTES))
        flags |= FLAG_LAST
        counter = outlet.sealer.seal(flags, memoryview(body), sealed)
        header = header_value(flags, outlet.sealer.session, counter, len(sealed))
        datagram = header.to_bytes(HEADER_BYTES, "little") + sealed
        if way.endpoint is not None:
            self._underlay.send_datagram(self, way.endpoint, datagram)
        elif way.relay is not None:
            self._pass_on(way.relay, relay_prefix(outlet.peer) + datagram)

    def _pass_on(self, via: PeerName | None, datagram: bytes) -> None:
        outlet = None if via is None else self.outlets.get(via)
        if outlet is not None and outlet.way is not None and outlet.way.endpoint is not None:
            self._underlay.send_datagram(self, outlet.way.endpoint, datagram)

    def on_datagram(self, datagram: bytes, origin: Endpoint) -> None:
        if datagram[0] != KIND_RELAYED:
            self._open(datagram, len(datagram), origin, 0)
            return
        hop_limit, destination = datagram[1], PeerName(datagram[2:RELAY_PREFIX_BYTES])
        if destination == self.name:
            inner = datagram[RELAY_PREFIX_BYTES:]
            self._open(inner, len(datagram), None, HOP_LIMIT - hop_limit)
        elif hop_limit > 1:
            self.relayed += 1
            again = bytes((KIND_RELAYED, hop_limit - 1)) + datagram[2:]
            self._pass_on(self.routes.relay.get(destination), again)

    def _open(self, datagram: bytes, size: int, origin: Endpoint | None, relays: int) -> None:
        _, flags, _, index, rest = parse_header(datagram)
        found = self.openers.get(index)
        if found is None:
            self.unknown += 1
            return
        peer, opener = found
        sealed = datagram[HEADER_BYTES:]
        plain = bytearray(len(sealed) - TAG_BYTES)
        assert opener.open_untrusted(flags, rest & COUNTER_MASK, sealed, memoryview(plain))
        counters = self.outlets[peer].counters
        now = self._underlay.now
        if flags & FLAG_CONTROL:
            received = counters.datagrams_in
            record = ControlRecord(index, bytes(plain), size, received, origin)
            self.engine.control_received(record, now)
            self.carry_out()
        else:
            counters.datagrams_in += 1
            counters.records_in += 1
            self.arrivals.append(Arrival(now, peer, bytes(plain), relays))
