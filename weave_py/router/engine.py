"""What does the router do next? The one engine that drivers see: `mesh` and `link`, composed.

It owns no socket, clock or task. A driver (the trio shell in `runtime`, or the simulation in
`sim`) tells it what happened, with the time; after *each* such call it carries out
`take_outputs()`, and before it waits it re-arms its timer with `next_deadline()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.link.control_record import ControlRecord
from weave_py.mesh.connection import (
    Connection,
    ConnectionEnded,
    HandshakeCompleted,
    MessageReceived,
    State,
)
from weave_py.mesh.gossip.replicator import CHANNEL as TOPOLOGY
from weave_py.mesh.gossip.replicator import TopologyGossip
from weave_py.mesh.handshake import ALERT_BUSY, ALERTS, Hello, hello_of
from weave_py.mesh.ourself import Ourself
from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.fast import Carried, DesiredVxlan, PortsOutcome
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, PeerUID, Target, endpoint
from weave_py.router.announcements import Announcements
from weave_py.router.convergence import Convergence
from weave_py.router.duplicate_identity import DuplicateIdentity
from weave_py.router.eviction import least_useful
from weave_py.router.links import Links
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.router.outputs import (
    DEBUG,
    INFO,
    WARNING,
    CloseStream,
    Dial,
    LogEvent,
    Output,
    SaveTargets,
    SendBytes,
    TrainReceived,
    UseRoutes,
)
from weave_py.router.settings import EngineSettings
from weave_py.router.strangers_log import StrangersLog
from weave_py.wire.messages import ControlMessage, Gossip, Train, Unicast
from weave_py.wire.sleeve import HOP_LIMIT

SESSION = "session"
"""Unicast channel of the sessions' handshakes."""

# Reasons in a Goodbye (protocol: LEAVING and MADE_ROOM are recognised by the other side).
LEAVING = "leaving the network"
DUPLICATE = "a second connection to the same peer"
MADE_ROOM = "made room for a newcomer"
SUPERFLUOUS = "not needed any more: the network has grown"
OURSELF = "cannot connect to ourself"
CLONED = (
    "another router runs with our identity: was the state directory copied? "
    "Run 'weave-py reset' on one of the two"
)
FUTILE_PAUSE = 60.0  # seconds before we call again who had no room for us, or was ourself


class Engine:
    """A whole router without I/O."""

    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        *,
        uid: PeerUID,
        incarnation: int,
        nickname: str,
        port: int,
        suites: Sequence[int],
        token_bytes: Callable[[int], bytes],
        now: float,
        settings: EngineSettings | None = None,
        verifier: RecordVerifier | None = None,
    ) -> None:
        """`incarnation` is greater at every start of this identity; `port` is where we listen."""
        self.settings = settings or EngineSettings()
        self.name = identity.name
        self.uid = uid
        self.nickname = nickname
        self.port = port
        self.is_secret = not membership.is_open
        self.terminations = 0
        self.unicasts_undeliverable = 0
        self.load = LocalLoad()
        self.ourself = Ourself(identity, uid, incarnation, nickname, suites)
        self.topology = Topology(self.ourself, self.settings.topology, verifier)
        self.gossip = TopologyGossip(self.topology, now, self.settings.gossip)
        self.targets = Targets(
            self.name, lambda: token_bytes(1)[0] / 256, self.settings.target, self.load
        )
        hello = hello_of(identity, uid, nickname, port)
        self.neighbours = Neighbours(
            identity, membership, hello, token_bytes, self.settings, self.load
        )
        self.links = Links(
            identity, uid, suites, token_bytes, self.settings, self.is_secret, self.load
        )
        self._announcements = Announcements(
            self.ourself,
            self.neighbours,
            self.links,
            self.gossip,
            self.settings.announce_every,
            self.load,
        )
        self._connections_due: TimerQueue[int] = TimerQueue()
        """Each connection's next deadline, as of its last change, by its stream's number."""
        self._convergence = Convergence(
            self.topology, self.neighbours, self.links, self.targets, self.settings, self.load
        )
        self._duplicates = DuplicateIdentity(self.neighbours)
        self._strangers = StrangersLog()
        self._due_at = float("inf")
        """When we asked to be woken (not before the moment when we did)."""
        self._told_at = now
        self._outputs: list[Output] = []
        self.is_stopped = False

    # --- commands ------------------------------------------------------------------------

    def connect(self, targets: Iterable[Target], now: float, replace: bool = False) -> None:
        """Call these for ever; with `replace`, and no other configured ones."""
        self.targets.connect(targets, now, replace)
        self._targets_changed(now)

    def forget(self, texts: Iterable[str], now: float) -> None:
        """Stop calling these; existing connections stay."""
        self.targets.forget(texts)
        self._targets_changed(now)

    def set_local_addresses(self, hosts: Iterable[str], now: float) -> None:
        """The underlay addresses of this host: they have changed, or there are some again."""
        had = self._announcements.local
        hosts = list(hosts)
        self._announcements.set_local([endpoint(host, self.port) for host in hosts], now)
        self.links.set_local(hosts, now)
        self._convergence.own_hosts = {place.host for place in self._announcements.local}
        self._convergence.moved(self.topology.peers())  # whose addresses may be ours now, or not
        if had:
            self.links.restart(now)
            self.targets.hurry(now)
        self._settle(now)

    def stop(self, now: float) -> None:
        """Say goodbye to everybody. Carry out the outputs, then be done with the engine."""
        self.is_stopped = True
        for stream in self.neighbours:
            if stream.connection is not None:
                stream.connection.close(LEAVING)
                self._drain(stream, now)
        for link in list(self.links):
            self.links.peer_forgotten(link.peer, now)
        self._outputs += self.links.take_outputs()

    # --- streams -------------------------------------------------------------------------

    def accepted(self, remote: Endpoint, now: float) -> int | None:
        """A TCP connection came in: its number from now on; None: close it, we stop."""
        if self.is_stopped:
            return None
        stream = self.neighbours.accept(remote, now)
        self._drain(stream, now)
        evicted, self.neighbours.evicted = self.neighbours.evicted, []
        for old in evicted:
            self._drain(old, now)
        self._settle(now)
        return stream.number

    def dialled(self, number: int, remote: Endpoint, now: float) -> None:
        """The Dial succeeded."""
        stream = self.neighbours.get(number)
        if stream is not None:
            self.neighbours.admission.know([remote.host])  # it may call us, too
            self.neighbours.open(stream, remote, True, now)
            self._drain(stream, now)
        self._settle(now)

    def dial_failed(self, number: int, error: str, now: float) -> None:
        stream = self.neighbours.get(number)
        if stream is not None:
            self.neighbours.remove(stream)
            if stream.target is not None:
                self.targets.failed(stream.target, error, now)
        self._settle(now)

    def received(self, number: int, data: bytes, now: float) -> None:
        """Bytes came on a stream."""
        stream = self.neighbours.get(number)
        if stream is not None and stream.connection is not None:
            stream.connection.receive_untrusted(data, now)
            self._drain(stream, now)
        self._settle(now)

    def stream_ended(self, number: int, reason: str, now: float) -> None:
        """The other side closed the stream, or it broke."""
        stream = self.neighbours.get(number)
        if stream is not None and stream.connection is not None:
            stream.connection.stream_ended(reason)
            self._drain(stream, now)
        self._settle(now)

    # --- datagrams -----------------------------------------------------------------------

    def controls_received(self, records: Iterable[ControlRecord], now: float) -> None:
        """Authentic control records came in (see Link.receive_controls_untrusted)."""
        self.links.receive_controls_untrusted(records, now)
        self._settle(now)

    def probe_refused(self, peer: PeerName, probe: int, now: float) -> None:
        self.links.probe_refused(peer, probe, now)
        self._settle(now)

    def traffic_woke(self, peer: PeerName, now: float) -> None:
        """Frames flow to a peer again, after its egress was not `busy`."""
        self.links.woken(peer, now)
        self._settle(now)

    def link_to(self, peer: PeerName, now: float) -> None:
        """Frames are going to be sent to this peer: see EngineSettings.eager_links."""
        self._convergence.make_link(peer, now)
        self.links.call(peer, now)
        self._settle(now)

    def stream_to(self, neighbour: PeerName) -> int | None:
        """The number of the control connection with a neighbour."""
        stream = self.neighbours.of(neighbour)
        return None if stream is None else stream.number

    def send_train(self, neighbour: PeerName, size: int, datagrams: bytes) -> None:
        """Send sleeve datagrams, `size` bytes each but the last, inside the control connection.
        Only outputs can change, no deadline, and nothing is said if there is no connection."""
        self._send(neighbour, Train(size, datagrams))

    # --- the fast datapath ---------------------------------------------------------------

    def adopt_fast_paths(self, found: Iterable[tuple[PeerName, DesiredVxlan]], now: float) -> None:
        """A predecessor left these running. To be told before anything else."""
        self.links.fast.adopt(found, now)
        self._settle(now)

    def fast_probes_received(self, frames: Iterable[bytes], now: float) -> None:
        """Frames with a probe's ethertype came in on peers' VXLAN devices."""
        for frame in frames:
            self.links.fast.paths.receive_probe_untrusted(frame, now)
        self._settle(now)

    def fast_counted(self, counts: Mapping[PeerName, Carried], now: float) -> None:
        """What peers' VXLAN devices have carried."""
        for peer, carried in counts.items():
            self.links.fast_counted(peer, carried.packets_out, carried.packets_in, now)
        self._settle(now)

    def fast_ports_changed(self, outcome: PortsOutcome, now: float) -> None:
        """What the reconciler found or did."""
        paths = self.links.fast.paths
        for peer, desired in outcome.ready:
            paths.device_ready(peer, desired, now)
        for peer, reason in outcome.failed:
            paths.device_failed(peer, reason, now)
        for peer in outcome.taken:
            paths.vni_taken(peer, now)
        for peer, spi in outcome.installed:
            paths.esp_installed(peer, spi, now)
        self._settle(now)

    # --- time ----------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Time has passed; call at `next_deadline` (earlier does no harm)."""
        if self.is_stopped:
            return
        self.load.late(now - self._due_at, now)
        self._due_at = float("inf")
        for number in self._connections_due.take_due(now):
            stream = self.neighbours.get(number)
            if stream is not None and stream.connection is not None:
                stream.connection.advance(now)
                self._drain(stream, now)
        self.gossip.advance(now)
        self.links.advance(now)
        self._trim(now)
        self._convergence.advance(now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        if self.is_stopped:
            return None
        due = [
            self._connections_due.first(),
            self.gossip.next_deadline(),
            self.targets.next_deadline(),
            self.links.next_deadline(),
            self._announcements.next_deadline(),
            self.targets.next_trim(),
            *self._convergence.next_deadlines(),
        ]
        first = earliest(due)
        if self._due_at > self._told_at:  # else it is overdue already, since then
            self._due_at = max(first.at, self._told_at) if first else float("inf")
        return first

    def take_outputs(self) -> list[Output]:
        taken, self._outputs = self._outputs, []
        return taken

    # --- inside: one connection ----------------------------------------------------------

    def _drain(self, stream: Stream, now: float) -> None:
        """Carry on with what a connection has to say."""
        connection = stream.connection
        assert connection is not None
        for event in connection.take_events():
            if self.neighbours.get(stream.number) is not stream:
                return  # ended because of the event before: what came with it counts no more
            match event:
                case HandshakeCompleted(hello, observed):
                    self._joined(stream, connection, hello, observed, now)
                case MessageReceived(message):
                    self._message_untrusted(stream, message, now)
                case ConnectionEnded(reason, planned, is_silent):
                    self._flush(stream)
                    self._ended(stream, reason, planned, now, is_silent)
                    return
        self._flush(stream)

    def _flush(self, stream: Stream) -> None:
        assert stream.connection is not None
        self._connections_due.set(stream.number, stream.connection.next_deadline())
        data = stream.connection.take_bytes()
        if data:
            self._outputs.append(SendBytes(stream.number, data))

    def _joined(
        self,
        stream: Stream,
        connection: Connection,
        hello: Hello,
        observed: Endpoint | None,
        now: float,
    ) -> None:
        if stream.target is not None:
            self.targets.reached(stream.target, hello.name)
        trouble = self._refusal(hello)
        if trouble:
            connection.close(trouble)
            self._log(WARNING, "peer refused", stream, error=trouble)
            self._drain(stream, now)
            return
        loser = self.neighbours.resolve_duplicate(stream, hello)
        if loser is not None:
            assert loser.connection is not None
            self._duplicates.broke(hello.name, now)
            loser.connection.close(DUPLICATE)
            self._drain(loser, now)
            if loser is stream:
                return
        self._log(INFO, "connection established", stream)
        self.neighbours.admission.know([connection.remote.host], hello.static)
        self._convergence.moved([hello.name])
        if len(self.neighbours) == 1:
            self._convergence.wait(now)
        self._set_connected()
        self.gossip.neighbour_joined(hello.name, now)
        self.links.neighbour_joined(hello.name, now)
        self._announcements.joined(now)
        self._make_room(stream, now)

    def _refusal(self, hello: Hello) -> str:
        """Why we want no connection with a peer that has proved who it is; empty if we do."""
        if hello.name == self.name:
            if hello.uid == self.uid:
                return OURSELF
            return CLONED
        known = self.topology.record(hello.name)
        if known is not None and known.identity != hello.identity:
            return "another key for a peer name that is taken"
        return ""

    def _message_untrusted(self, stream: Stream, message: ControlMessage, now: float) -> None:
        assert stream.peer is not None
        if self.neighbours.of(stream.peer) is not stream:
            return  # a duplicate's last words
        match message:
            case Gossip(channel, body) if channel == TOPOLOGY:
                if self.gossip.receive_untrusted(stream.peer, body, now):
                    self._convergence.soon(now)
                if self.ourself.is_outranked and self._announcements.outranked(now):
                    self._complain_of_clone(stream, now)
                for error in self.gossip.errors:
                    self._log(WARNING, "topology record refused", stream, error=error)
                self.gossip.errors.clear()
            case Unicast() if message.destination == self.name:
                if message.channel == SESSION:
                    self._convergence.make_link(message.source, now)
                    self.links.receive_unicast_untrusted(message.source, message.body, now)
            case Unicast():
                if message.hop_limit > 0:
                    self.send_unicast(message, stream.peer)
            case Train(size, datagrams):
                self._outputs.append(TrainReceived(stream.peer, size, datagrams))
            case _:
                pass  # a channel of a newer peer

    def _ended(
        self, stream: Stream, reason: str, planned: bool, now: float, is_silent: bool = False
    ) -> None:
        counted = self.neighbours.remove(stream)
        self._outputs.append(CloseStream(stream.number, is_silent))
        is_duplicate = planned and reason.endswith(DUPLICATE)
        # A duplicate of which the other half is not ours: somebody else has our identity.
        peer = stream.peer
        refused = is_duplicate and peer is not None and self.neighbours.of(peer) is None
        usurped = refused and peer is not None and self._duplicates.took_our_place(peer, now)
        if stream.target is not None and (refused or not is_duplicate):
            if reason.endswith(MADE_ROOM):
                self.targets.rest(stream.target)
            futile = usurped or reason.endswith((MADE_ROOM, OURSELF))
            is_busy = reason == ALERTS[ALERT_BUSY]
            pause = FUTILE_PAUSE if futile else 0.0
            self.targets.failed(stream.target, reason, now, pause, backs_off=not is_busy)
        if usurped:
            self._complain_of_clone(stream, now)
        elif stream.is_stranger:
            self._tell_of_stranger(stream, reason, now)
        elif not is_duplicate and not self.is_stopped:
            self._log(INFO if planned else WARNING, "connection ended", stream, error=reason)
        if not counted:
            return
        assert stream.peer is not None
        self._convergence.moved([stream.peer])
        if not planned:
            self._duplicates.broke(stream.peer, now)
        if usurped or (planned and reason.endswith(MADE_ROOM)):
            self.targets.leave_alone(stream.peer, now + FUTILE_PAUSE)
        self.terminations += 1
        self._set_connected()
        self.gossip.neighbour_left(stream.peer)
        if planned and reason.endswith(LEAVING):
            self.links.peer_left(stream.peer, now)
        elif not planned:
            self.links.neighbour_lost(stream.peer, now)
        self._announcements.soon(now)

    def _tell_of_stranger(self, stream: Stream, reason: str, now: float) -> None:
        assert stream.connection is not None
        line = None if self.is_stopped else self._strangers.ended(stream.connection, reason, now)
        if line is not None:
            self._outputs.append(line)

    def _make_room(self, newcomer: Stream | None, now: float) -> None:
        limit = self.settings.conn_limit
        if not limit or len(self.neighbours) <= limit:
            return
        excess = len(self.neighbours) - limit
        for victim in least_useful(self.neighbours, self.topology, self.targets, newcomer, excess):
            assert victim.connection is not None
            victim.connection.close(MADE_ROOM)
            self._drain(victim, now)

    def _trim(self, now: float) -> None:
        """End connections that we made when the network was smaller."""
        due = self.targets.next_trim()
        if due is None or now < due.at:
            return
        for name in sorted(self.topology.reachable_without(self.targets.take_superfluous(now))):
            stream = self.neighbours.of(name)
            if stream is not None and stream.connection is not None:
                if stream.target is not None:
                    self.targets.rest(stream.target)
                stream.connection.close(SUPERFLUOUS)
                self._drain(stream, now)

    # --- inside: the mesh ----------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """After any change: let news take effect, and carry messages from part to part."""
        if self.is_stopped:
            return
        self._told_at = now
        if self._announcements.advance(now):
            self._convergence.soon(now)
        if self._convergence.is_due(now):
            self._make_room(None, now)
            self._outputs.append(UseRoutes(self._convergence.recompute(now)))
        self._call(now)
        for destination, body in self.links.take_unicasts():
            self.send_unicast(Unicast(SESSION, self.name, destination, HOP_LIMIT, body))
        self.links.drain_fast(now)
        self._outputs += self.links.take_outputs()
        for neighbour, body in self.gossip.take_messages():
            self._send(neighbour, Gossip(TOPOLOGY, body))

    def _complain_of_clone(self, stream: Stream, now: float) -> None:
        if self._duplicates.complains(now):
            self._log(WARNING, CLONED, stream)

    def _call(self, now: float) -> None:
        for call in self.targets.due(now):
            stream = self.neighbours.dialling(call.key, now)
            self.neighbours.admission.know([call.host])  # though it may not listen yet
            self._outputs.append(Dial(stream.number, call.host, call.port))

    def _set_connected(self) -> None:
        self.targets.set_connected(self.neighbours.names())

    def _targets_changed(self, now: float) -> None:
        self._outputs.append(SaveTargets(self.targets.configured))
        self._settle(now)

    def _send(self, neighbour: PeerName, message: ControlMessage) -> None:
        stream = self.neighbours.of(neighbour)
        if stream is not None and stream.connection is not None:
            stream.connection.send(message)
            self._flush(stream)

    def send_unicast(self, message: Unicast, source: PeerName | None = None) -> None:
        """Pass a message on; never back to the neighbour it came from."""
        via = self.topology.routes.unicast.get(message.destination)
        if via is None and self.neighbours.of(message.destination) is not None:
            via = message.destination  # a neighbour whose record has not come yet
        if via is None or via == source:
            self.unicasts_undeliverable += 1
            return
        hop_limit = min(message.hop_limit, HOP_LIMIT) - 1
        self._send(
            via,
            Unicast(message.channel, message.source, message.destination, hop_limit, message.body),
        )

    def _log(self, level: int, event: str, stream: Stream, **fields: object) -> None:
        connection = stream.connection
        fields = {**stream.description, **fields}
        if connection is not None and connection.state is State.CLOSED and not connection.hello:
            level = max(level, WARNING) if fields.get("error") else DEBUG
        self._outputs.append(LogEvent(level, event, fields))
