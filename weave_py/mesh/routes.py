"""Which way to every peer? From all peers' claims to a RouteTable, by breadth-first search.

An edge counts only if both its ends claim it. Fewest hops win; among equally short ways the one
with the lowest measured cost, then the one through the lower-named peer, so that the result is a
function of the records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.topology import Neighbour, PeerRecord

Claims = Mapping[PeerName, Mapping[PeerName, Neighbour]]
"""Who claims which neighbours."""


def compute_routes(
    ourself: PeerName, records: Mapping[PeerName, PeerRecord], version: int = 0
) -> RouteTable:
    """Routes from `ourself`, which must have a record too. O(peers + connections)."""
    claims = {name: record.claims for name, record in records.items()}
    unicast, hops, all_direct = _search(ourself, claims, direct_only=False)
    # Edges that the search did not look at lead back to where it was already: they would not
    # have changed the search of the data paths either.
    relay = unicast if all_direct else _search(ourself, claims, direct_only=True)[0]
    return RouteTable(
        version, MappingProxyType(unicast), MappingProxyType(relay), MappingProxyType(hops)
    )


def _search(
    ourself: PeerName, claims: Claims, direct_only: bool
) -> tuple[dict[PeerName, PeerName], dict[PeerName, int], bool]:
    """(Destination → next hop, destination → hops, whether all ways seen have direct data paths),
    level by level. The innermost loop of the control road: it runs for every connection of the
    network whenever anything changes."""
    next_hop: dict[PeerName, PeerName] = {}
    hops = {ourself: 0}
    level: dict[PeerName, int] = {ourself: 0}  # name → cost of the way to it
    depth = 0
    all_direct = True
    while level:
        depth += 1
        found: dict[PeerName, tuple[int, PeerName]] = {}
        for name, cost in level.items():
            for other, there in claims[name].items():
                if other in hops or other not in claims:
                    continue
                back = claims[other].get(name)
                if back is None:
                    continue
                if not (there.direct and back.direct):
                    all_direct = False
                    if direct_only:
                        continue
                way = (cost + max(there.cost, back.cost), name)
                if other not in found or way < found[other]:
                    found[other] = way
        for other, (_, parent) in found.items():
            hops[other] = depth
            next_hop[other] = other if parent == ourself else next_hop[parent]
        level = {other: cost for other, (cost, _) in found.items()}
    return next_hop, hops, all_direct
