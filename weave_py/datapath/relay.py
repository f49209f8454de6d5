"""How do sealed datagrams of others get on their way? Relaying: trains pass unopened."""

from __future__ import annotations

from weave_py.datapath.port import Port
from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.datapath.udp_sender import Buffers, UdpSender
from weave_py.link.egress import NextHop
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.sleeve import HOP_LIMIT, RELAY_PREFIX_BYTES

Hop = Endpoint | PeerName
"""Where to: a UDP address, or a neighbour inside whose control connection."""


class Relay:
    """Knows the next hop to every peer, and passes relayed trains on to it."""

    def __init__(
        self,
        sockets: UdpSender,
        ports: dict[PeerName, Port],
        counters: DatapathCounters,
        tcp: TcpTunnel | None = None,
    ) -> None:
        self.routes = RouteTable()
        self._sockets = sockets
        self._ports = ports
        self._counters = counters
        self._tcp = tcp

    def endpoint_of(self, neighbour: PeerName | None) -> Endpoint | None:
        """Where datagrams for this neighbour go directly, if they can."""
        port = None if neighbour is None else self._ports.get(neighbour)
        next_hop = port.egress.next_hop if port is not None else None
        return None if next_hop is None else next_hop.endpoint

    def hop(self, next_hop: NextHop) -> Hop | None:
        """Where datagrams that take this way go first."""
        if next_hop.endpoint is not None:
            return next_hop.endpoint
        return self._inside(next_hop.relay) if next_hop.tcp else self._hop_to(next_hop.relay)

    def send(
        self, hop: Hop, buffers: Buffers, size: int, count: int, is_control: bool = False
    ) -> int:
        """Send `count` datagrams of `size` bytes (the last may be shorter) that lie back to back
        in `buffers`; 0, or the errno of why not (EMSGSIZE: larger than the interface's MTU)."""
        if isinstance(hop, Endpoint):
            return self._sockets.send(hop, buffers, size, count)
        assert self._tcp is not None
        return self._tcp.send(hop, buffers, size, is_control)

    def forward(
        self,
        buffer: bytearray,
        length: int,
        size: int,
        count: int,
        source: tuple[str, int] | PeerName | None,
    ) -> None:
        """Pass on `count` relayed datagrams of `size` bytes (the last may be shorter), all with
        the same prefix. They came from a UDP address, or inside a neighbour's connection."""
        hop_limit = min(buffer[1], HOP_LIMIT)
        if hop_limit <= 1:
            self._counters.relay_hop_limit += count
            return
        hop = self._next_hop(PeerName(bytes(buffer[2:RELAY_PREFIX_BYTES])))
        came_from = source[:2] if isinstance(source, tuple) else source
        if hop is None or hop == came_from:  # never back: routes that differ make no ping-pong
            self._counters.relay_no_route += count
            return
        buffer[1:length:size] = bytes((hop_limit - 1,)) * count
        if self.send(hop, (memoryview(buffer)[:length],), size, count):
            self._counters.relay_send_refused += count
        else:
            self._counters.datagrams_relayed += count

    # --- inside --------------------------------------------------------------------------

    def _next_hop(self, destination: PeerName) -> Hop | None:
        """Straight if we can; else on by UDP if that leads there; else on by the control plane."""
        straight = self.endpoint_of(destination)
        if straight is not None:
            return straight
        routes = self.routes
        return self._hop_to(routes.relay.get(destination) or routes.unicast.get(destination))

    def _hop_to(self, neighbour: PeerName | None) -> Hop | None:
        return self.endpoint_of(neighbour) or self._inside(neighbour)

    def _inside(self, neighbour: PeerName | None) -> Hop | None:
        """The neighbour, if it can be reached inside a control connection."""
        if neighbour is None or self._tcp is None or not self._tcp.reaches(neighbour):
            return None
        return neighbour
