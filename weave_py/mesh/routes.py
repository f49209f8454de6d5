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
    # The best ways of all, if they happen to be data paths, are the best data paths.
    relay = unicast if all_direct else _search(ourself, claims, direct_only=True)[0]
    return RouteTable(
        version, MappingProxyType(unicast), MappingProxyType(relay), MappingProxyType(hops)
    )


def _search(
    ourself: PeerName, claims: Claims, direct_only: bool
) -> tuple[dict[PeerName, PeerName], dict[PeerName, int], bool]:
    """(Destination → next hop, destination → hops, whether all these ways have direct data paths),
    level by level. The innermost loop of the control road: it runs for every connection of the
    network whenever anything changes."""
    next_hop: dict[PeerName, PeerName] = {}
    hops = {ourself: 0}
    level: dict[PeerName, int] = {ourself: 0}  # name → cost of the way to it
    depth = 0
    all_direct = True
    while level:
        depth += 1
        found: dict[PeerName, tuple[int, PeerName, bool]] = {}
        for name, cost in level.items():
            for other, there in claims[name].items():
                if other in hops or other not in claims:
                    continue
                back = claims[other].get(name)
                if back is None:
                    continue
                is_direct = there.direct and back.direct
                if direct_only and not is_direct:
                    continue
                way = (cost + max(there.cost, back.cost), name, is_direct)
                if other not in found or way < found[other]:
                    found[other] = way
        for other, (_, parent, is_direct) in found.items():
            hops[other] = depth
            next_hop[other] = other if parent == ourself else next_hop[parent]
            all_direct = all_direct and is_direct
        level = {other: cost for other, (cost, _, _) in found.items()}
    return next_hop, hops, all_direct
