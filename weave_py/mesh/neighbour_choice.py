"""Which few peers of a large network do we want as neighbours? Rendezvous hashing.

Every peer ranks all others by a hash of the pair (rendezvous hashing: Thaler and Ravishankar,
1998) and wants the first few. All these choices together make a random graph, which is well
connected and has short ways; and who comes or goes changes only the choices of the few that want
it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Set
from hashlib import blake2s

from weave_py.model.names import PeerName

SPARES = 4  # times as many are kept in order as are wanted: for when some cannot be reached


class NeighbourChoice:
    """Keeps the first few in order as peers come and go: a new peer costs one hash."""

    def __init__(self, ourself: PeerName, count: int) -> None:
        self._ourself = ourself
        self._count = count
        self._known: set[PeerName] = set()
        self._first: list[tuple[bytes, PeerName]] = []
        self.last_chosen: bytes | None = None
        """The rank of the last of those that can be reached; None: there are not as many."""

    def choose(self, peers: Set[PeerName], reachable: Collection[PeerName]) -> frozenset[PeerName]:
        """The first of all peers, and the first of those that can be reached now: usually the
        same ones. The others are called in case that only the two of us can heal a partition."""
        self._follow(peers)
        count = self._count
        found = [name for _, name in self._first if name in reachable][:count]
        if len(found) < count and len(self._first) < len(peers):
            ranked = sorted((self.rank(name), name) for name in peers if name in reachable)
            found = [name for _, name in ranked[:count]]
        self.last_chosen = self.rank(found[-1]) if len(found) == count else None
        return frozenset([*(name for _, name in self._first[:count]), *found])

    def _follow(self, peers: Set[PeerName]) -> None:
        gone = self._known - peers
        if gone:
            self._known -= gone
            self._first = [ranked for ranked in self._first if ranked[1] not in gone]
        if len(self._first) < min(self._count, len(self._known)):
            self._known.clear()  # too few are left: begin again
            self._first.clear()
        for name in peers - self._known:
            ranked = self.rank(name), name
            is_all = len(self._first) == len(self._known)
            self._known.add(name)
            # Behind the last in order there may be others, whom it must not overtake.
            if is_all or ranked < self._first[-1]:
                insort(self._first, ranked)
                del self._first[SPARES * self._count :]

    def rank(self, name: PeerName) -> bytes:
        """Those with the least come first."""
        low, high = sorted((self._ourself, name))
        return blake2s(self._ourself + low + high, digest_size=8).digest()
