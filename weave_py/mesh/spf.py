"""How do the best ways change when a few records do? Incremental SPF: shortest-path trees.

A tree from ourself over all connections that both ends claim (or over those whose ends both have a
direct data path, too). Fewest hops win, then the lowest cost, then the lower-named parent: so the
tree is a function of the records alone, whichever of the two computations made it. One record of a
large network touches a handful of ways, and looking at all of them for each would be most of what
its routers do (the idea is that of Ramalingam and Reps, 1996).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush

from weave_py.model.names import PeerName
from weave_py.wire.topology import Neighbour, PeerRecord

LEVELS = 16  # of the tree in which branches are told apart; whoever is deeper counts there
MANY = 6  # if more than one of so many records has changed, all is computed anew

Records = Mapping[PeerName, PeerRecord]
_Way = tuple[int, int, PeerName, PeerName]
"""(Hops, cost, parent, destination)."""


class ShortestPathTree:
    """The tree. `follow` after changes, then read `hops` and `next_hops`; do not change them."""

    def __init__(self, ourself: PeerName, direct_only: bool) -> None:
        self.hops: dict[PeerName, int] = {ourself: 0}
        """Everybody who can be reached, and by how many connections."""
        self.next_hops: dict[PeerName, PeerName] = {}
        """The neighbour through which each of the others is reached."""
        self._ourself = ourself
        self._direct_only = direct_only
        self._costs: dict[PeerName, int] = {ourself: 0}
        self._parents: dict[PeerName, PeerName] = {}
        self._ways: dict[PeerName, tuple[PeerName, ...]] = {}
        """Those that were asked for since the last change."""

    def way_to(self, name: PeerName) -> tuple[PeerName, ...]:
        """Whom the way there leads over, from our neighbour to the peer, as far as LEVELS of them;
        empty if there is none. All ways together cost O(peers), however long they are."""
        ways, parents, climbed = self._ways, self._parents, []
        while name in parents and name not in ways:
            climbed.append(name)
            name = parents[name]
        way = ways.get(name, ())
        for below in reversed(climbed):
            way = (*way, below) if len(way) < LEVELS else way
            ways[below] = way
        return way

    def update(self, records: Records, changed: Collection[PeerName]) -> bool:
        """These peers' records are new, changed or gone since last time; `records` has all of
        them, ours too. True if that changed `hops` or `next_hops`."""
        if len(changed) * MANY > len(records):
            return self.compute(records)
        self._ways = {}
        children: dict[PeerName, list[PeerName]] = {}
        for name, parent in self._parents.items():
            children.setdefault(parent, []).append(name)
        lost = self._cut_off(records, changed, children)
        touched = self._spread(records, self._offers(records, changed, lost))
        for name in touched:
            children.setdefault(self._parents[name], []).append(name)
        for name in lost - touched:
            del self.next_hops[name]
        is_moved = self._pass_down(touched, children)
        return is_moved or bool(lost) or bool(touched)

    def compute(self, records: Records) -> bool:
        """All anew, level by level; O(peers + connections)."""
        self._ways = {}
        before = self.hops, self.next_hops
        claims = {name: record.claims for name, record in records.items()}
        ourself = self._ourself
        hops, costs = {ourself: 0}, {ourself: 0}
        next_hops: dict[PeerName, PeerName] = {}
        parents: dict[PeerName, PeerName] = {}
        level, depth = [ourself], 0
        while level:
            depth += 1
            found: dict[PeerName, tuple[int, PeerName]] = {}
            for name in level:
                cost = costs[name]
                for other, there in claims[name].items():
                    if other in hops or (theirs := claims.get(other)) is None:
                        continue
                    if (back := theirs.get(name)) is None:
                        continue
                    if self._direct_only and not (there.direct and back.direct):
                        continue
                    next_hop = cost + (there.cost if there.cost > back.cost else back.cost), name
                    if other not in found or next_hop < found[other]:
                        found[other] = next_hop
            for other, (cost, parent) in found.items():
                hops[other], costs[other], parents[other] = depth, cost, parent
                next_hops[other] = other if parent == ourself else next_hops[parent]
            level = list(found)
        self.hops, self.next_hops, self._costs, self._parents = hops, next_hops, costs, parents
        return before != (hops, next_hops)

    # --- inside --------------------------------------------------------------------------

    def _weight(self, there: Neighbour | None, back: Neighbour | None) -> int | None:
        """Cost of a connection, by the claims of its two ends; None: it does not count."""
        if there is None or back is None:
            return None
        if self._direct_only and not (there.direct and back.direct):
            return None
        return max(there.cost, back.cost)

    def _connections(self, records: Records, name: PeerName) -> Iterable[tuple[PeerName, int]]:
        record = records.get(name)
        for other, there in () if record is None else record.claims.items():
            theirs = records.get(other)
            if theirs is not None and other != name:
                weight = self._weight(there, theirs.claims.get(name))
                if weight is not None:
                    yield other, weight

    def _cut_off(
        self,
        records: Records,
        changed: Iterable[PeerName],
        children: Mapping[PeerName, Collection[PeerName]],
    ) -> set[PeerName]:
        """Take out all whose way led over a connection that is gone, or costs something else."""
        costs, parents = self._costs, self._parents
        doubtful = {name for name in changed if name in parents}
        for name in changed:
            doubtful.update(children.get(name, ()))
        lost: set[PeerName] = set()
        for name in doubtful:
            parent = parents[name]
            above, record = records.get(parent), records.get(name)
            weight = None
            if above is not None and record is not None:
                weight = self._weight(above.claims.get(name), record.claims.get(parent))
            if weight != costs[name] - costs[parent]:
                lost.add(name)
        queue = list(lost)
        while queue:
            below = [name for name in children.get(queue.pop(), ()) if name not in lost]
            lost.update(below)
            queue += below
        for name in lost:
            del self.hops[name], costs[name], parents[name]
        return lost

    def _offers(
        self, records: Records, changed: Iterable[PeerName], lost: Iterable[PeerName]
    ) -> list[_Way]:
        """Ways over one connection more than are known, which may be better than those known."""
        hops, costs = self.hops, self._costs
        offers: list[_Way] = []
        for name in (*changed, *lost):
            own = hops.get(name)
            for other, weight in self._connections(records, name):
                if (theirs := hops.get(other)) is not None:
                    heappush(offers, (theirs + 1, costs[other] + weight, other, name))
                if own is not None:
                    heappush(offers, (own + 1, costs[name] + weight, name, other))
        return offers

    def _spread(self, records: Records, offers: list[_Way]) -> set[PeerName]:
        """Take the better ways, best first, and see whom else they serve; who has got one."""
        hops, costs, parents = self.hops, self._costs, self._parents
        touched: set[PeerName] = set()
        while offers:
            count, cost, parent, name = heappop(offers)
            known = hops.get(name)
            if known is not None:
                if known == 0:
                    continue
                ours = known, costs[name], parents[name]
                if ours <= (count, cost, parent):
                    continue
                is_shorter = ours[:2] != (count, cost)
            else:
                is_shorter = True
            hops[name], costs[name], parents[name] = count, cost, parent
            touched.add(name)
            if not is_shorter:
                continue
            for other, weight in self._connections(records, name):
                known = hops.get(other)
                if known is None or (known, costs[other]) >= (count + 1, cost + weight):
                    heappush(offers, (count + 1, cost + weight, name, other))
        return touched

    def _pass_down(
        self, touched: Iterable[PeerName], children: Mapping[PeerName, Collection[PeerName]]
    ) -> bool:
        """A new next hop is that of all ways that lead on from there."""
        parents, next_hops = self._parents, self.next_hops
        is_moved = False
        for first in sorted(touched, key=lambda name: self.hops[name]):
            queue = [first]
            while queue:
                name = queue.pop()
                parent = parents[name]
                via = name if parent == self._ourself else next_hops[parent]
                if next_hops.get(name) != via:
                    next_hops[name] = via
                    is_moved = True
                    queue += [n for n in children.get(name, ()) if parents.get(n) == name]
        return is_moved
