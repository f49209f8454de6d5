"""Who is the next hop to a peer? A frozen value, replaced whole when the topology changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from weave_py.model.names import PeerName


def _nobody() -> Mapping[PeerName, PeerName]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Next hops from ourself; a peer that is in neither table cannot be reached."""

    version: int = 0
    unicast: Mapping[PeerName, PeerName] = field(default_factory=_nobody)
    """Destination → neighbour, over established control connections (claimed by both ends)."""
    relay: Mapping[PeerName, PeerName] = field(default_factory=_nobody)
    """Destination → neighbour, over those whose ends both also have a direct data path."""
    hops: Mapping[PeerName, int] = field(default_factory=lambda: MappingProxyType({}))
    """Destination → number of control connections to cross; ourself is 0."""
