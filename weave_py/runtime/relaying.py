"""How do sealed datagrams of others get on their way? Trains pass as they came, unopened."""

from __future__ import annotations

from weave_py.model.counters import RoadCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.runtime.ports import Port
from weave_py.runtime.sleeve_sockets import SleeveSockets
from weave_py.wire.sleeve import HOP_LIMIT, RELAY_PREFIX_BYTES


class Relaying:
    """Knows the next hop to every peer, and passes relayed trains on to it."""

    def __init__(
        self, sockets: SleeveSockets, ports: dict[PeerName, Port], counters: RoadCounters
    ) -> None:
        self.routes = RouteTable()
        self._sockets = sockets
        self._ports = ports
        self._counters = counters

    def endpoint_of(self, neighbour: PeerName | None) -> Endpoint | None:
        """Where datagrams for this neighbour go directly, if they can."""
        port = None if neighbour is None else self._ports.get(neighbour)
        way = port.outlet.way if port is not None else None
        return None if way is None else way.endpoint

    def forward(
        self, buffer: bytearray, length: int, size: int, count: int, source: tuple[str, int]
    ) -> None:
        """Pass on `count` relayed datagrams of `size` bytes (the last may be shorter), all with
        the same prefix."""
        hop_limit = min(buffer[1], HOP_LIMIT)
        if hop_limit <= 1:
            self._counters.relay_hop_limit += count
            return
        destination = PeerName(bytes(buffer[2:RELAY_PREFIX_BYTES]))
        to = self.endpoint_of(self.routes.relay.get(destination))
        if to is None or to == source[:2]:  # never back: routes that differ make no ping-pong
            self._counters.relay_no_route += count
            return
        buffer[1:length:size] = bytes((hop_limit - 1,)) * count
        if self._sockets.send(to, (memoryview(buffer)[:length],), size, count):
            self._counters.relay_send_refused += count
        else:
            self._counters.datagrams_relayed += count
