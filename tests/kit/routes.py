"""Which way to every peer? From all peers' claims to a RouteTable, all anew.

An edge counts only if both its ends claim it. Fewest hops win; among equally short ways the one
with the lowest measured cost, then the one through the lower-named peer, so that the result is a
function of the records alone. (A router follows changes instead: see weave_py.mesh.topology.)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from weave_py.mesh.spf import ShortestPathTree
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.topology import PeerRecord


def compute_routes(
    ourself: PeerName, records: Mapping[PeerName, PeerRecord], version: int = 0
) -> RouteTable:
    """Routes from `ourself`, which must have a record too. O(peers + connections)."""
    tree, direct = (
        ShortestPathTree(ourself, direct_only=False),
        ShortestPathTree(ourself, direct_only=True),
    )
    for each in (tree, direct):
        each.compute(records)
    return RouteTable(
        version,
        MappingProxyType(tree.next_hops),
        MappingProxyType(direct.next_hops),
        MappingProxyType(tree.hops),
    )
