"""Where do frames for this peer go now, and under which key? What the packet road reads.

The link engine writes it between batches, the road reads it per record: this is the seam between
the control gear and the fast gear.
"""

from __future__ import annotations

from typing import NamedTuple

from weave_py.link.sealing import Sealer
from weave_py.model.counters import LinkCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.sleeve import MAX_SEGMENTS, relay_prefix


class Way(NamedTuple):
    """A way for datagrams to a peer: straight to an address, or through a relay."""

    endpoint: Endpoint | None
    """The peer's underlay address; None through a relay."""
    relay: PeerName | None
    """The neighbour that passes our datagrams on."""

    @property
    def kind(self) -> str:
        return "relay" if self.endpoint is None else "direct"

    @property
    def text(self) -> str:
        if self.endpoint is not None:
            return self.endpoint.text
        return "" if self.relay is None else f"via {self.relay.hex(':')}"


class Outlet:
    """How to send to one peer. `sealer` or `way` None: there is no way now."""

    __slots__ = (
        "busy",
        "counters",
        "datagram_bytes",
        "peer",
        "prefix",
        "record_datagrams",
        "sealer",
        "way",
    )

    def __init__(self, peer: PeerName) -> None:
        self.peer = peer
        self.sealer: Sealer | None = None
        self.way: Way | None = None
        self.prefix = b""
        """What goes in front of each datagram: the relay prefix, or nothing."""
        self.busy = False
        """Traffic flows. The road sets it (and reports the peer once), the engine resets it."""
        self.datagram_bytes = 0
        """UDP payload that passes the way."""
        self.record_datagrams = MAX_SEGMENTS
        """How many datagrams a record should take at the most (see link.loss)."""
        self.counters = LinkCounters()

    def use(self, way: Way | None, datagram_bytes: int) -> None:
        """Send this way from now on."""
        if way != self.way:
            self.way = way
            through_relay = way is not None and way.endpoint is None
            self.prefix = relay_prefix(self.peer) if through_relay else b""
        self.datagram_bytes = datagram_bytes
