"""Does another router run with our identity? What a copied state directory looks like from inside.

Of two connections with one peer one is ended as a duplicate. If it is ours that ends so, and we
have no other one, then the peer's other half is with somebody who says that it is us.
"""

from __future__ import annotations

from collections.abc import Mapping

from weave_py.model.effects import WARNING, Effect, LogEvent
from weave_py.model.names import PeerName
from weave_py.router.neighbours import Neighbours

CLONED = (
    "another router runs with our identity: was the state directory copied? "
    "Run 'weave-py reset' on one of the two"
)
BROKEN_FOR = 10.0  # seconds in which the other side of a broken connection notices, too
COMPLAIN_EVERY = 60.0  # seconds


class DuplicateIdentity:
    """Remembers what may look like one without being one, and what was said already."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._broken_at: dict[PeerName, float] = {}
        self._complained_at = float("-inf")

    def broke(self, peer: PeerName, now: float) -> None:
        """The connection with a neighbour broke, or one of two was given up: for a while it may
        think that there is one, or have given up the other."""
        recent = {name: at for name, at in self._broken_at.items() if now < at + BROKEN_FOR}
        self._broken_at = {**recent, peer: now}

    def took_our_place(self, peer: PeerName, now: float) -> bool:
        """A connection with this peer was refused as a duplicate, and we know of no other one: is
        it another router's? (One at its handshake may be the other half.)"""
        is_over = now >= self._broken_at.get(peer, float("-inf")) + BROKEN_FOR
        return is_over and not self._neighbours.are_shaking_hands

    def complaint(self, about: Mapping[str, object], now: float) -> list[Effect]:
        """To say so, now and then: every neighbour, and every record that comes, could tell us, and
        one line says it."""
        if now < self._complained_at + COMPLAIN_EVERY:
            return []
        self._complained_at = now
        return [LogEvent(WARNING, CLONED, about)]
