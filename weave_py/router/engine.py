"""What does the router do next? The one engine that drivers see: `mesh` and `link`, composed.

It owns no socket, clock or task. A driver (the trio shell in `runtime`, or the simulation in
`sim`) tells it what happened, with the time; after *each* such call it carries out
`take_outputs()`, and before it waits it re-arms its timer with `next_deadline()`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.link.control_record import ControlRecord
from weave_py.mesh.authentic_unicasts import AuthenticUnicasts
from weave_py.mesh.authorizer import Authorizer, WhoeverGotIn
from weave_py.mesh.channel import Channel
from weave_py.mesh.connection import (
    ConnectionEnded,
)
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.gossip.replicator import Replicator
from weave_py.mesh.handshake import Hello, hello_of
from weave_py.mesh.ourself import Ourself
from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.mesh.service import Service
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.close_codes import CloseCode
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.effects import KeepState
from weave_py.model.fast import Carried, DesiredVxlan, FastHost, PortsOutcome
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, PeerUID, Target
from weave_py.model.underlay import OwnAddress, Route
from weave_py.router.announcements import Announcements
from weave_py.router.connections import Connections
from weave_py.router.convergence import Convergence
from weave_py.router.duplicate_identity import DuplicateIdentity
from weave_py.router.links import Links
from weave_py.router.neighbours import Neighbours
from weave_py.router.outputs import (
    Output,
    TrainReceived,
    UseRoutes,
)
from weave_py.router.record_channel import RecordChannel
from weave_py.router.rivals import Rivals
from weave_py.router.session_channel import SESSION, SessionChannel
from weave_py.router.settings import EngineSettings
from weave_py.router.topology_channel import TOPOLOGY, TopologyChannel
from weave_py.router.unicast_budget import UnicastBudget
from weave_py.wire.messages import MAX_CHANNEL, ControlMessage, Gossip, Train, Unicast
from weave_py.wire.sleeve import HOP_LIMIT

TARGETS = "targets"
"""State of ours: the configured targets, as texts."""


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
        services: Sequence[Service] = (),
        carried: Collection[str] = (),
        states: Mapping[str, object] | None = None,
        authorizer: Authorizer | None = None,
    ) -> None:
        """`incarnation` is greater at every start of this identity; `port` is where we listen.
        `services` run here; the channels of those in `carried` are passed on all the same.
        `states`: what each service kept last. ValueError for a service's name that is no
        channel's."""
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
        self._authorizer = authorizer or WhoeverGotIn()
        self.topology = Topology(
            self.ourself,
            self.settings.topology,
            verifier,
            self._authorizer,
            lambda name, uid: self._rivals.doubts_record(name, uid),
        )
        self.gossip = Replicator(
            TOPOLOGY, self.name, self.topology, self.topology, now, self.settings.gossip
        )
        self.targets = Targets(
            self.name, lambda: token_bytes(1)[0] / 256, self.settings.target, self.load
        )
        names = [*(service.name for service in services), *carried]
        for name in names:
            if name in (TOPOLOGY, SESSION, TARGETS) or not 0 < len(name.encode()) <= MAX_CHANNEL:
                raise ValueError(f"no name for a service's channel: {name!r}")
        hello = hello_of(identity, uid, nickname, port, tuple(dict.fromkeys(names)))
        self.neighbours = Neighbours(
            identity, membership, hello, token_bytes, self.settings, self.load
        )
        self.links = Links(
            identity,
            uid,
            suites,
            token_bytes,
            self.settings,
            self.is_secret,
            self.topology.way_to,
            lambda peer: self.neighbours.of(peer) is not None,
            self.load,
        )
        self._announcements = Announcements(
            self.ourself,
            self.neighbours,
            self.links,
            self.gossip,
            self.settings.announce_every,
            self.load,
        )
        self._convergence = Convergence(
            self.topology, self.neighbours, self.links, self.targets, self.settings, self.load
        )
        self._budget = UnicastBudget()
        self._rivals = Rivals(self.neighbours, self.topology, self.load)
        duplicates = DuplicateIdentity()
        self.connections = Connections(
            self,
            uid,
            self.neighbours,
            self.topology,
            self.targets,
            duplicates,
            self._rivals,
            self._authorizer,
            self.settings.conn_limit,
        )
        self._unicasts = AuthenticUnicasts(identity, uid, self.topology.record)
        running = {service.name: service for service in services}
        self._records = {
            name: RecordChannel(
                name,
                running.get(name),
                OwnedRecords(name, identity, uid, self.topology.record),
                self.topology,
                self._unicasts,
                self._budget,
                now,
                self.settings.gossip,
            )
            for name in hello.channels
        }
        self._channels: dict[str, Channel] = {
            TOPOLOGY: TopologyChannel(
                self.gossip,
                self.ourself,
                self._announcements,
                self._convergence,
                duplicates,
                self._describe,
            ),
            SESSION: SessionChannel(
                identity,
                uid,
                self.topology,
                self.links,
                self._convergence,
                self._authorizer,
                self._budget,
            ),
            **self._records,
        }
        self._due_at = float("inf")
        """When we asked to be woken (not before the moment when we did)."""
        self._told_at = now
        self._outputs: list[Output] = []
        self.is_stopped = False
        for name, channel in self._records.items():
            channel.start((states or {}).get(name), now)
        self._carry(now)

    # --- commands ------------------------------------------------------------------------

    def connect(self, targets: Iterable[Target], now: float, replace: bool = False) -> None:
        """Call these for ever; with `replace`, and no other configured ones."""
        self.targets.connect(targets, now, replace)
        self._targets_changed(now)

    def forget(self, texts: Iterable[str], now: float) -> None:
        """Stop calling these; existing connections stay. Peers among them (by target, address or
        nickname) that nobody reaches any more are gone: not shown, and not looked for."""
        wanted = frozenset(texts)
        gone = [name for name in self._named(wanted) if self.topology.dismiss(name)]
        self.targets.forget(wanted)
        if gone:
            self._convergence.moved(gone)
            self._convergence.soon(now)
        self._targets_changed(now)

    def set_local_addresses(self, addresses: Iterable[OwnAddress], now: float) -> None:
        """The underlay addresses of this host: they have changed, or there are some again."""
        had = self._announcements.local
        self._announcements.set_local(addresses, self.port, now)
        hosts = [address.host for address in self._announcements.local]
        self._convergence.own_hosts = frozenset(hosts)
        self.links.set_local(hosts, now)
        self._addresses_moved(now)
        if had:
            self.links.restart(now)
            self.targets.hurry(now)
        self._settle(now)

    def route_hosts(self) -> tuple[str, ...]:
        """To which addresses the ways matter: when the kernel's routes, or devices, have changed
        they are to be found anew, as for FindRoutes."""
        return self.links.route_hosts()

    def routes_found(self, found: Mapping[str, Route], now: float) -> None:
        """Which way the kernel sends to these addresses (see FindRoutes)."""
        learned = self.links.routes_found(found, now)
        if learned.moved or not self._convergence.own_hosts.isdisjoint(learned.fresh):
            self._addresses_moved(now)
        if learned.altered:
            self._announcements.soon(now)  # others of our addresses may be the likely ones now
        self._settle(now)

    def _addresses_moved(self, now: float) -> None:
        """Peers' addresses may be ours now, or not any more."""
        self._convergence.moved(self.topology.peers())
        self._convergence.soon(now)

    def stop(self, now: float) -> None:
        """Say goodbye to everybody. Carry out the outputs, then be done with the engine."""
        for records in self._records.values():
            records.stop(now)
        self._carry(now)
        self.is_stopped = True
        self.connections.stop(now)
        for link in list(self.links):
            self.links.peer_forgotten(link.peer, now)
        self._take_all()

    # --- streams -------------------------------------------------------------------------

    def attends_to(self, remote: Endpoint, now: float) -> bool:
        """Whether a TCP connection from there is worth accepting now: asked first, since strangers
        may make more of them than we want to hear."""
        return not self.is_stopped and self.connections.attends_to(remote, now)

    def came_to_nothing(self, remote: Endpoint, now: float) -> None:
        """One that came in went without a word."""
        self.connections.came_to_nothing(remote, now)

    def accepted(self, remote: Endpoint, now: float) -> int | None:
        """A TCP connection came in: its number from now on; None: close it."""
        number = None if self.is_stopped else self.connections.accepted(remote, now)
        self._settle(now)
        return number

    def dialled(self, number: int, remote: Endpoint, now: float) -> None:
        """The Dial succeeded."""
        self.connections.dialled(number, remote, now)
        self._settle(now)

    def dial_failed(self, number: int, error: str, now: float, pause: float = 0.0) -> None:
        """`pause`: seconds in which to call again makes no sense."""
        self.connections.dial_failed(number, error, now, pause)
        self._settle(now)

    def received(self, number: int, data: bytes, now: float) -> None:
        """Bytes came on a stream."""
        self.connections.received(number, data, now)
        self._settle(now)

    def stream_ended(self, number: int, reason: str, now: float) -> None:
        """The other side closed the stream, or it broke."""
        self.connections.stream_ended(number, reason, now)
        self._settle(now)

    def stream_writable(self, number: int, is_writable: bool, now: float) -> None:
        """A stream takes no more bytes for now, so that some wait, or none wait any more."""
        neighbour = self.connections.stream_writable(number, is_writable)
        if neighbour is not None:
            for channel in self._channels.values():
                channel.stream_writable(neighbour, is_writable, now)
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
        self.links.want(peer)
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
        self.connections.send(neighbour, Train(size, datagrams))
        self._outputs += self.connections.take_outputs()

    # --- services ------------------------------------------------------------------------

    def service(self, name: str) -> Service | None:
        """The service of this name, if it runs here: for its `snapshot`."""
        channel = self._records.get(name)
        return None if channel is None else channel.service

    def request(self, service: str, ticket: int, request: object, now: float) -> None:
        """Somebody asks a service for something: a Reply with this ticket will answer. KeyError
        unless the service runs here."""
        channel = self._records[service]
        if channel.service is None:
            raise KeyError(service)
        channel.request(ticket, request, now)
        self._settle(now)

    def cancel_request(self, service: str, ticket: int, now: float) -> None:
        """Nobody waits for that answer any more."""
        self._records[service].cancel(ticket, now)
        self._settle(now)

    def state_kept(self, name: str, ticket: int, now: float) -> None:
        """A KeepState with this ticket is on disk."""
        if name in self._records:
            self._records[name].state_kept(ticket, now)
            self._settle(now)

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

    def fast_host_changed(self, host: FastHost, now: float) -> None:
        """What this host can do for the fast datapath is something else now."""
        self.links.fast.set_host(host, now)
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
        self.connections.advance(now)
        for channel in self._channels.values():
            channel.advance(now)
        self.links.advance(now)
        self._convergence.advance(now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        if self.is_stopped:
            return None
        due = [
            self.connections.next_deadline(),
            *(channel.next_deadline() for channel in self._channels.values()),
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

    # --- neighbours (router.connections.Router) ------------------------------------------

    def neighbour_joined(self, hello: Hello, now: float) -> None:
        self._convergence.moved([hello.name])
        if len(self.neighbours) == 1:
            self._convergence.wait(now)
        for name, channel in self._channels.items():
            if name in (TOPOLOGY, SESSION) or name in hello.channels:
                channel.neighbour_joined(hello.name, now)
            else:  # it may have been a neighbour on this one until now: see resolve_duplicate
                channel.neighbour_left(hello.name)
        self._announcements.joined(now)

    def neighbour_said_untrusted(
        self, neighbour: PeerName, message: ControlMessage, now: float
    ) -> None:
        match message:
            case Gossip(name, body):
                channel = self._channels.get(name)
                if channel is not None:
                    channel.receive_gossip_untrusted(neighbour, body, now)
            case Unicast(name, source, destination, _, body) if destination == self.name:
                channel = self._channels.get(name)
                if channel is not None:
                    channel.receive_unicast_untrusted(source, body, neighbour, now)
            case Unicast():
                if message.hop_limit > 0:
                    self._pass_on(message, neighbour, now)
            case Train(size, datagrams):
                self._outputs.append(TrainReceived(neighbour, size, datagrams))
            case _:
                pass  # answered by the connection itself

    def neighbour_left(self, neighbour: PeerName, end: ConnectionEnded, now: float) -> None:
        self._convergence.moved([neighbour])
        self.terminations += 1
        for channel in self._channels.values():
            channel.neighbour_left(neighbour)
        if self._rivals.take_doubted(neighbour):
            self.gossip.compare(self.neighbours.names())  # it was a later life's, perhaps
        if end.code is CloseCode.LEAVING:
            self.links.peer_left(neighbour, now)
        elif not end.planned:
            self.links.neighbour_lost(neighbour, now)
        self._announcements.soon(now)

    # --- inside --------------------------------------------------------------------------

    def _named(self, texts: Collection[str]) -> set[PeerName]:
        """The peers that users may mean by these texts."""
        found = self.targets.peers_at(texts)
        for name in self.topology.known():
            record = self.topology.remembered(name)
            if record is None:
                continue
            places = {word for place in record.endpoints for word in (place.text, place.host)}
            if record.nickname in texts or not places.isdisjoint(texts):
                found.add(name)
        return found

    def _settle(self, now: float) -> None:
        """After any change: let news take effect, and carry messages from part to part."""
        if self.is_stopped:
            return
        self._told_at = now
        if self._announcements.advance(now):
            self._convergence.soon(now)
        if self._convergence.is_due(now):
            self.connections.make_room(None, now)
            self._outputs.append(UseRoutes(self._convergence.recompute(now)))
        self.connections.settle_rivals(now)
        self.connections.call(now)
        self.links.drain_fast(now)
        self._carry(now)
        self._take_all()

    def _carry(self, now: float) -> None:
        """What channels have to say."""
        change = self.topology.take_reachability()
        if change:
            self._unicasts.forget(change.forgotten)
        for name, channel in self._channels.items():
            if change:
                channel.peers_changed(change, now)
            for destination, body in channel.take_unicasts():
                self.send_unicast(Unicast(name, self.name, destination, HOP_LIMIT, body))
            for neighbour, body in channel.take_messages():
                self.connections.send(neighbour, Gossip(name, body))
            self._outputs += channel.take_effects()

    def _take_all(self) -> None:
        self._outputs += self.links.take_outputs()
        self._outputs += self.connections.take_outputs()

    def _describe(self, neighbour: PeerName) -> dict[str, object]:
        """The log's fields for a neighbour."""
        stream = self.neighbours.of(neighbour)
        return {} if stream is None else stream.description

    def _targets_changed(self, now: float) -> None:
        self._outputs.append(KeepState(TARGETS, self.targets.configured))
        self._settle(now)

    def _pass_on(self, message: Unicast, source: PeerName, now: float) -> None:
        """To the next on its way, but never back to the neighbour it came from."""
        via = self._way_to(message.destination)
        if (
            via is not None
            and via != source
            and self._budget.may_forward(source, via, message.body, now)
        ):
            self.send_unicast(message)
        else:
            self.unicasts_undeliverable += 1

    def _way_to(self, destination: PeerName) -> PeerName | None:
        """Through which neighbour a message goes there."""
        via = self.topology.routes.unicast.get(destination)
        if via is None and self.neighbours.of(destination) is not None:
            return destination  # a neighbour whose record has not come yet
        return via

    def send_unicast(self, message: Unicast) -> None:
        """Ours, or what we pass on."""
        via = self._way_to(message.destination)
        if via is None:
            self.unicasts_undeliverable += 1
            return
        hop_limit = min(message.hop_limit, HOP_LIMIT) - 1
        onward = replace(message, hop_limit=hop_limit)
        if not self.connections.send_if_taken(via, onward, len(message.body)):
            self.unicasts_undeliverable += 1
