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
from weave_py.wire.topology import PeerRecord

Edges = dict[PeerName, dict[PeerName, int]]


def compute_routes(
    ourself: PeerName, records: Mapping[PeerName, PeerRecord], version: int = 0
) -> RouteTable:
    """Routes from `ourself`, which must have a record too. O(peers + connections)."""
    control, data = _agreed_edges(records)
    unicast, hops = _search(ourself, control)
    relay, _ = _search(ourself, data)
    return RouteTable(
        version, MappingProxyType(unicast), MappingProxyType(relay), MappingProxyType(hops)
    )


def _agreed_edges(records: Mapping[PeerName, PeerRecord]) -> tuple[Edges, Edges]:
    """(Edges both ends claim, those of them where both ends also have a direct data path)."""
    claims = {
        name: {n.name: (n.cost, n.direct) for n in record.neighbours}
        for name, record in records.items()
    }
    control: Edges = {name: {} for name in records}
    data: Edges = {name: {} for name in records}
    for name, neighbours in claims.items():
        for other, (cost, direct) in neighbours.items():
            back = claims.get(other, {}).get(name)
            if back is None:
                continue
            worse = max(cost, back[0])
            control[name][other] = worse
            if direct and back[1]:
                data[name][other] = worse
    return control, data


def _search(
    ourself: PeerName, edges: Edges
) -> tuple[dict[PeerName, PeerName], dict[PeerName, int]]:
    """(Destination → next hop, destination → hops), level by level."""
    next_hop: dict[PeerName, PeerName] = {}
    hops = {ourself: 0}
    level: dict[PeerName, int] = {ourself: 0}  # name → cost of the way to it
    depth = 0
    while level:
        depth += 1
        found: dict[PeerName, tuple[int, PeerName]] = {}
        for name in sorted(level):
            for other, cost in edges.get(name, {}).items():
                if other in hops:
                    continue
                way = (level[name] + cost, name)
                if other not in found or way < found[other]:
                    found[other] = way
        for other, (_, parent) in found.items():
            hops[other] = depth
            next_hop[other] = other if parent == ourself else next_hop[parent]
        level = {other: cost for other, (cost, _) in found.items()}
    return next_hop, hops
