"""Which data paths do we have? A link per reachable peer, fed from topology and mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from fastdp.path.paths import FastPathChanged, SendFastStatus
from fastdp.path.reasons import NARROW
from fastdp.path.values import FastState
from weave_py.crypto.identity import Identity
from weave_py.link.control_record import ControlRecord
from weave_py.link.link import InstallOpener, Link, RemoveOpener, SendControl, SendUnicast
from weave_py.link.session import MIN_INDEX
from weave_py.link.volley import Standing
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.effects import WARNING, LogEvent
from weave_py.model.errors import WireError
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.token_bucket import TokenBucket
from weave_py.router.fast_links import FastLinks
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    OpenSession,
    Output,
    RemovePort,
    SendControlRecord,
)
from weave_py.router.settings import EngineSettings
from weave_py.wire import fast_status
from weave_py.wire.topology import PeerRecord

CHECK_EVERY = 1.0  # seconds between two checks of all links


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
        load: LocalLoad | None = None,
    ) -> None:
        """`is_secret`: whether frames must be encrypted. `load`: the router's own."""
        self._load = load or LocalLoad()
        self.standing = Standing()
        self._local: frozenset[Endpoint] = frozenset()
        self.fast = FastLinks(token_bytes, settings, is_secret, self._load)
        self._identity = identity
        self._uid = uid
        self._suites = suites
        self._token_bytes = token_bytes
        self._settings = settings
        self._links: dict[PeerName, Link] = {}
        self._by_index: dict[int, Link] = {}
        self._ported: set[PeerName] = set()
        self._told: dict[PeerName, tuple[PeerRecord, tuple[Endpoint, ...], Endpoint | None]] = {}
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
        self._ready_soon = False
        """We have just been seen for the first time: and others may know: what volleys wait for."""
        self._checked_at = float("-inf")
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

    def is_eager(self) -> bool:
        """Whether a peer that becomes known gets a link, though nobody asked for it."""
        return len(self._links) < self._settings.eager_links

    # --- in ------------------------------------------------------------------------------

    def peer_known(
        self,
        record: PeerRecord,
        peer: PeerName,
        candidates: Iterable[Endpoint],
        now: float,
        called: Endpoint | None = None,
    ) -> None:
        """A reachable peer's record, and where it might be reached: makes its link at need.
        `called`: where we have called it.

        Told of all peers whenever anything changes, so what did not change must cost nothing.
        """
        places = tuple(candidates)
        told = self._told.get(peer)
        if told is not None and told[0] is record and told[1:] == (places, called):
            return
        link = self._links.get(peer)
        if link is None:
            if len(self._links) >= self._settings.max_links:
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
                self.standing,
            )
            self._links[peer] = link
            self._load.links = len(self._links)
        self._told[peer] = (record, places, called)
        link.peer_known(record.static, record.uid, places, now, record.order.version, called)
        self._drain(link, now)

    def use_routes(self, routes: RouteTable, now: float) -> None:
        """Which neighbours pass datagrams on follows from the routes. (What these do with them,
        and why nothing goes in circles: `link.forwarding`.)"""
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

    def announced(self, version: int, is_seen: bool) -> None:
        """This version of our record tells others where we are. `is_seen`: also where peers see us
        (which may be just there)."""
        self._ready_soon |= is_seen and not self.standing.is_seen
        self.standing.version, self.standing.is_seen = version, is_seen

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

    def set_local(self, places: Iterable[Endpoint], now: float) -> None:
        """Where this router is, as its host knows."""
        self._local = frozenset(places)
        self._note_standing()
        self.fast.set_local([place.host for place in places])
        for link in self._links.values():
            self.fast.link_changed(link, now)

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
        if link is not None:
            link.drop(now)
            self._drain(link, now)
            self.fast.forget(peer)
            if peer in self._ported:
                self._ported.discard(peer)
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
            link = self._links[peer]
            errors = link.receive_controls_untrusted(theirs, now)
            for body in (r.body for r in theirs if r.body and fast_status.is_fast_status(r.body)):
                try:
                    self.fast.paths.receive_status_untrusted(peer, body, now)
                except WireError as error:
                    errors.append(error)
            for wrong in errors:
                fields = {"peer": peer.hex(":"), "error": str(wrong)}
                self._outputs.append(LogEvent(WARNING, "malformed control record", fields))
            self._drain(link, now)
        self._follow(now)

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
            link = self._links[peer]
            link.advance(now)
            self._drain(link, now)
        self._follow(now)
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
        for output in link.take_outputs():
            match output:
                case SendUnicast(body):
                    self._unicasts.append((link.peer, body))
                case InstallOpener(index, opener):
                    self._add_port(link)
                    self._by_index[index] = link
                    self._outputs.append(OpenSession(link.peer, index, opener))
                case RemoveOpener(index):
                    self._by_index.pop(index, None)
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
                del self._places[link.peer]
            else:
                self._places[link.peer] = place
            self._note_standing()
        if known is not None and place not in (None, known):
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

    def _follow(self, now: float) -> None:
        """Let all links follow from what one has found out."""
        if self._ready_soon:
            self._ready_soon = False
            for link in list(self._links.values()):
                link.advance(now)
                self._drain(link, now)
        if self._check_soon:
            self._check_all(now)

    def _note_standing(self) -> None:
        """Has a NAT left us our port? Then it may be lost to others (link.volley)."""
        hosts = {place.host for place in self._local}
        ports = {place.port for place in self._local}
        seen = self._places.values()
        self.standing.gives_way = not any(p.host not in hosts and p.port in ports for p in seen)

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

    def _add_port(self, link: Link) -> None:
        """A peer gets its port with its first session: what a record says anybody could make up,
        but there it has proved to be alive and to hold its key."""
        if link.peer in self._ported:
            return
        if len(self._ported) >= self._settings.max_ports:
            self._complain_once()
            return
        self._ported.add(link.peer)
        self._outputs.append(AddPort(link.peer, link.egress))

    def _complain_once(self) -> None:
        if not self._is_full:
            self._is_full = True
            text = (
                f"more than {self._settings.max_ports} peers: the bridge has no port for the rest"
            )
            self._outputs.append(LogEvent(WARNING, text))
