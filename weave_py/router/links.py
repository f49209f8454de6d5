"""Which data paths do we have? A link per reachable peer, fed from topology and mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set

from weave_py.crypto.identity import Identity
from weave_py.link.control import ControlRecord
from weave_py.link.link import InstallOpener, Link, RemoveOpener, SendControl, SendUnicast
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.errors import WireError
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.router.outputs import (
    WARNING,
    AddPort,
    CloseSession,
    LogEvent,
    OpenSession,
    Output,
    RemovePort,
    SendControlRecord,
)
from weave_py.router.settings import EngineSettings
from weave_py.wire.topology import PeerRecord


class Links:
    """All links by peer. Its outputs are the engine's, but for unicasts, which it hands over."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        suites: Sequence[int],
        token_bytes: Callable[[int], bytes],
        settings: EngineSettings,
    ) -> None:
        self._identity = identity
        self._uid = uid
        self._suites = suites
        self._token_bytes = token_bytes
        self._settings = settings
        self._links: dict[PeerName, Link] = {}
        self._by_index: dict[int, Link] = {}
        self._ported: set[PeerName] = set()
        self._told: dict[PeerName, tuple[PeerRecord, tuple[Endpoint, ...]]] = {}
        """What each link was told last."""
        self._due: dict[PeerName, Deadline] = {}
        """Each link's next deadline, as of its last change: asking all of them every time is what
        a router with many peers would spend most of its time on."""
        self._direct: set[PeerName] = set()
        self._outputs: list[Output] = []
        self._unicasts: list[tuple[PeerName, bytes]] = []
        self._is_full = False

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def get(self, peer: PeerName) -> Link | None:
        return self._links.get(peer)

    @property
    def direct(self) -> Set[PeerName]:
        """The peers that we reach directly."""
        return self._direct

    def observed(self) -> list[Endpoint]:
        """Our addresses as peers see our datagrams coming, sorted."""
        return sorted({link.observed for link in self._links.values() if link.observed})

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
            )
            self._links[peer] = link
        self._told[peer] = (record, places)
        link.peer_known(record.static, record.uid, places, now)
        self._drain(link)

    def set_relay(self, peer: PeerName, via: PeerName | None, now: float) -> None:
        link = self._links.get(peer)
        if link is not None and link.paths.relay != via:
            link.set_relay(via, now)
            self._drain(link)

    def neighbour_joined(self, peer: PeerName, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.neighbour_joined(now)
            self._drain(link)

    def peer_left(self, peer: PeerName, now: float) -> None:
        """It said so itself: its keys are gone, but it may be back soon."""
        link = self._links.get(peer)
        if link is not None:
            link.drop(now)
            self._drain(link)

    def peer_forgotten(self, peer: PeerName, now: float) -> None:
        link = self._links.pop(peer, None)
        self._told.pop(peer, None)
        if link is not None:
            link.drop(now)
            self._drain(link)
            if peer in self._ported:
                self._ported.discard(peer)
                self._outputs.append(RemovePort(peer))

    def receive_unicast_untrusted(self, source: PeerName, body: bytes, now: float) -> None:
        link = self._links.get(source)
        if link is not None:
            link.receive_unicast_untrusted(body, now)
            self._drain(link)

    def receive_control_untrusted(self, record: ControlRecord, now: float) -> None:
        link = self._by_index.get(record.session)
        if link is None:
            return
        try:
            link.receive_control_untrusted(record, now)
        except WireError as error:
            fields = {"peer": link.peer.hex(":"), "error": str(error)}
            self._outputs.append(LogEvent(WARNING, "malformed control record", fields))
        self._drain(link)

    def probe_refused(self, peer: PeerName, probe: int, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.refused(probe, now)
            self._drain(link)

    def woken(self, peer: PeerName, now: float) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.woken(now)
            self._drain(link)

    def advance(self, now: float) -> None:
        for peer in [p for p, due in self._due.items() if now >= due.at]:
            link = self._links[peer]
            link.advance(now)
            self._drain(link)

    # --- out -----------------------------------------------------------------------------

    def take_outputs(self) -> list[Output]:
        taken, self._outputs = self._outputs, []
        return taken

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        """(Destination, body) of session messages to send through the mesh."""
        taken, self._unicasts = self._unicasts, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return earliest(self._due.values())

    # --- inside --------------------------------------------------------------------------

    def _drain(self, link: Link) -> None:
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
                case SendControl(way, body, probe):
                    self._outputs.append(SendControlRecord(link.peer, way, body, probe))
        self._note(link)

    def _note(self, link: Link) -> None:
        """Keep what is asked of all links after every event."""
        is_gone = link.peer not in self._links
        due = None if is_gone else link.next_deadline()
        if due is None:
            self._due.pop(link.peer, None)
        else:
            self._due[link.peer] = due
        if link.paths.is_direct and not is_gone:
            self._direct.add(link.peer)
        else:
            self._direct.discard(link.peer)

    def _new_index(self) -> int:
        while True:
            index = int.from_bytes(self._token_bytes(4), "little")
            if index and index not in self._by_index:
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
        self._outputs.append(AddPort(link.peer, link.outlet))

    def _complain_once(self) -> None:
        if not self._is_full:
            self._is_full = True
            text = (
                f"more than {self._settings.max_ports} peers: the bridge has no port for the rest"
            )
            self._outputs.append(LogEvent(WARNING, text))
