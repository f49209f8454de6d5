"""Where do frames for this peer go now, and under which key? The send state of a peer.

The link engine writes it between batches, the data plane reads it per record: this is the seam
between the control gear and the fast gear.
"""

from __future__ import annotations

from typing import NamedTuple

from weave_py.link.sealing import Sealer
from weave_py.model.counters import LinkCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.sleeve import MAX_SEGMENTS, relay_prefix


class NextHop(NamedTuple):
    """A way for datagrams to a peer: straight to an address, through a relay, or inside TCP."""

    endpoint: Endpoint | None
    """The peer's underlay address; None if they do not go there straight."""
    relay: PeerName | None
    """The neighbour that passes our datagrams on."""
    tcp: bool = False
    """They travel inside the control connection to `relay`, which may be the peer itself."""

    @property
    def kind(self) -> str:
        if self.tcp:
            return "tcp"
        return "relay" if self.endpoint is None else "direct"

    @property
    def text(self) -> str:
        if self.endpoint is not None:
            return self.endpoint.text
        if self.relay is None:
            return ""
        return f"{'inside TCP ' if self.tcp else ''}via {self.relay.hex(':')}"


def prefix_to(peer: PeerName, next_hop: NextHop | None) -> bytes:
    """What goes in front of each datagram to the peer: the relay prefix, unless nobody relays."""
    if next_hop is None or next_hop.endpoint is not None or next_hop.relay == peer:
        return b""
    return relay_prefix(peer)


class Egress:
    """How to send to one peer. `sealer` or `next_hop` None: there is no way now."""

    __slots__ = (
        "busy",
        "counters",
        "datagram_bytes",
        "endpoint",
        "next_hop",
        "parity",
        "peer",
        "prefix",
        "record_datagrams",
        "sealer",
    )

    def __init__(self, peer: PeerName) -> None:
        self.peer = peer
        self.sealer: Sealer | None = None
        self.next_hop: NextHop | None = None
        self.endpoint: Endpoint | None = None
        """That of `next_hop`: where datagrams for the peer go straight, if they do."""
        self.prefix = b""
        """What goes in front of each datagram: the relay prefix, or nothing."""
        self.busy = False
        """Traffic flows. The data plane sets it (and reports it once), the engine resets it."""
        self.datagram_bytes = 0
        """UDP payload that passes the way."""
        self.record_datagrams = MAX_SEGMENTS
        """How many datagrams a record should take at the most (see link.loss)."""
        self.parity = False
        """Whether a record of several datagrams takes one more, by which any can be made good."""
        self.counters = LinkCounters()

    def use(self, next_hop: NextHop | None, datagram_bytes: int) -> None:
        """Send this way from now on."""
        if next_hop != self.next_hop:
            self.next_hop = next_hop
            self.endpoint = None if next_hop is None else next_hop.endpoint
            self.prefix = prefix_to(self.peer, next_hop)
        self.datagram_bytes = datagram_bytes
