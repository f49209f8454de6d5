"""When do we say something new about ourselves, and what? The timing of our own record.

What changes (our addresses, our neighbours, whether there is a direct data path to them) is told
at once the first time and then at most every `announce_every` seconds, or less often while it
goes on changing. If somebody holds a newer
record of ours than we made, ours has to outrank it: once, if it is an earlier life's; in a race,
if another router has our identity, in which we take longer and longer pauses.
"""

from __future__ import annotations

from collections.abc import Iterable

from weave_py.mesh.gossip.replicator import Replicator
from weave_py.mesh.ourself import Ourself
from weave_py.model.deadlines import Deadline
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, endpoint
from weave_py.model.underlay import OwnAddress
from weave_py.router.candidates import announced, usable
from weave_py.router.links import Links
from weave_py.router.neighbours import Neighbours
from weave_py.router.own_addresses import is_likely, ranked
from weave_py.wire.topology import Neighbour, SignedRecord

TOGETHER = 0.2  # seconds; and with more neighbours than FEW, or more peers than SOME, so much
# longer in proportion, up to
LONGEST_TOGETHER = 2.0
FEW, SOME = 3, 100
BUSY = 3.0  # seconds; who announces again within that takes longer and longer pauses, up to
LONGEST_PAUSE = 1.0
PATIENCE = 8.0  # of how late we are (model.load): so much longer pauses. What we say makes work
# for all, and half of it may only be that answers come late; many things are then said at once.
MANY_NEIGHBOURS, MANY_PEERS = 32, 200  # with more than that we announce proportionally less often
OUTRANK_FIRST, OUTRANK_LONGEST = 0.2, 60.0  # seconds, doubling


class Announcements:
    """Keeps our record up to date. `advance` at `next_deadline`."""

    def __init__(
        self,
        ourself: Ourself,
        neighbours: Neighbours,
        links: Links,
        gossip: Replicator[SignedRecord],
        every: float,
        load: LocalLoad,
    ) -> None:
        """`every`: seconds between two announcements. `load`: the router's own."""
        self.local: tuple[OwnAddress, ...] = ()
        """Where this host can be reached."""
        self._port = 0
        self._ourself = ourself
        self._neighbours = neighbours
        self._links = links
        self._gossip = gossip
        self._every = self._pause = every
        self._load = load
        self._direct_changes = 0
        self._announce_at: float | None = None
        self._announced_at = float("-inf")
        self._observations = 0
        self._outrank_at: float | None = None
        self._outrank_pause = OUTRANK_FIRST

    # --- in ------------------------------------------------------------------------------

    def set_local(self, addresses: Iterable[OwnAddress], port: int, now: float) -> None:
        """This host's addresses, and where it listens at them."""
        self.local, self._port = tuple(addresses), port
        self.soon(now)

    def joined(self, now: float) -> None:
        """We have a new neighbour. Soon there is a direct data path to it, and its round trip is
        measured: that makes one announcement of it, if it is not our only way to be heard of."""
        if len(self._neighbours) > 1:
            self.soon(now + self._together)
        else:
            self.soon(now)

    def soon(self, now: float) -> None:
        """Something that our record says has changed, or may have."""
        if self._announce_at is None or now < self._announce_at:
            # A large record is a large message to everybody: the more it says, the less often.
            # And so it is with many peers who are to hear it, and may just be doing the same.
            many = len(self._ourself.record.neighbours) / MANY_NEIGHBOURS
            pause = self._pause * max(1.0, many, self._gossip.peers / MANY_PEERS)
            pause += PATIENCE * self._load.delay(now)
            self._announce_at = max(now, self._announced_at + pause)

    def outranked(self, now: float) -> bool:
        """Somebody holds a newer record of ours; True if that looks like another router's."""
        if self._outrank_at is not None:
            return False
        self._outrank_at = now + self._outrank_pause
        is_race = self._outrank_pause > OUTRANK_FIRST
        self._outrank_pause = min(self._outrank_pause * 2, OUTRANK_LONGEST)
        return is_race

    def advance(self, now: float) -> bool:
        """Announce what is due; True if our record changed (and is on its way to all)."""
        if self._links.direct_changes != self._direct_changes:
            self._direct_changes = self._links.direct_changes
            direct, claims = self._links.direct, self._ourself.record.neighbours
            if any(n.direct and n.name not in direct for n in claims):
                self.soon(now)
            elif any(n.name in direct and not n.direct for n in claims):
                self.soon(now + self._together)
        if self._observations != self._links.observations:
            self._observations = self._links.observations
            self.soon(now)
        outrank = self._outrank_at is not None and now >= self._outrank_at
        if outrank:
            self.soon(now)
        if self._announce_at is None or now < self._announce_at:
            return False
        self._announce_at = None
        if outrank:
            self._outrank_at = None
        if not self._ourself.update(self._places(), self._claims(), outrank=outrank):
            return False
        is_busy = now - self._announced_at < BUSY
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE) if is_busy else self._every
        self._announced_at = now
        self._gossip.spread([self._ourself.signed], now, None)
        self._gossip.advance(now)
        return True

    # --- out -----------------------------------------------------------------------------

    def next_deadline(self) -> Deadline | None:
        # Outranking waits for the next announcement: it is not due before it.
        if self._announce_at is not None:
            return Deadline(self._announce_at, "announce")
        return None if self._outrank_at is None else Deadline(self._outrank_at, "outrank")

    @property
    def _together(self) -> float:
        """How long good news may wait for more of it. One way more is no great news for who has
        many, and as each of them gets one, too, all would be told of it by all. And the more there
        are to hear it, the more it costs."""
        many = max(1.0, len(self._neighbours) / FEW, self._gossip.peers / SOME)
        return min(TOGETHER * many, LONGEST_TOGETHER)

    def _places(self) -> list[Endpoint]:
        """Where we say that we are."""
        observed = self._links.observed.values()
        neighbours = [s.place for _, s, _ in self._neighbours.established() if s.place is not None]
        reached = [place.host for place in (*neighbours, *self._links.reached())]
        used = {place.host for place in observed}
        used.update(filter(None, map(self._links.routes.source, reached)))
        own = ranked(self.local, used)

        def listening(likely: bool) -> tuple[Endpoint, ...]:
            chosen = [a.host for a in own if is_likely(a, used) is likely]
            return usable(endpoint(host, self._port) for host in chosen)

        return announced(listening(True), observed, listening(False))

    def _claims(self) -> list[Neighbour]:
        claims = []
        for name, _, connection in self._neighbours.established():
            cost = 0 if connection.rtt is None else min(max(1, int(connection.rtt * 1000)), 60_000)
            direct = name in self._links.direct
            claims.append(Neighbour(name, cost, direct, connection.outbound, connection.remote))
        return claims
