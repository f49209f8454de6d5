"""Which data paths do we have? A link per reachable peer, fed from topology and mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from fastdp.path.paths import FastPathChanged, SendFastStatus
from fastdp.path.reasons import NARROW
from fastdp.path.values import FastState
from weave_py.crypto.identity import Identity
from weave_py.link.control_record import ControlRecord
from weave_py.link.link import InstallOpener, Link, RemoveOpener, SendControl, SendUnicast
from weave_py.link.route_book import Learned, RouteBook
from weave_py.link.session import MIN_INDEX
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.effects import INFO, WARNING, LogEvent
from weave_py.model.errors import WireError
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.token_bucket import TokenBucket
from weave_py.model.underlay import INSIDE, Route
from weave_py.router.fast_links import FastLinks
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    FindRoutes,
    OpenSession,
    Output,
    RemovePort,
    SendControlRecord,
)
from weave_py.router.places import Places
from weave_py.router.settings import EngineSettings
from weave_py.wire import fast_status
from weave_py.wire.topology import PeerRecord

CHECK_EVERY = 1.0  # seconds between two checks of all links
SAY_EVERY = 10.0  # … between two lines about an address that is no way to a peer


class Links:
    """All links by peer. Its outputs are the engine's, but for unicasts, which it hands over."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        suites: Sequence[int],
        token_bytes: Callable[[int], bytes],
        settings: EngineSettings,
        is_secret: bool,
        way_to: Callable[[PeerName], Sequence[PeerName]],
        is_neighbour: Callable[[PeerName], bool],
        load: LocalLoad | None = None,
    ) -> None:
        """`is_secret`: whether frames must be encrypted. `way_to`: over whom a peer is reached, and
        `is_neighbour`: whether by a connection (see router.places). `load`: the router's own."""
        self._load = load or LocalLoad()
        self.routes = RouteBook(settings.asks_routes)
        self._local: tuple[str, ...] = ()
        self._asking: dict[str, set[PeerName]] = {}
        """Whose links wait to hear about which address."""
        self.fast = FastLinks(token_bytes, settings, is_secret, self.routes, self._load)
        self._identity = identity
        self._uid = uid
        self._suites = suites
        self._token_bytes = token_bytes
        self._settings = settings
        self._links: dict[PeerName, Link] = {}
        self._by_index: dict[int, Link] = {}
        self._wanted: set[PeerName] = set()
        """Those that frames were to be sent to."""

        def is_needed(peer: PeerName) -> bool:
            return peer in self._wanted or is_neighbour(peer)

        self._link_places = Places(settings.max_links, way_to, is_needed)
        self._port_places = Places(settings.max_ports, way_to, is_needed)
        self._told: dict[PeerName, tuple[PeerRecord, tuple[Endpoint, ...]]] = {}
        """What each link was told last."""
        self._due: TimerQueue[PeerName] = TimerQueue()
        """Each link's next deadline, as of its last change: asking all of them every time is what
        a router with many peers would spend most of its time on."""
        self._direct: set[PeerName] = set()
        self.direct_changes = 0
        """How often `direct` has changed."""
        self._places: dict[PeerName, Endpoint] = {}
        """Where peers that we reach directly see us."""
        self.observations = 0
        """How often `observed` has changed."""
        self._suspect: set[PeerName] = set()
        self._check_soon = False
        self._checked_at = self._said_at = float("-inf")
        self._outputs: list[Output] = []
        self._unicasts: list[tuple[PeerName, bytes]] = []
        self._is_full = False

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def get(self, peer: PeerName) -> Link | None:
        return self._links.get(peer)

    def has_told(self, peer: PeerName, record: PeerRecord) -> bool:
        """Whether the peer has a link, and that was told of this record last."""
        told = self._told.get(peer)
        return told is not None and told[0] is record

    @property
    def direct(self) -> Set[PeerName]:
        """The peers that we reach directly."""
        return self._direct

    @property
    def observed(self) -> Mapping[PeerName, Endpoint]:
        """Our address as each peer that we reach directly sees our datagrams coming."""
        return self._places

    def reached(self) -> Iterator[Endpoint]:
        """Where we reach peers directly."""
        for peer in self._direct:
            next_hop = self._links[peer].egress.next_hop
            if next_hop is not None and next_hop.endpoint is not None:
                yield next_hop.endpoint

    def route_hosts(self) -> tuple[str, ...]:
        """To which addresses the kernel's way matters. What is known of others is forgotten."""
        hosts = set(self._local)
        for link in self._links.values():
            hosts.update(link.paths.hosts)
        self.routes.keep(hosts)
        return tuple(sorted(hosts))

    def is_eager(self) -> bool:
        """Whether a peer that becomes known gets a link, though nobody asked for it."""
        return len(self._links) < self._settings.eager_links

    # --- in ------------------------------------------------------------------------------

    def peer_known(
        self, record: PeerRecord, peer: PeerName, candidates: Iterable[Endpoint], now: float
    ) -> None:
        """A reachable peer's record, and where it might be reached: makes its link at need.

        Told of all peers whenever anything changes, so what did not change must cost nothing.
        """
        places = tuple(candidates)
        told = self._told.get(peer)
        if told is not None and told[0] is record and told[1] == places:
            return
        link = self._links.get(peer)
        if link is None:
            if not self._find_place(self._link_places, peer, now):
                return
            link = Link(
                self._identity,
                self._uid,
                peer,
                self._suites,
                self._token_bytes,
                self._new_index,
                now,
                self._settings.session,
                self._settings.path,
                self._settings.record_datagrams,
                self._load,
                self.routes,
            )
            self._links[peer] = link
            self._load.links = len(self._links)
        self._told[peer] = (record, places)
        link.peer_known(record.static, record.uid, places, now)
        self._drain(link, now)

    def use_routes(self, routes: RouteTable, now: float) -> None:
        """Which neighbours pass datagrams on follows from the routes. (What these do with them,
        and why nothing goes in circles: `link.forwarding`.)"""
        self._link_places.routes_changed()
        self._port_places.routes_changed()
        for link in list(self._links.values()):
            self._use_route(link, routes, now)

    def use_route(self, peer: PeerName, routes: RouteTable, now: float) -> None:
        """The same for one peer."""
        link = self._links.get(peer)
        if link is not None:
            self._use_route(link, routes, now)

    def _use_route(self, link: Link, routes: RouteTable, now: float) -> None:
        hop = routes.unicast.get(link.peer)
        relay = routes.relay.get(link.peer)
        if relay is None and hop in self._direct:
            relay = hop
        if relay == link.peer:
            relay = None
        if (link.paths.relay, link.paths.tcp) != (relay, hop):
            link.set_relay(relay, hop, now)
            self._drain(link, now)

    def want(self, peer: PeerName) -> None:
        """Frames are going to be sent to it."""
        self._wanted.add(peer)

    def call(self, peer: PeerName, now: float) -> None:
        """Its link is wanted at once; the peer may have none with us yet."""
        link = self._links.get(peer)
        if link is not None:
            link.call(now)
            self._drain(link, now)

    def neighbour_joined(self, peer: PeerName, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.neighbour_joined(now)
            self._drain(link, now)

    def neighbour_lost(self, peer: PeerName, now: float) -> None:
        """A control connection with the peer broke: most likely datagrams do not get through."""
        link = self._links.get(peer)
        if link is not None:
            link.check(now)
            self._drain(link, now)

    def set_local(self, hosts: Iterable[str], now: float) -> None:
        """The underlay addresses of this host."""
        self._local = tuple(hosts)
        self.fast.set_local(self._local)
        for host in self._local:  # is it really here that datagrams to it would go?
            self.routes.may_send(host)
        if questions := self.routes.take_questions():
            self._outputs.append(FindRoutes(questions))
        for link in self._links.values():
            self.fast.link_changed(link, now)

    def routes_found(self, found: Mapping[str, Route], now: float) -> Learned:
        """The kernel has said which way it sends to these."""
        learned = self.routes.learn(found)
        concerned: set[PeerName] = set()
        for host in learned.fresh:
            concerned |= self._asking.pop(host, set())
        if altered := frozenset(learned.altered):
            concerned.update(link.peer for link in self._links.values() if link.has_any(altered))
        if learned.entered and now >= self._said_at + SAY_EVERY:
            self._said_at = now
            fields = {"address": learned.entered[0], "why": INSIDE}
            self._outputs.append(LogEvent(INFO, "no way to a peer", fields))
        for peer in sorted(concerned):
            link = self._links.get(peer)
            if link is not None:
                link.routes_changed(now)
                self._drain(link, now)
        return learned

    def restart(self, now: float) -> None:
        """This host's addresses have changed: prove all paths anew, and so show where we are."""
        for link in list(self._links.values()):
            link.neighbour_joined(now)
            self._drain(link, now)

    def peer_left(self, peer: PeerName, now: float) -> None:
        """It said so itself: its keys are gone, but it may be back soon."""
        link = self._links.get(peer)
        if link is not None:
            self.fast.paths.peer_left(peer, now)
            link.drop(now)
            self._drain(link, now)

    def peer_forgotten(self, peer: PeerName, now: float) -> None:
        link = self._links.pop(peer, None)
        self._load.links = len(self._links)
        self._told.pop(peer, None)
        self._link_places.leave(peer)
        self._wanted.discard(peer)
        if link is not None:
            link.drop(now)
            self._drain(link, now)
            self.fast.forget(peer)
            if peer in self._port_places:
                self._port_places.leave(peer)
                self._outputs.append(RemovePort(peer))

    def is_carrying(self, peer: PeerName, now: float) -> bool:
        """Whether frames of the peer have come through the kernel lately, though its router may
        be silent: its port must stay."""
        path = self.fast.paths.get(peer)
        return path is not None and path.usage.is_alive(now)

    def receive_unicast_untrusted(
        self, source: PeerName, message: bytes, now: float, introducer: TokenBucket
    ) -> None:
        link = self._links.get(source)
        if link is not None and link.receive_unicast_untrusted(message, now, introducer):
            self._drain(link, now)

    def receive_controls_untrusted(self, records: Iterable[ControlRecord], now: float) -> None:
        by_peer: dict[PeerName, list[ControlRecord]] = {}
        for record in records:
            link = self._by_index.get(record.session)
            if link is not None:
                by_peer.setdefault(link.peer, []).append(record)
        for peer, theirs in by_peer.items():
            link = self._links.get(peer)
            if link is None:
                continue
            errors = link.receive_controls_untrusted(theirs, now)
            for body in (r.body for r in theirs if r.body and fast_status.is_fast_status(r.body)):
                try:
                    self.fast.paths.receive_status_untrusted(peer, body, now)
                except WireError as error:
                    errors.append(error)
                if news := self.fast.mtu_news(peer):
                    self._outputs.append(news)
            for wrong in errors:
                fields = {"peer": peer.hex(":"), "error": str(wrong)}
                self._outputs.append(LogEvent(WARNING, "malformed control record", fields))
            self._drain(link, now)
        if self._check_soon:
            self._check_all(now)

    def probe_refused(self, peer: PeerName, probe: int, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.refused(probe, now)
            self._drain(link, now)

    def woken(self, peer: PeerName, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.woken(now)
            self.fast.paths.woken(peer, now)
            self._drain(link, now)

    def fast_counted(self, peer: PeerName, packets_out: int, packets_in: int, now: float) -> None:
        """What the peer's VXLAN device has carried so far."""
        self.fast.paths.counted(peer, packets_out, packets_in, now)
        path, link = self.fast.paths.get(peer), self._links.get(peer)
        if path is not None and link is not None and path.usage.in_use(now) and link.carried(now):
            self._drain(link, now)

    def advance(self, now: float) -> None:
        for peer in self._due.take_due(now):
            link = self._links.get(peer)
            if link is not None:  # (Another may just have had to have its place.)
                link.advance(now)
                self._drain(link, now)
        if self._check_soon:
            self._check_all(now)
        self.fast.paths.advance(now)
        self.drain_fast(now)

    # --- out -----------------------------------------------------------------------------

    def take_outputs(self) -> list[Output]:
        taken, self._outputs = self._outputs, []
        return taken

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        """(Destination, body) of session messages to send through the mesh."""
        taken, self._unicasts = self._unicasts, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return earliest((self._due.first(), self.fast.next_deadline()))

    # --- inside --------------------------------------------------------------------------

    def _drain(self, link: Link, now: float) -> None:
        if questions := self.routes.take_questions():
            self._outputs.append(FindRoutes(questions))
            for host in questions:
                self._asking.setdefault(host, set()).add(link.peer)
        for output in link.take_outputs():
            match output:
                case SendUnicast(body):
                    self._unicasts.append((link.peer, body))
                case InstallOpener(index, opener):
                    if self._add_port(link, now):
                        self._by_index[index] = link
                        self._outputs.append(OpenSession(link.peer, index, opener))
                case RemoveOpener(index):
                    if self._by_index.pop(index, None) is not None:
                        self._outputs.append(CloseSession(index))
                case SendControl(next_hop, body, probe):
                    self._outputs.append(SendControlRecord(link.peer, next_hop, body, probe))
        self._note(link)
        self._watch(link, now)
        if link.peer in self._links:
            self.fast.link_changed(link, now)
            self.drain_fast(now)

    def drain_fast(self, now: float) -> None:
        """Carry on with what the fast paths have to say."""
        for output in self.fast.take_outputs():
            if isinstance(output, SendFastStatus):
                link = self._links.get(output.peer)
                best = link.paths.best if link is not None else None
                if best is not None:
                    record = SendControlRecord(output.peer, best.next_hop, output.body, None)
                    self._outputs.append(record)
                continue
            self._outputs.append(output)
            if isinstance(output, FastPathChanged):
                self._warn_sleeve(output, now)

    def _warn_sleeve(self, change: FastPathChanged, now: float) -> None:
        """What broke the fast path may have broken the sleeve's, too: it must not find out for
        itself, at the cost of more frames."""
        link = self._links.get(change.peer)
        if link is None:
            return
        if change.why in NARROW:
            link.narrowed(now)
        elif change.old is FastState.FAST:
            link.check(now)
        else:
            return
        self._drain(link, now)

    def _watch(self, link: Link, now: float) -> None:
        """What one link finds out may concern others."""
        place, known = link.observed, self._places.get(link.peer)
        if place != known:
            self.observations += 1
        if place is None:
            self._places.pop(link.peer, None)
        elif place != known:
            self._places[link.peer] = place
            if known is not None:
                self._check_soon = True  # our NAT has changed its mind, for others as well
        # (Without keys nobody is asked, and what paths were last they seem to be for ever.)
        is_asked = link.session.current is not None and link.peer in self._links
        if not (is_asked and link.paths.is_suspect):
            self._suspect.discard(link.peer)
            self._load.silent = len(self._suspect)
        elif link.peer not in self._suspect:
            self._suspect.add(link.peer)
            self._load.silent = len(self._suspect)
            # If it is we who have moved, the relay on its detour does not even know yet.
            relay = self._links.get(link.paths.relay or link.paths.tcp or link.peer)
            if relay is not None and relay is not link:
                relay.check(now)
                self._drain(relay, now)

    def _check_all(self, now: float) -> None:
        """Ask all peers whether our paths still work. They also learn from it where we are now."""
        self._check_soon = False
        if now >= self._checked_at + CHECK_EVERY:
            self._checked_at = now
            for link in list(self._links.values()):
                link.check(now)
                self._drain(link, now)

    def _note(self, link: Link) -> None:
        """Keep what is asked of all links after every event."""
        is_gone = link.peer not in self._links
        self._due.set(link.peer, None if is_gone else link.next_deadline())
        is_direct = link.paths.is_direct and not is_gone
        if is_direct != (link.peer in self._direct):
            self.direct_changes += 1
            (self._direct.add if is_direct else self._direct.discard)(link.peer)

    def _new_index(self) -> int:
        while True:
            index = int.from_bytes(self._token_bytes(4), "little")
            if index >= MIN_INDEX and index not in self._by_index:
                return index

    def _find_place(self, places: Places, peer: PeerName, now: float) -> bool:
        if places.take(peer):
            return True
        other = places.in_the_way(peer)
        if other is None:
            return False
        self.peer_forgotten(other, now)
        return places.take(peer)

    def _add_port(self, link: Link, now: float) -> bool:
        """A peer gets its port with its first session: what a record says anybody could make up,
        but there it has proved to be alive and to hold its key. False if there is none for it."""
        if link.peer in self._port_places:
            return True
        if not self._find_place(self._port_places, link.peer, now):
            self._complain_once()
            return False
        self._outputs.append(AddPort(link.peer, link.egress))
        return True

    def _complain_once(self) -> None:
        if not self._is_full:
            self._is_full = True
            text = (
                f"more peers than the bridge has ports for ({self._settings.max_ports}): "
                "not all of them get one"
            )
            self._outputs.append(LogEvent(WARNING, text))
