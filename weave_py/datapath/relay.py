"""How do sealed datagrams of others get on their way? Relaying: trains pass unopened.

Where to is decided by `link.forwarding`.
"""

from __future__ import annotations

from weave_py.datapath.port import Port
from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.datapath.udp_sender import Buffers, UdpSender
from weave_py.link.forwarding import Adjacency, Drop, Forwarding, hops_left
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.sleeve import RELAY_PREFIX_BYTES


class Relay:
    """Sends trains to where they go next, and passes on those of others."""

    def __init__(
        self,
        sockets: UdpSender,
        ports: dict[PeerName, Port],
        counters: DatapathCounters,
        tcp: TcpTunnel | None = None,
    ) -> None:
        self.forwarding = Forwarding(self._endpoint_of, _nobody if tcp is None else tcp.reaches)
        self._sockets = sockets
        self._ports = ports
        self._counters = counters
        self._tcp = tcp

    def send(
        self, hop: Adjacency, buffers: Buffers, size: int, count: int, is_control: bool = False
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
        left = hops_left(buffer[1])
        came_from = source[:2] if isinstance(source, tuple) else source
        destination = PeerName(bytes(buffer[2:RELAY_PREFIX_BYTES]))
        hop = self.forwarding.onward(destination, left, came_from)
        if isinstance(hop, Drop):
            hop.count(self._counters, count)
            return
        buffer[1:length:size] = bytes((left,)) * count
        if self.send(hop, (memoryview(buffer)[:length],), size, count):
            self._counters.relay_send_refused += count
        else:
            self._counters.datagrams_relayed += count

    # --- inside --------------------------------------------------------------------------

    def _endpoint_of(self, peer: PeerName) -> Endpoint | None:
        port = self._ports.get(peer)
        return None if port is None else port.egress.endpoint


def _nobody(neighbour: PeerName) -> bool:
    return False
