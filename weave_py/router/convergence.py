"""What follows from the topology? Convergence: routes, links with peers, and whom to call.

A change is followed at once if nothing was lately, and otherwise a little later, together with
what else changes until then: the more peers, the longer it takes and the less often it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.deadlines import Deadline
from weave_py.model.load import LocalLoad
from weave_py.model.names import MAX_NEIGHBOURS, Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.router.candidates import CandidateAddresses, RecordOf
from weave_py.router.links import Links
from weave_py.router.neighbours import Neighbours
from weave_py.router.settings import EngineSettings

MANY = 100  # peers; with more than that it is done proportionally less often
SOUGHT = 8  # forgotten peers that are called at a time
SOUGHT_AMONG = 64  # who was forgotten last
SEEK_OTHERS = 60.0  # seconds until others of them are called
LINGER = 30.0  # seconds between looks at whether the kernel still carries a lost peer's frames


class Convergence:
    """`soon` after changes, `follow` when it `is_due`; `advance` at the `next_deadlines`."""

    def __init__(
        self,
        topology: Topology,
        neighbours: Neighbours,
        links: Links,
        targets: Targets,
        settings: EngineSettings,
        load: LocalLoad,
    ) -> None:
        """`load`: the router's own."""
        self.own_hosts: frozenset[str] = frozenset()
        """The underlay addresses of this host."""
        self._topology = topology
        self._neighbours = neighbours
        self._links = links
        self._targets = targets
        self._settings = settings
        self._load = load
        self._affected: set[PeerName] = set()
        """Peers that we reach elsewhere, or not any more, since we last followed."""
        self._due_at: float | None = None
        self._recomputed_at = float("-inf")
        self._linger_at: float | None = None
        """When to look again at peers that are forgotten but for the frames that still come."""
        self._seek_at: float | None = None
        """When to call other forgotten peers."""
        self._discover_at: float | None = None
        """Until when nobody that we hear of is called."""

    # --- in ------------------------------------------------------------------------------

    def moved(self, peers: Iterable[PeerName]) -> None:
        """We reach these elsewhere, or not any more."""
        self._affected.update(peers)

    def wait(self, now: float) -> None:
        """We have our first neighbour: see EngineSettings.discover_after."""
        self._discover_at = now + self._settings.discover_after

    def soon(self, now: float) -> None:
        """The topology has changed, or something else that what follows from it depends on."""
        if self._due_at is None:
            pause = self._settings.refresh_every * max(1.0, len(self._topology) / MANY)
            self._due_at = max(now, self._recomputed_at + pause + self._load.delay(now))

    def advance(self, now: float) -> None:
        if self._discover_at is not None and now >= self._discover_at:
            self._discover_at = None
            self.soon(now)
        if self._seek_at is not None and now >= self._seek_at:
            self._seek_at = None
            self.soon(now)
        if self._linger_at is not None and now >= self._linger_at:
            self._linger_at = None
            self.soon(now)
        forget = self._topology.next_deadline()
        if forget is not None and now >= forget.at:
            self.soon(now)

    def is_due(self, now: float) -> bool:
        return self._due_at is not None and now >= self._due_at

    def recompute(self, now: float) -> RouteTable:
        """Let routes, links and targets follow; the routes from now on."""
        self._due_at = self._linger_at = None
        self._recomputed_at = now
        self._topology.refresh(now)
        routes = self._topology.routes
        places = self._places()
        for name in sorted(self._topology.take_changed() | self._affected):
            record = self._topology.record(name)
            if record is None or name == self._topology.ourself.name or name not in routes.hops:
                continue
            its_places = record.endpoints
            self._neighbours.admission.know((place.host for place in its_places), record.static)
            if self._links.get(name) or self._links.is_eager() or self._neighbours.of(name):
                self._links.peer_known(record, name, places[name], now, self._called(name))
        self._affected.clear()
        for link in list(self._links):
            if self._topology.record(link.peer) is not None:
                continue
            is_lost = not self._topology.is_nobodys(link.peer)  # (not: refused)
            if is_lost and self._links.is_carrying(link.peer, now):
                self._linger_at = now + LINGER  # nothing else may happen to make us look again
            else:
                self._links.peer_forgotten(link.peer, now)
        self._links.use_routes(routes, now)
        if self._settings.discovery and self._discover_at is None:
            self._discover(self._places(dialled=True), routes, now)
        return routes

    def make_link(self, peer: PeerName, now: float) -> None:
        """A data path to this peer is wanted, if we know it."""
        record = None if peer == self._topology.ourself.name else self._topology.record(peer)
        routes = self._topology.routes
        if record is None or peer not in routes.hops:
            return
        self._links.peer_known(record, peer, self._places()[peer], now, self._called(peer))
        self._links.use_route(peer, routes, now)

    # --- out -----------------------------------------------------------------------------

    def next_deadlines(self) -> Iterator[Deadline | None]:
        if self._discover_at is not None:
            yield Deadline(self._discover_at, "discover")
        if self._seek_at is not None:
            yield Deadline(self._seek_at, "call other forgotten peers")
        if self._linger_at is not None:
            yield Deadline(self._linger_at, "does the kernel still carry a lost peer's frames?")
        if self._due_at is not None:
            # Forgetting waits for it: it is not due before (or we would be woken again and again
            # until then).
            yield Deadline(self._due_at, "routes")
        else:
            yield self._topology.next_deadline()

    # --- inside --------------------------------------------------------------------------

    def _discover(self, places: CandidateAddresses, routes: RouteTable, now: float) -> None:
        """Call peers that we have heard of."""
        neighbours = self._neighbours
        limit = min(self._settings.conn_limit or MAX_NEIGHBOURS, MAX_NEIGHBOURS)
        room = limit - len(neighbours)
        called = frozenset(n for n, _, c in neighbours.established() if c.outbound)
        lost = self._to_seek(now)
        self._targets.discover(places, neighbours.names(), room, now, routes.hops, called, lost)

    def _to_seek(self, now: float) -> dict[PeerName, tuple[Endpoint, ...]]:
        """Some of the peers that were forgotten. If the network has fallen in two for so long that
        each half forgot the other, somebody must call across, and nobody may be a target."""
        forgotten = self._topology.forgotten(SOUGHT_AMONG)
        self._seek_at = None
        if len(forgotten) > SOUGHT:
            self._seek_at = now + SEEK_OTHERS
            start = int(now // SEEK_OTHERS) * SOUGHT % len(forgotten)
            forgotten = [*forgotten[start:], *forgotten[:start]][:SOUGHT]
        places = self._places(self._topology.remembered, dialled=True)
        return {name: places[name] for name in forgotten}

    def _called(self, peer: PeerName) -> Endpoint | None:
        """Where we have called a neighbour."""
        stream = self._neighbours.of(peer)
        connection = None if stream is None else stream.connection
        return connection.remote if connection is not None and connection.outbound else None

    def _places(
        self, record_of: RecordOf | None = None, dialled: bool = False
    ) -> CandidateAddresses:
        """`dialled`: for control connections. (Links find out themselves what must not be.)"""

        def reached(name: PeerName) -> Endpoint | None:
            stream = self._neighbours.of(name)
            return None if stream is None else stream.place

        def is_left_out(host: str) -> bool:
            return self._is_here(host) or (dialled and self._links.routes.is_inside(host))

        topology = self._topology
        return CandidateAddresses(
            topology.names, record_of or topology.record, reached, is_left_out
        )

    def _is_here(self, host: str) -> bool:
        """Whether that is this very host: as the kernel says, or else as far as we know."""
        route = self._links.routes.get(host)
        return host in self.own_hosts if route is None else route.here
