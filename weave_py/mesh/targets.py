"""Whom should we call, and when again? Targets that users gave, and peers discovered by gossip.

Configured targets are called for ever (a name is resolved anew each time). Discovered peers are
called while we want more control connections than we have: all of them in a small network, so
that it becomes the full mesh that Weave's users expect; in a larger one a few, chosen by a hash
that is different for every peer (`mesh.neighbour_choice`): a well-connected random graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from weave_py.mesh.neighbour_choice import NeighbourChoice
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, Target


@dataclass(frozen=True, slots=True)
class TargetSettings:
    first_retry: float = 0.5
    """Seconds; then times `retry_factor` up to `longest_retry`, each ± 50 %."""
    retry_factor: float = 1.6
    longest_retry: float = 30.0
    concurrent: int = 8
    """Calls at a time: no storms when a hundred peers appear at once …"""
    unanswered_after: float = 1.0
    """… but for those that have waited for so many seconds: dead addresses, of which there may be
    many in a list, must not keep the living ones waiting."""
    most: int = 64
    """Calls at a time, with those."""
    enough: int = 4
    """With as many neighbours we are well connected. Whom else we discovered is called `pace`
    seconds apart (± 50 %, and longer while we are late ourselves), `leisurely` at a time: the mesh
    works already, and dozens of handshakes at once would keep it from doing so."""
    pace: float = 0.1
    leisurely: int = 3
    full_mesh_up_to: int = 32
    """Peers in a network in which everybody connects to everybody."""
    sparse_degree: int = 4
    """In a larger network: how many discovered peers each peer wants to call. As many call it, so
    it has about twice as many connections, and no three peers can cut the network in two (random
    k-out graphs are k-connected: Fenner and Frieze, 1982)."""
    trim_above: int = 64
    """In a network with more peers than this, connections that we made when it was smaller and
    would not make today are ended, also those with configured targets: these would else be
    neighbours of everybody, and every change of their large records news for all. (Not just above
    `full_mesh_up_to`, or one peer that comes and goes would make and end hundreds.)"""
    trim_after: float = 5.0
    """… once they have been superfluous for so long."""
    known_after: float = 180.0
    """… and never in favour of peers that we have known for less than this: identities are free,
    and whoever makes up many would else be everybody's only neighbours within seconds."""
    kept_longest: int = 2
    """… nor those with the peers that we have known longest."""
    courtesy: float = 1.0
    """Of two peers that discover each other the lower-named calls; the other waits this long, and
    a pace more for each one above `enough` that has to be called."""


@dataclass(frozen=True, slots=True)
class Call:
    """Please connect to `host`:`port`. Answer with Targets.failed or .reached for `key`."""

    key: str
    host: str
    port: int


@dataclass(slots=True)
class _Attempt:
    """What we know about one address to call."""

    host: str
    port: int
    configured: bool
    peer: PeerName | None = None
    """Who answered there last time, or whom we expect there (discovered)."""
    due: float = 0.0
    interval: float = 0.0
    calling: bool = False
    called_at: float = 0.0
    error: str = ""
    never: bool = False
    """Calling again makes no sense: it is not the peer we look for."""
    wanted: bool = True
    """(Discovered) The peer is still looked for, and says that it is there."""
    forgotten: bool = False
    """(Discovered) Not heard of for long: called rarely, and not worth a line in the status."""
    resting: bool = False
    """(Configured) Not called as long as the mesh reaches it: see `rest`."""


@dataclass(frozen=True, slots=True)
class AttemptView:
    """For status: an address without a live connection."""

    address: str
    calling: bool
    error: str
    retry_at: float | None


class Targets:
    """All addresses to call. Pure bookkeeping: `due` says whom to call now."""

    def __init__(
        self,
        ourself: PeerName,
        jitter: Callable[[], float],
        settings: TargetSettings | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`jitter` returns a uniform random number in [0, 1). `load`: the router's own."""
        self._load = load or LocalLoad()
        self._leisure_at = float("-inf")
        """When the next call may be made that is not urgent."""
        self._ourself = ourself
        self._jitter = jitter
        self._settings = settings or TargetSettings()
        self._attempts: dict[str, _Attempt] = {}
        self._connected: frozenset[PeerName] = frozenset()
        self._left_alone: dict[PeerName, float] = {}
        self._choice = NeighbourChoice(ourself, self._settings.sparse_degree)
        self._known_since: dict[PeerName, float] = {}
        """When we first heard of each peer that there is."""
        self._old_choice = NeighbourChoice(ourself, self._settings.sparse_degree)
        """As `_choice`, among peers that we have known for long."""
        self._superfluous: dict[PeerName, float] = {}
        """Since when each of the connections we made is one that we would not make today."""
        self._reachable: Collection[PeerName] = ()
        self._next: Deadline | None = None
        self._is_stale = False
        """Whether `_next` may not be the next call's time any more."""

    # --- configured ----------------------------------------------------------------------

    @property
    def configured(self) -> tuple[str, ...]:
        """The targets users gave, as they typed them."""
        return tuple(key for key, a in self._attempts.items() if a.configured)

    def connect(self, targets: Iterable[Target], now: float, replace: bool = False) -> None:
        """Add targets; one already known is called again at once."""
        self._is_stale = True
        wanted = list(targets)
        if replace:
            keep = {target.text for target in wanted}
            self.forget(key for key in self.configured if key not in keep)
        for target in wanted:
            attempt = self._attempts.setdefault(
                target.text, _Attempt(target.host, target.port, configured=True, due=now)
            )
            attempt.configured = True
            attempt.never = attempt.resting = False
            attempt.due, attempt.interval = now, 0.0

    def forget(self, texts: Iterable[str]) -> None:
        """Stop calling these; live connections stay."""
        self._is_stale = True
        for text in list(texts):
            attempt = self._attempts.get(text)
            if attempt is not None and attempt.configured:
                del self._attempts[text]

    def peers_at(self, texts: Collection[str]) -> set[PeerName]:
        """Who answered last at these addresses, or is expected there."""
        return {a.peer for key, a in self._attempts.items() if key in texts and a.peer is not None}

    def leads_to(self, name: PeerName) -> bool:
        """Whether a configured target is this peer."""
        return any(a.configured and a.peer == name for a in self._attempts.values())

    # --- discovered ----------------------------------------------------------------------

    def discover(
        self,
        peers: Mapping[PeerName, tuple[Endpoint, ...]],
        connected: frozenset[PeerName],
        room: int,
        now: float,
        reachable: Collection[PeerName] | None = None,
        called: frozenset[PeerName] = frozenset(),
        forgotten: Mapping[PeerName, tuple[Endpoint, ...]] = MappingProxyType({}),
    ) -> None:
        """Say which peers exist, where they listen, which of them we are connected with, and how
        many more connections there may be; who is `reachable` (all, if that is not said), and with
        whom we are connected because we called. `forgotten`: peers that nobody has heard of for
        long, and where they were."""
        self._is_stale = True
        self._connected = connected
        self._reachable = peers if reachable is None else reachable
        self._left_alone = {name: t for name, t in self._left_alone.items() if t > now}
        chosen = self._choice.choose(peers.keys(), self._reachable)
        wanted = self._wanted(peers, chosen, room)
        announced = {name: {place.text for place in peers[name]} for name in wanted}
        announced |= {name: {place.text for place in at} for name, at in forgotten.items()}
        for key in [k for k, a in self._attempts.items() if not a.configured]:
            attempt = self._attempts[key]
            attempt.wanted = attempt.peer is not None and key in announced.get(attempt.peer, ())
            if not attempt.calling and not attempt.wanted:
                del self._attempts[key]
            elif attempt.forgotten and attempt.peer not in forgotten:
                attempt.forgotten = False
                attempt.due = now  # it is back
        self._seek(forgotten, now)
        many = max(len(wanted) - self._settings.enough, 0)
        courtesy = self._settings.courtesy + self._settings.pace * many
        anyway = {(a.host, a.port) for a in self._attempts.values() if a.configured}
        anyway -= {(a.host, a.port) for a in self._attempts.values() if a.resting}
        for name in wanted:
            for place in peers[name]:
                if place.text not in self._attempts and (place.host, place.port) not in anyway:
                    wait = 0.0 if self._ourself < name else courtesy
                    self._attempts[place.text] = _Attempt(
                        place.host, place.port, configured=False, peer=name, due=now + wait
                    )
        spare = self._spare(peers.keys(), chosen, called, now)
        self._superfluous = {name: self._superfluous.get(name, now) for name in sorted(spare)}

    def _spare(
        self,
        peers: Set[PeerName],
        chosen: frozenset[PeerName],
        called: frozenset[PeerName],
        now: float,
    ) -> frozenset[PeerName]:
        """Those we called that we would not call today, even if there were only those peers that
        we have known for long."""
        s = self._settings
        since = self._known_since = {name: self._known_since.get(name, now) for name in peers}
        if len(peers) <= s.trim_above:
            return frozenset()
        old = {name for name, at in since.items() if at <= now - s.known_after}
        self._old_choice.choose(old, self._reachable)
        ahead = self._old_choice.last_chosen
        longest = sorted(called & peers, key=lambda name: (since[name], name))[: s.kept_longest]
        return frozenset(
            name
            for name in called - chosen - frozenset(longest)
            if ahead is not None and self._old_choice.rank(name) > ahead
        )

    def _seek(self, forgotten: Mapping[PeerName, tuple[Endpoint, ...]], now: float) -> None:
        """From now on call these, too, each as rarely as we ever do."""
        pause = self._settings.longest_retry
        for name, places in forgotten.items():
            for place in places:
                attempt = self._attempts.get(place.text)
                if attempt is None:
                    due = now + pause * (0.5 + self._jitter())
                    attempt = _Attempt(place.host, place.port, False, name, due, pause)
                    self._attempts[place.text] = attempt
                attempt.forgotten = not attempt.configured

    def leave_alone(self, name: PeerName, until: float) -> None:
        """One of us has no room for the other: rather look for others for a while."""
        self._left_alone[name] = until

    def take_superfluous(self, now: float) -> list[PeerName]:
        """Neighbours that we called once and would not call today, for a while already; each is
        said again only after as long a while."""
        since = now - self._settings.trim_after
        found = [name for name, t in self._superfluous.items() if t <= since]
        self._superfluous.update(dict.fromkeys(found, now))
        return found

    def _wanted(
        self,
        peers: Mapping[PeerName, tuple[Endpoint, ...]],
        chosen: frozenset[PeerName],
        room: int,
    ) -> list[PeerName]:
        is_small = len(peers) < self._settings.full_mesh_up_to
        missing = [n for n in (peers if is_small else chosen) if n not in self._connected]
        if self._connected:  # in need we may not be choosy
            missing = [name for name in missing if name not in self._left_alone]
        # Each begins with those that follow it, not all with the same ones.
        order = sorted(missing, key=lambda name: (name < self._ourself, name))
        return [name for name in order if peers[name]][: max(room, 0)]

    # --- calling -------------------------------------------------------------------------

    def due(self, now: float) -> list[Call]:
        """Whom to call now; they count as being called from here on."""
        first = self.next_deadline()
        if first is None or now < first.at:
            return []
        self._is_stale = True
        calls: list[Call] = []
        busy = sum(a.calling for a in self._attempts.values())
        busy_peers = {a.peer for a in self._attempts.values() if a.calling}
        # Longest due first: an address that fails again and again must not keep others waiting.
        for key, attempt in sorted(self._attempts.items(), key=lambda item: item[1].due):
            if self._is_full(now):
                break
            if not self._is_waiting(attempt) or attempt.due > now:
                continue
            if attempt.peer is not None and attempt.peer in busy_peers:
                continue  # one address of a peer at a time
            if not self._is_urgent(attempt):
                if busy + len(calls) >= self._settings.leisurely or now < self._leisure_at:
                    continue
                pace = self._settings.pace * (0.5 + self._jitter())
                self._leisure_at = now + max(pace, 2 * self._load.delay(now))
            attempt.calling = True
            attempt.called_at = now
            busy_peers.add(attempt.peer)
            calls.append(Call(key, attempt.host, attempt.port))
        return calls

    def _is_full(self, now: float) -> bool:
        """Whether there are as many calls as there may be."""
        at = [a.called_at for a in self._attempts.values() if a.calling]
        fresh = sum(t + self._settings.unanswered_after > now for t in at)
        return fresh >= self._settings.concurrent or len(at) >= self._most

    @property
    def _most(self) -> int:
        return max(self._settings.most, self._settings.concurrent)

    def _is_urgent(self, attempt: _Attempt) -> bool:
        return attempt.configured or len(self._connected) < self._settings.enough

    def _is_waiting(self, attempt: _Attempt) -> bool:
        connected = attempt.peer is not None and attempt.peer in self._connected
        return not (attempt.calling or attempt.never or connected or self._rests(attempt))

    def _rests(self, attempt: _Attempt) -> bool:
        return attempt.resting and bool(self._connected) and attempt.peer in self._reachable

    def reached(self, key: str, peer: PeerName) -> bool:
        """The call led to this peer (which may be connected twice now; that is settled later).
        Whether that is news."""
        self._is_stale = True
        attempt = self._attempts.get(key)
        if attempt is None:
            return False
        is_news = attempt.peer != peer
        attempt.calling = False
        attempt.error = ""
        attempt.interval = 0.0
        attempt.resting = False
        if attempt.configured:
            attempt.peer = peer
        else:
            # Somebody else's address too (private networks are much alike): the peer that we
            # expected is not there, and is to be remembered so that `discover` does not ask again.
            attempt.never = peer != attempt.peer
        return is_news

    def failed(
        self, key: str, error: str, now: float, pause: float = 0.0, *, backs_off: bool = True
    ) -> None:
        """The call, or the connection it led to, failed. Next try after a random time, which grows
        unless we need not back off, and not before `pause` seconds."""
        self._is_stale = True
        attempt = self._attempts.get(key)
        if attempt is None:
            return
        if not attempt.configured and not attempt.wanted:
            del self._attempts[key]  # while we called, the peer was forgotten
            return
        attempt.calling = False
        attempt.error = error
        s = self._settings
        factor = s.retry_factor if backs_off else 1.0
        attempt.interval = min(max(attempt.interval * factor, s.first_retry), s.longest_retry)
        attempt.due = now + max(attempt.interval * (0.5 + self._jitter()), pause)

    def hurry(self, now: float) -> None:
        """There is new hope for all of them: call again as if nothing had failed so far."""
        self._is_stale = True
        for attempt in self._attempts.values():
            attempt.due, attempt.interval = min(attempt.due, now), 0.0

    def rest(self, key: str) -> None:
        """A configured target had no room for us, or is not needed as a neighbour: it is not
        called again as long as the mesh reaches it and we have others."""
        self._is_stale = True
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.configured:
            attempt.resting = True

    def set_connected(self, connected: frozenset[PeerName]) -> None:
        self._is_stale = True
        self._connected = connected

    # --- out -----------------------------------------------------------------------------

    def next_deadline(self) -> Deadline | None:
        if self._is_stale:
            self._is_stale = False
            self._next = self._next_call()
        return self._next

    def _next_call(self) -> Deadline | None:
        calling = {a.peer for a in self._attempts.values() if a.calling}
        ats = sorted(a.called_at for a in self._attempts.values() if a.calling)
        busy, soonest = len(ats), float("-inf")
        if busy >= self._most:
            return None  # `failed` or `reached` comes first
        if busy >= self._settings.concurrent:
            soonest = ats[-self._settings.concurrent] + self._settings.unanswered_after
        return earliest(
            Deadline(
                max(a.due if is_urgent else max(a.due, self._leisure_at), soonest), f"call {key}"
            )
            for key, a in self._attempts.items()
            if self._is_waiting(a) and (a.peer is None or a.peer not in calling)
            if (is_urgent := self._is_urgent(a)) or busy < self._settings.leisurely
        )

    def next_trim(self) -> Deadline | None:
        """When `take_superfluous` has something to say."""
        if not self._superfluous:
            return None
        return Deadline(min(self._superfluous.values()) + self._settings.trim_after, "trim")

    def unconnected(self) -> list[AttemptView]:
        """Configured targets and discovered addresses that were tried, without a connection."""
        return [
            AttemptView(key, a.calling, a.error, None if a.never or self._rests(a) else a.due)
            for key, a in self._attempts.items()
            if (a.configured or a.error or a.calling)
            and not a.forgotten
            and not (a.peer is not None and a.peer in self._connected)
        ]
