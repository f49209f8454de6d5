"""Which ways to a peer are there, and which one is best? Candidates, and path selection.

Every way is probed through the session (link.path): an answer proves both directions, measures
the round trip, and (for large probes) the path MTU. The order is: straight by UDP; by UDP through
a relay; inside the control connection of a neighbour, which may be the peer. The latter two rest
while a better one works, and are proved again as soon as that one misses an answer; they take over
when it has missed several, well before it is given up, and hand back at its next answer.

When the peer is heard from a new place (its NAT has changed its mind, or it has moved), both that
place and the old one are asked: if only the new one answers, it is taken at once. (The idea is
that of RFC 9000, section 9; a probe is its path challenge.)

Nothing is sent to an address that the kernel reaches through the inner network, nor before the
kernel has said whether it does (`link.route_book`): such a way lasts only while it is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from weave_py.link.egress import NextHop
from weave_py.link.path import Path, PathSettings, PathState
from weave_py.link.route_book import RouteBook
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.underlay import INSIDE

FRESH = 2.0  # seconds for which an answer proves a way that was not probed regularly


class ProbeRequest(NamedTuple):
    """Please send a probe of `datagram_bytes` this way."""

    next_hop: NextHop
    number: int
    datagram_bytes: int


class Paths:
    """All ways to one peer."""

    def __init__(
        self,
        settings: PathSettings | None = None,
        load: LocalLoad | None = None,
        routes: RouteBook | None = None,
    ) -> None:
        """`load`: the router's own, and so are `routes`."""
        self._routes = routes or RouteBook(is_asked=False)
        self._settings = settings or PathSettings()
        self._load = load or LocalLoad()
        self._direct: dict[Endpoint, Path] = {}
        self._told: frozenset[Endpoint] = frozenset()
        self._relay: Path | None = None
        self._tcp: Path | None = None
        self._best: Path | None = None
        self._number = 0
        self._has_hope = False

    @property
    def best(self) -> Path | None:
        return self._best

    @property
    def relay(self) -> PeerName | None:
        """The neighbour through which the peer can be reached by UDP, if any."""
        return self._relay.next_hop.relay if self._relay else None

    @property
    def tcp(self) -> PeerName | None:
        """The neighbour inside whose control connection the peer can be reached, if any."""
        return self._tcp.next_hop.relay if self._tcp else None

    @property
    def detour_way(self) -> NextHop | None:
        """Where to send what is not to go straight."""
        path = self._relay or self._tcp
        return path.next_hop if path else None

    @property
    def is_direct(self) -> bool:
        return self._best is not None and self._best.next_hop.endpoint is not None

    @property
    def is_sound(self) -> bool:
        """The path in use works, and no answer is overdue."""
        return self._best is not None and self._best.is_sound

    @property
    def is_suspect(self) -> bool:
        """The path in use misses an answer."""
        return self._best is not None and not self._best.is_sound

    @property
    def why(self) -> str:
        """Reason codes (docs/paths.md): why there is no better path; empty when there is none
        better."""
        if self.is_direct:
            return ""
        code = "direct-unanswered" if self._direct else "no-direct-address"
        if self._direct and all(self._routes.is_inside(place.host) for place in self._direct):
            code = INSIDE
        if self._best is not None and not self._best.next_hop.tcp:
            return code
        return f"{code},{'relay-unanswered' if self._relay else 'no-relay'}"

    @property
    def hosts(self) -> Iterable[str]:
        """The addresses at which the peer might be reached directly."""
        return (place.host for place in self._direct)

    def has_any(self, hosts: Collection[str]) -> bool:
        """Whether the peer might be reached directly at one of these addresses."""
        return any(place.host in hosts for place in self._direct)

    @property
    def direct_ways(self) -> list[Path]:
        """The straight ways that answer, those that miss an answer included; the one in use
        first, then the quickest."""
        up = [p for p in self._direct.values() if p.state is PathState.UP]
        good = [p for p in up if not self._is_left(p, up)]
        return sorted(good, key=lambda path: (path is not self._best, path.rtt or 0.0))

    def take_probe_trigger(self) -> bool:
        """Whether there was news since the last call that make a direct path more likely."""
        taken, self._has_hope = self._has_hope, False
        return taken

    # --- which ways there are ------------------------------------------------------------

    def set_candidates(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """Where the peer might be reached, best guess first."""
        told = list(dict.fromkeys(endpoints))[: self._settings.max_candidates]
        self._has_hope |= not self._told.issuperset(told)
        self._told = frozenset(told)
        for place in told:
            if place not in self._direct:
                self._direct[place] = Path(NextHop(place, None), now, self._settings)
        for place in [p for p in self._direct if p not in self._told]:
            if self._direct[place].state is not PathState.UP:
                self._drop(place)

    def heard_from(self, place: Endpoint, now: float) -> None:
        """An authentic record came from this address: the peer (or its NAT) is there."""
        if self._routes.is_inside(place.host):
            return
        path = self._direct.get(place)
        if path is None:
            unproven = [p for p in self._direct if self._is_hearsay(p)]
            if len(unproven) >= self._settings.max_heard:
                self._drop(unproven[0])
            path = self._direct[place] = Path(NextHop(place, None), now, self._settings)
            self._drop_strays()
        path.heard_at = now
        best = self._best
        if (
            path.state is not PathState.UP
            and best is not None
            and best.next_hop.endpoint is not None
        ):
            best.check(now)  # has the peer moved?
        # Anybody on the way can send a true record again from an address of their choice: what
        # that makes us send there must stay little.
        path.poke(now)

    def set_relay(self, via: PeerName | None, now: float) -> None:
        """The neighbour through which the peer can be reached by UDP, if any."""
        if via != self.relay:
            self._relay = None if via is None else self._detour(NextHop(None, via), now)

    def set_tcp(self, via: PeerName | None, now: float) -> None:
        """The neighbour (or the peer itself) inside whose control connection datagrams may go."""
        if via != self.tcp:
            self._tcp = None if via is None else self._detour(NextHop(None, via, True), now)

    # --- reasons to probe ----------------------------------------------------------------

    def restart(self, now: float) -> None:
        """The peer started anew, or we have new hope: prove everything again, soon."""
        self._has_hope = True
        for path in self._all():
            path.restart(now if path.next_hop.endpoint is not None else self._not_first(now))

    def check(self, now: float) -> None:
        """Something has changed underneath: does the best path still work, or another one now?"""
        self._has_hope = True
        for path in self._all():
            path.check(now)

    def punched(self, now: float) -> None:
        """The peer is probing us: what we send now will get through, if anything does."""
        for path in self._direct.values():
            path.poke(now)

    def hurry(self, now: float) -> None:
        """The best path is in use again: probe it as often as one in use."""
        if self._best is not None:
            self._best.hurry(now)

    # --- time and answers ----------------------------------------------------------------

    def advance(self, now: float, in_use: bool) -> list[ProbeRequest]:
        requests = []
        grace = self._settings.grace * self._load.delay(now)
        for path in self._all():
            path.grace = grace
            path.silent_factor, path.scale_factor = (
                self._load.silent_factor,
                self._load.scale_factor,
            )
            place = path.next_hop.endpoint
            if place and self._is_barred(place, now):
                continue
            if self._rests(path):
                path.rest(now)
                continue
            if place and path.is_hopeless and self._is_hearsay(place):
                self._drop(place)
                continue
            was_up = path.state is PathState.UP
            for kind, size in path.advance(now, in_use and path is self._best):
                self._number = self._number % 0xFFFF_FFFF + 1  # never 0: see Link
                path.sent(self._number, kind, size, now)
                requests.append(ProbeRequest(path.next_hop, self._number, size))
            self._has_hope |= was_up and path.state is not PathState.UP
        self._choose(now)
        return requests

    def answered(self, number: int, size: int, now: float) -> Path | None:
        """An answer came: of this path's; None if nobody waits for it."""
        for path in self._all():
            if path.is_waiting_for(number):
                path.answered(number, size, now)
                self._choose(now)
                return path
        return None

    def refused(self, number: int, now: float) -> None:
        for path in self._all():
            if path.is_waiting_for(number):
                path.refused(number, now)

    def narrowed(self, now: float) -> None:
        """See Path.narrowed: of the straight ways, which the kernel's frames take as well."""
        for path in self._direct.values():
            path.narrowed(now)

    def next_deadline(self) -> Deadline | None:
        return earliest(path.next_deadline() for path in self._all() if self._is_probed(path))

    # --- inside --------------------------------------------------------------------------

    def _detour(self, next_hop: NextHop, now: float) -> Path:
        return Path(next_hop, self._not_first(now), self._settings)

    def _not_first(self, now: float) -> float:
        """When a new detour is to be probed: not before direct ways had time to answer, if that
        takes long. Of many links that come up together nearly all would do it in vain. (Frames
        take the detour meanwhile.)"""
        return now + self._settings.grace * self._load.delay(now)

    def _all(self) -> list[Path]:
        detours = (path for path in (self._relay, self._tcp) if path is not None)
        return [*self._direct.values(), *detours]

    def _is_probed(self, path: Path) -> bool:
        place = path.next_hop.endpoint
        if place is not None and not self._routes.may_send(place.host):
            return False
        return not self._rests(path)

    def _is_barred(self, place: Endpoint, now: float) -> bool:
        """Whether nothing may be sent there. What the way was like before proves nothing then."""
        if self._routes.may_send(place.host):
            return False
        path = self._direct[place]
        if path.state is not PathState.UNPROVEN or path.is_waiting:
            self._drop(place)
            self._direct[place] = Path(NextHop(place, None), now, self._settings)
        return True

    def _rests(self, path: Path) -> bool:
        """Whether a better way works, so that this one need not be probed."""
        if path.next_hop.endpoint is not None:
            return False
        if any(direct.is_sound for direct in self._direct.values()):
            return True
        return path is self._tcp and self._relay is not None and self._relay.is_sound

    def _is_hearsay(self, place: Endpoint) -> bool:
        """Whether we only heard from there, and it never answered."""
        return place not in self._told and self._direct[place].state is not PathState.UP

    def _drop_strays(self) -> None:
        """A peer that seems to be in many places is probed in the latest few only."""
        unlisted = [
            place
            for place, path in self._direct.items()
            if place not in self._told and path.state is PathState.UP and path is not self._best
        ]
        unlisted.sort(key=lambda place: self._direct[place].heard_at)
        for place in unlisted[: -self._settings.max_unlisted]:
            self._drop(place)

    def _drop(self, place: Endpoint) -> None:
        path = self._direct.pop(place)
        if path is self._best:
            self._best = None

    def _choose(self, now: float) -> None:
        up = [p for p in self._direct.values() if p.state is PathState.UP]
        good = [p for p in up if not p.is_doubtful(now) and not self._is_left(p, up)]
        if good:
            self._best = self._choose_direct(good)
        else:
            detour = self._choose_detour(now, only_proved=bool(up))
            self._best = detour or (self._choose_direct(up) if up else None)

    @staticmethod
    def _is_left(path: Path, up: list[Path]) -> bool:
        """Whether the peer seems to have gone: no answer, but it was heard elsewhere since."""
        return not path.is_sound and any(
            p.is_sound and p.heard_at > path.answered_at for p in up if p is not path
        )

    def _choose_direct(self, paths: list[Path]) -> Path:
        # What the peer or its neighbours say comes before what only seems to be its address: who
        # is on the way could make us believe so, and stay on the way.
        told = [p for p in paths if p.next_hop.endpoint in self._told] or paths
        quickest = min(told, key=lambda p: p.rtt or 0.0)
        current = self._best
        if current in told and not self._is_much_better(quickest, current):
            return current
        return quickest

    def _choose_detour(self, now: float, only_proved: bool) -> Path | None:
        """With `only_proved`, one that has just answered, or none."""
        relay, tcp = self._relay, self._tcp
        for path in (relay, tcp):
            if path is not None and not path.is_doubtful(now):
                is_watched = path is self._best
                if is_watched or now < path.answered_at + FRESH:
                    return path
        if only_proved:
            return None
        if relay is not None and (tcp is None or not self._seems_dead(relay)):
            return relay
        return tcp

    @staticmethod
    def _seems_dead(path: Path) -> bool:
        return path.state is PathState.DOWN or path.is_hopeless

    def _is_much_better(self, path: Path, current: Path) -> bool:
        new, old = path.rtt or 0.0, current.rtt or 0.0
        return new < old - self._settings.better_by and new < old * 2 / 3
