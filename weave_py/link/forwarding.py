"""Where does a datagram go next? The one rule of forwarding: the daemon's and the simulation's.

A datagram for another peer, which came by UDP or inside a control connection, goes on

1. straight to its destination, if that is where our own datagrams for it go, by UDP;
2. else to the neighbour that the data routes name (`RouteTable.relay`), or, where they do not lead
   there, the one that the control routes name (`RouteTable.unicast`): by UDP if our own datagrams
   for that neighbour go straight there, else inside the control connection with it;
3. never back to the address, or into the connection, that it came from: two routers whose routes
   differ for a moment play no ping-pong;
4. with one taken off its hop limit, of which nobody gets more than we would give ourselves. None
   left: it ends here.

What cannot go on is dropped and counted, by `Drop`. Our own datagrams take the way that their link
has chosen (`NextHop`); where that begins is decided here, too (`Forwarding.first_hop`).

As every router on the way decides alike, nothing goes in circles while their routes agree: each
hop is along the control routes, and one nearer by these, until somebody's data routes lead on;
from there each hop is along the data routes, and nearer by those; and whoever reaches the
destination straight ends it. While routes differ the hop limit ends what should go round.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from weave_py.link.egress import NextHop
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.sleeve import HOP_LIMIT

Adjacency = Endpoint | PeerName
"""What a datagram is handed to: a UDP address, or a neighbour, inside whose control connection."""


class Drop(Enum):
    """Why a datagram of others is not passed on."""

    HOP_LIMIT = "its hop limit is used up"
    NO_ROUTE = "there is no way on, or only back"

    def count(self, counters: DatapathCounters, datagrams: int) -> None:
        if self is Drop.HOP_LIMIT:
            counters.relay_hop_limit += datagrams
        else:
            counters.relay_no_route += datagrams


def hops_left(hop_limit: int) -> int:
    """The hop limit of a datagram that came with this one when it goes on; if it may: not if
    there is none left (0 or less)."""
    return (hop_limit if hop_limit < HOP_LIMIT else HOP_LIMIT) - 1


class Forwarding:
    """The rule, for one router. It makes no object per datagram."""

    __slots__ = ("_endpoint_of", "_is_connected", "routes")

    def __init__(
        self,
        endpoint_of: Callable[[PeerName], Endpoint | None],
        is_connected: Callable[[PeerName], bool],
    ) -> None:
        """`endpoint_of`: where our own datagrams for a peer go straight (`Egress.endpoint`).
        `is_connected`: whether datagrams can travel inside a control connection with a peer."""
        self.routes = RouteTable()
        self._endpoint_of = endpoint_of
        self._is_connected = is_connected

    def first_hop(self, next_hop: NextHop) -> Adjacency | None:
        """Where datagrams of our own that take this way go first; None: there is no way now."""
        if next_hop.endpoint is not None:
            return next_hop.endpoint
        relay = next_hop.relay
        if relay is None:
            return None
        return self._inside(relay) if next_hop.tcp else self._to(relay)

    def onward(
        self, destination: PeerName, left: int, came_from: tuple[str, int] | PeerName | None
    ) -> Adjacency | Drop:
        """Where a datagram of others goes that has so many `hops_left`, and came from this UDP
        address, or inside the control connection with this neighbour."""
        if left <= 0:
            return Drop.HOP_LIMIT
        hop: Adjacency | None = self._endpoint_of(destination)
        if hop is None:
            routes = self.routes
            neighbour = routes.relay.get(destination) or routes.unicast.get(destination)
            hop = None if neighbour is None else self._to(neighbour)
        if hop is None or hop == came_from:
            return Drop.NO_ROUTE
        return hop

    # --- inside --------------------------------------------------------------------------

    def _to(self, neighbour: PeerName) -> Adjacency | None:
        return self._endpoint_of(neighbour) or self._inside(neighbour)

    def _inside(self, neighbour: PeerName) -> Adjacency | None:
        return neighbour if self._is_connected(neighbour) else None
