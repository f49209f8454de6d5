"""Who gets one of the few places there are: a link, a port of the bridge?

While there is room everybody has one. The last twentieth is kept for those of whose branch of the
mesh there are few here (`mesh.branches`): peers that somebody makes up are all in one.

A peer that we are connected with, or that frames are to be sent to, has a place in any case: at
need one of the largest branch is taken, which came last.
"""

from __future__ import annotations

from collections.abc import Callable

from weave_py.mesh.branches import Branches, Way
from weave_py.model.names import PeerName

RESERVE = 20  # one place of so many


class Places:
    """Who has a place."""

    def __init__(
        self, total: int, way_to: Callable[[PeerName], Way], is_needed: Callable[[PeerName], bool]
    ) -> None:
        """`way_to`: how a peer is reached now; empty if it is not. `is_needed`: whether it has a
        place in any case."""
        self._total = total
        self._reserve = total // RESERVE
        self._way_to = way_to
        self._is_needed = is_needed
        self._taken: dict[PeerName, None] = {}
        self._branches: Branches | None = None
        """None: to be counted."""

    def __len__(self) -> int:
        return len(self._taken)

    def __contains__(self, peer: PeerName) -> bool:
        return peer in self._taken

    def routes_changed(self) -> None:
        """Ways may lead elsewhere now."""
        self._branches = None

    def take(self, peer: PeerName) -> bool:
        """Give it a place; False if there is none for it. A needed one may have to be given one
        that is free only once `in_the_way` has left."""
        if peer in self._taken:
            return True
        free = self._total - len(self._taken)
        if free <= 0:
            return False
        if free <= self._reserve and not (self._is_needed(peer) or self._is_entitled(peer)):
            return False
        self._taken[peer] = None
        self._branches = None
        return True

    def leave(self, peer: PeerName) -> None:
        if peer in self._taken:
            del self._taken[peer]
            self._branches = None

    def in_the_way(self, peer: PeerName) -> PeerName | None:
        """Whose place a peer should have that needs one when there is none."""
        if len(self._taken) < self._total or peer in self._taken or not self._is_needed(peer):
            return None
        spare = [p for p in self._taken if not self._is_needed(p)]
        largest = Branches(map(self._way, spare)).largest()
        return next((p for p in reversed(spare) if largest in self._way(p)), None)

    # --- inside --------------------------------------------------------------------------

    def _is_entitled(self, peer: PeerName) -> bool:
        if self._branches is None:
            self._branches = Branches(map(self._way, self._taken))
        return self._branches.is_entitled(self._way(peer), self._total)

    def _way(self, peer: PeerName) -> Way:
        return self._way_to(peer) or (peer,)
