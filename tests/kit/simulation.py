"""A whole network in one process: N engines, virtual time, a seeded and faulty underlay.

The very engines of the router run here; only the shell is replaced. Streams are reliable and
ordered with latency, datagrams get lost. Everything is decided by the seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.link.outlet import Outlet, Way
from weave_py.link.sealing import Opener
from weave_py.model.names import Endpoint, PeerName, PeerUID, parse_target
from weave_py.model.routes import RouteTable
from weave_py.router.engine import Engine
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    CloseStream,
    Dial,
    LogEvent,
    OpenSession,
    RemovePort,
    SaveTargets,
    SendBytes,
    SendControlRecord,
    UseRoutes,
)
from weave_py.router.settings import EngineSettings
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    HEADER_BYTES,
    HOP_LIMIT,
    KIND_RELAYED,
    RELAY_PREFIX_BYTES,
    header_value,
    parse_header,
    relay_prefix,
)

PORT = 6783
SUITES = (1, 2)


@dataclass
class Wire:
    """The underlay between two hosts."""

    latency: float = 0.01
    jitter: float = 0.002
    loss: float = 0.0
    up: bool = True
    udp: bool = True
    mtu: int = 1500


@dataclass
class SimHost:
    """One router and the shell around it, reduced to dictionaries."""

    address: str
    engine: Engine
    outlets: dict[PeerName, Outlet] = field(default_factory=dict)
    openers: dict[int, tuple[PeerName, Opener]] = field(default_factory=dict)
    routes: RouteTable = field(default_factory=RouteTable)
    streams: dict[int, tuple[SimHost, int]] = field(default_factory=dict)
    log: list[tuple[float, str, dict[str, object]]] = field(default_factory=list)
    saved_targets: tuple[str, ...] = ()
    alive: bool = True
    frozen_until: float = 0.0
    armed: float | None = None
    received: list[tuple[PeerName, bytes]] = field(default_factory=list)

    @property
    def name(self) -> PeerName:
        return self.engine.name

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, PORT)

    def __hash__(self) -> int:
        return hash(self.address)


class Simulation:
    """Hosts on a network. `run(seconds)` passes virtual time; `run_until` waits for a fact."""

    def __init__(
        self,
        seed: int = 0,
        password: str | None = None,
        settings: EngineSettings | None = None,
        default: Wire | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.now = 1000.0
        self.hosts: list[SimHost] = []
        self.messages = 0
        self.bytes = 0
        self._settings = settings or EngineSettings()
        self._membership = (
            Membership.open_network() if password is None else Membership.from_password(password)
        )
        self._default = default or Wire()
        self._wires: dict[frozenset[str], Wire] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stream_ready: dict[tuple[SimHost, int], float] = {}

    # --- building ------------------------------------------------------------------------

    def add(
        self,
        *targets: SimHost | str,
        settings: EngineSettings | None = None,
        membership: Membership | None = None,
        identity: Identity | None = None,
        epoch: int = 1,
        address: str | None = None,
    ) -> SimHost:
        number = len(self.hosts) + 1
        where = address or f"10.0.{number // 250}.{number % 250 + 1}"
        engine = Engine(
            identity or Identity.create(self.random.randbytes),
            membership or self._membership,
            uid=PeerUID(self.random.getrandbits(63) + 1),
            epoch=epoch,
            nickname=f"h{number}",
            port=PORT,
            suites=SUITES,
            token_bytes=self.random.randbytes,
            now=self.now,
            settings=settings or self._settings,
        )
        host = SimHost(where, engine)
        self.hosts.append(host)
        engine.set_local_addresses([where], self.now)
        texts = [t.address if isinstance(t, SimHost) else t for t in targets]
        engine.connect([parse_target(t) for t in texts], self.now)
        self._carry_out(host)
        return host

    def wire(self, a: SimHost, b: SimHost) -> Wire:
        """The wire between two hosts, to be changed at will."""
        key = frozenset((a.address, b.address))
        if key not in self._wires:
            d = self._default
            self._wires[key] = Wire(d.latency, d.jitter, d.loss, d.up, d.udp, d.mtu)
        return self._wires[key]

    def cut(self, a: SimHost, b: SimHost) -> None:
        self.wire(a, b).up = False

    def chain(self, count: int) -> list[SimHost]:
        """Hosts of which only those next to each other can talk."""
        hosts: list[SimHost] = []
        for _ in range(count):
            host = self.add()
            for other in hosts[:-1]:
                self.cut(host, other)
            if hosts:
                self.call(host, hosts[-1])
            hosts.append(host)
        return hosts

    def call(self, host: SimHost, target: SimHost) -> None:
        host.engine.connect([parse_target(target.address)], self.now)
        self._carry_out(host)

    def kill(self, host: SimHost) -> None:
        """SIGKILL: its kernel closes the streams."""
        host.alive = False
        for number, (other, theirs) in list(host.streams.items()):
            del host.streams[number]
            self._later(self._delay(host, other), self._ender(other, theirs))

    def vanish(self, host: SimHost) -> None:
        """The power goes: nothing more is heard."""
        host.alive = False

    def leave(self, host: SimHost) -> None:
        """SIGTERM."""
        host.engine.stop(self.now)
        self._carry_out(host)
        host.alive = False

    # --- running -------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            at, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            action()
        self.now = end

    def run_until(self, fact: Callable[[], bool], within: float, step: float = 0.05) -> float:
        """Pass time until `fact()`; returns how long it took, or fails."""
        start = self.now
        while not fact():
            assert self.now - start < within, f"seed {self.seed}: not within {within} s\n{self}"
            self.run(step)
        return self.now - start

    def __str__(self) -> str:
        lines = []
        for host in self.hosts:
            peers = ", ".join(
                f"{self.nick(link.peer)}:{link.outlet.way.text if link.outlet.way else 'none'}"
                for link in host.engine.links
            )
            neighbours = sorted(self.nick(n) for n in host.engine.neighbours.names())
            lines.append(f"{host.engine.nickname} neighbours {neighbours} paths {peers}")
            lines += [f"    {at:.3f} {event} {fields}" for at, event, fields in host.log[-6:]]
        return "\n".join(lines)

    def nick(self, name: PeerName) -> str:
        return next((h.engine.nickname for h in self.hosts if h.name == name), "?")

    # --- facts ---------------------------------------------------------------------------

    def is_converged(self) -> bool:
        """Everybody alive knows the latest record of everybody alive, and no more."""
        alive = [h for h in self.hosts if h.alive]
        wanted = {h.name: h.engine.ourself.record.order for h in alive}
        return all(
            {n: h.engine.topology.record(n) for n in h.engine.topology.routes.hops}.keys()
            == wanted.keys()
            and all(
                record is not None and record.order == order
                for n, order in wanted.items()
                for record in [h.engine.topology.record(n)]
            )
            for h in alive
        )

    def all_paths(self, kind: str | None = None) -> bool:
        """Everybody alive can send to everybody alive (by paths of this kind)."""
        alive = [h for h in self.hosts if h.alive]
        return all(
            b.name in a.outlets
            and (way := a.outlets[b.name].way) is not None
            and (kind is None or way.kind == kind)
            for a in alive
            for b in alive
            if a is not b
        )

    # --- data ----------------------------------------------------------------------------

    def send(self, source: SimHost, destination: SimHost, payload: bytes) -> bool:
        """Send a data record of one datagram; False if there is no way now."""
        outlet = source.outlets.get(destination.name)
        if outlet is None or outlet.way is None or outlet.sealer is None:
            return False
        self._emit(source, outlet, outlet.way, 0, payload)
        return True

    # --- inside --------------------------------------------------------------------------

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def _delay(self, a: SimHost, b: SimHost) -> float:
        wire = self.wire(a, b)
        return wire.latency + wire.jitter * self.random.random()

    def _carry_out(self, host: SimHost) -> None:
        """Do what the engine asked for, and re-arm its timer."""
        for output in host.engine.take_outputs():
            match output:
                case Dial(number, address, port):
                    self._dial(host, number, Endpoint(address, port))
                case SendBytes(number, data):
                    self._send_bytes(host, number, data)
                case CloseStream(number):
                    self._close(host, number)
                case AddPort(peer, outlet):
                    host.outlets[peer] = outlet
                case RemovePort(peer):
                    del host.outlets[peer]
                case OpenSession(peer, index, opener):
                    host.openers[index] = (peer, opener)
                case CloseSession(index):
                    host.openers.pop(index, None)
                case SendControlRecord(peer, way, body, probe):
                    self._send_control(host, peer, way, body, probe)
                case UseRoutes(routes):
                    host.routes = routes
                case SaveTargets(targets):
                    host.saved_targets = targets
                case LogEvent(_, event, fields):
                    host.log.append((self.now, event, dict(fields)))
        self._arm(host)

    def _arm(self, host: SimHost) -> None:
        deadline = host.engine.next_deadline()
        if deadline is None or (host.armed is not None and host.armed <= deadline.at):
            return
        host.armed = deadline.at
        at = deadline.at

        def fire() -> None:
            if host.armed == at:
                host.armed = None
            if host.alive and not self._is_frozen(host, fire):
                host.engine.advance(self.now)
                self._carry_out(host)

        self._later(max(at - self.now, 0.0), fire)

    def _is_frozen(self, host: SimHost, again: Callable[[], None]) -> bool:
        """SIGSTOP: whatever happens, happens after it."""
        if self.now < host.frozen_until:
            self._later(host.frozen_until - self.now, again)
            return True
        return False

    def _at(self, address: str) -> SimHost | None:
        return next((h for h in self.hosts if h.address == address and h.alive), None)

    def _dial(self, host: SimHost, number: int, remote: Endpoint) -> None:
        other = self._at(remote.host)
        if other is None or not self.wire(host, other).up:
            self._later(1.0, self._failer(host, number, "no route to host"))
            return

        def arrive() -> None:
            theirs = other.engine.accepted(Endpoint(host.address, 40000 + number), self.now)
            if theirs is None or not other.alive:
                self._later(0.01, self._failer(host, number, "connection refused"))
                return
            host.streams[number] = (other, theirs)
            other.streams[theirs] = (host, number)
            self._carry_out(other)
            if host.alive:
                host.engine.dialled(number, other.endpoint, self.now)
                self._carry_out(host)

        self._later(2 * self._delay(host, other), arrive)

    def _failer(self, host: SimHost, number: int, error: str) -> Callable[[], None]:
        def fail() -> None:
            if host.alive:
                host.engine.dial_failed(number, error, self.now)
                self._carry_out(host)

        return fail

    def _send_bytes(self, host: SimHost, number: int, data: bytes) -> None:
        found = host.streams.get(number)
        if found is None:
            return
        other, theirs = found
        self.messages += 1
        self.bytes += len(data)
        if not self.wire(host, other).up:
            return  # TCP would retransmit; a cut here lasts longer than the connection
        # In order: never before what was sent earlier.
        ready = max(self.now + self._delay(host, other), self._stream_ready.get((host, number), 0))
        self._stream_ready[(host, number)] = ready

        def arrive() -> None:
            if other.alive and theirs in other.streams and not self._is_frozen(other, arrive):
                other.engine.received(theirs, data, self.now)
                self._carry_out(other)

        self._later(ready - self.now, arrive)

    def _close(self, host: SimHost, number: int) -> None:
        found = host.streams.pop(number, None)
        if found is None:
            return
        other, theirs = found
        ready = max(self._stream_ready.pop((host, number), 0.0), self.now)
        if self.wire(host, other).up:
            self._later(ready - self.now + 1e-6, self._ender(other, theirs))

    def _ender(self, host: SimHost, number: int) -> Callable[[], None]:
        def end() -> None:
            if host.alive and host.streams.pop(number, None) is not None:
                host.engine.stream_ended(number, "connection reset by peer", self.now)
                self._carry_out(host)

        return end

    def _send_control(
        self, host: SimHost, peer: PeerName, way: Way, body: bytes, probe: int | None
    ) -> None:
        outlet = host.outlets.get(peer)
        if outlet is None or outlet.sealer is None:
            return
        size = HEADER_BYTES + 16 + len(body) + (RELAY_PREFIX_BYTES if way.relay else 0)
        if size + 28 > 9000 and probe is not None:  # the interface's own MTU
            host.engine.probe_refused(peer, probe, self.now)
            return
        self._emit(host, outlet, way, FLAG_CONTROL, body)

    def _emit(self, host: SimHost, outlet: Outlet, way: Way, flags: int, body: bytes) -> None:
        assert outlet.sealer is not None
        sealed = memoryview(bytearray(len(body) + 16))
        flags |= FLAG_LAST
        counter = outlet.sealer.seal(flags, memoryview(body), sealed)
        header = header_value(flags, outlet.sealer.session, counter, len(sealed))
        datagram = header.to_bytes(HEADER_BYTES, "little") + sealed
        if way.endpoint is not None:
            self._datagram(host, way.endpoint, datagram)
        elif way.relay is not None:
            self._pass_on(host, way.relay, relay_prefix(outlet.peer) + datagram)

    def _pass_on(self, host: SimHost, via: PeerName, datagram: bytes) -> None:
        outlet = host.outlets.get(via)
        if outlet is not None and outlet.way is not None and outlet.way.endpoint is not None:
            self._datagram(host, outlet.way.endpoint, datagram)

    def _datagram(self, host: SimHost, to: Endpoint, datagram: bytes) -> None:
        other = self._at(to.host)
        if other is None:
            return
        wire = self.wire(host, other)
        too_big = len(datagram) + 28 > wire.mtu
        if not wire.up or not wire.udp or too_big or self.random.random() < wire.loss:
            return

        def arrive() -> None:
            if other.alive and not self._is_frozen(other, arrive):
                self._on_datagram(other, datagram, host.endpoint)

        self._later(self._delay(host, other), arrive)

    def _on_datagram(self, host: SimHost, datagram: bytes, origin: Endpoint | None) -> None:
        size = len(datagram)
        if datagram[0] == KIND_RELAYED:
            destination = PeerName(datagram[2:RELAY_PREFIX_BYTES])
            if destination != host.name:
                if datagram[1] > 1:
                    via = host.routes.relay.get(destination)
                    assert datagram[1] <= HOP_LIMIT
                    if via is not None:
                        again = bytes((datagram[0], datagram[1] - 1)) + datagram[2:]
                        self._pass_on(host, via, again)
                return
            datagram, origin = datagram[RELAY_PREFIX_BYTES:], None
        _, flags, _, index, rest = parse_header(datagram)
        found = host.openers.get(index)
        if found is None:
            return
        sealed = datagram[HEADER_BYTES:]
        plain = bytearray(len(sealed) - 16)
        assert found[1].open_untrusted(flags, rest & ((1 << 48) - 1), sealed, memoryview(plain))
        if flags & FLAG_CONTROL:
            received = host.outlets[found[0]].counters.datagrams_in
            host.engine.control_received(index, bytes(plain), size, received, origin, self.now)
            self._carry_out(host)
        else:
            host.received.append((found[0], bytes(plain)))
