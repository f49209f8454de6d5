"""Who drives the packet road? All TAPs and sockets behind one epoll, one wake-up a batch.

`run` waits for the epoll descriptor itself, so trio wakes once for whatever has become ready on
however many descriptors, and everything ready gets a turn before trio is asked again. What the
fast gear cannot do alone (probes that came in, traffic that began) is handed to the engine after
each batch.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable

import trio

from weave_py.host.tap import Tap
from weave_py.host.udp import UdpSocket
from weave_py.link.control import ControlRecord
from weave_py.link.outlet import Outlet, Way
from weave_py.link.sealing import Opener
from weave_py.link.trains import control_datagram
from weave_py.model.counters import RoadCounters
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.runtime.inbound import Inbound
from weave_py.runtime.outbound import Outbound
from weave_py.runtime.ports import Inlet, Port
from weave_py.runtime.relaying import Relaying
from weave_py.runtime.sleeve_sockets import SleeveSockets
from weave_py.wire.sleeve import FLAG_CONTROL, FLAG_LAST, relay_prefix

# Seconds before other tasks (the control road) get their turn, also under full load.
SLICE = 0.001
# A reply often follows within a few dozen microseconds, and going to sleep and being woken by trio
# takes as long. So after activity we look a little longer, but only while that has been worth it:
# if we were woken after a long rest, the next frame is not likely to come at once either.
SPIN = 0.000_1
SHORT_REST = 0.001


class Roads:
    """The packet road of a router. Create it, `run` it, tell it what the engine decided."""

    def __init__(
        self,
        ourself: PeerName,
        sockets: list[UdpSocket],
        on_controls: Callable[[list[ControlRecord]], None],
        on_woken: Callable[[list[PeerName]], None],
    ) -> None:
        self.counters = RoadCounters()
        self._sockets = SleeveSockets(sockets)
        self._ports: dict[PeerName, Port] = {}
        self._relaying = Relaying(self._sockets, self._ports, self.counters)
        self._outbound = Outbound(self._sockets, self._relaying)
        self._inbound = Inbound(ourself, self._relaying, self.counters)
        self._on_controls = on_controls
        self._on_woken = on_woken
        self._epoll = select.epoll()
        self._taps: dict[int, Port] = {}
        self._udp = {udp.sock.fileno(): udp for udp in sockets}
        for fd in self._udp:
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Close the TAPs (the sockets are the caller's)."""
        for peer in list(self._ports):
            self.remove_port(peer)
        self._epoll.close()

    async def run(self) -> None:
        """Carry frames until cancelled."""
        clock = time.perf_counter
        while not self._epoll.closed:
            asleep_at = clock()
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            now = clock()
            spin = SPIN if now - asleep_at < SHORT_REST else 0.0
            quiet_at, yield_at = now + spin, now + SLICE
            while True:
                if self._turn():
                    quiet_at = clock() + spin
                now = clock()
                if now >= yield_at:
                    await trio.lowlevel.checkpoint()
                    yield_at = clock() + SLICE
                elif now >= quiet_at:
                    break

    # --- what the engine decides ---------------------------------------------------------

    def add_port(self, peer: PeerName, outlet: Outlet) -> None:
        """The peer has a link now; its TAP follows with `plug`."""
        self._ports[peer] = Port(outlet)

    def plug(self, peer: PeerName, tap: Tap) -> bool:
        """The peer's TAP is a port of the bridge now. False if the peer is gone already."""
        port = self._ports.get(peer)
        if port is None:
            return False
        port.plug(tap)
        self._taps[tap.fd] = port
        self._epoll.register(tap.fd, select.EPOLLIN)
        return True

    def remove_port(self, peer: PeerName) -> None:
        port = self._ports.pop(peer, None)
        if port is not None and port.tap is not None:
            self._epoll.unregister(port.fd)
            del self._taps[port.fd]
            port.unplug()

    def open_session(self, peer: PeerName, index: int, opener: Opener) -> None:
        port = self._ports.get(peer)
        if port is not None:
            self._inbound.inlets[index] = Inlet(index, port, opener)

    def close_session(self, index: int) -> None:
        inlet = self._inbound.inlets.pop(index, None)
        if inlet is not None:
            lost = inlet.reassembly.given_up + len(inlet.reassembly)
            inlet.port.outlet.counters.records_incomplete += lost

    def use_routes(self, routes: RouteTable) -> None:
        self._relaying.routes = routes

    def send_control(self, peer: PeerName, way: Way, body: bytes) -> bool:
        """Seal and send a control record; False if it is larger than the interface's MTU."""
        port = self._ports.get(peer)
        if port is None or port.outlet.sealer is None or port.outlet.sealer.is_spent:
            return True
        prefix = b"" if way.endpoint else relay_prefix(peer)
        to = way.endpoint or self._relaying.endpoint_of(way.relay)
        if to is None:
            return True
        datagram = control_datagram(port.outlet, FLAG_CONTROL | FLAG_LAST, body, prefix)
        refused = self._sockets.send(to, (datagram,), len(datagram), 1)
        return refused != errno.EMSGSIZE

    # --- inside --------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Give every ready descriptor a turn; False if there was none."""
        if self._epoll.closed:  # by another task that woke in the same moment as `run`
            return False
        ready = self._epoll.poll(0)
        for fd, events in ready:
            port = self._taps.get(fd)
            if port is not None:
                if events & select.EPOLLIN:
                    self._outbound.drain(port)
                else:
                    self._lost(fd, port)
            elif fd in self._udp:
                self._inbound.drain(self._udp[fd])
        if self._inbound.controls:
            controls, self._inbound.controls = self._inbound.controls, []
            self._on_controls(controls)
        if self._outbound.woken:
            woken, self._outbound.woken = self._outbound.woken, []
            self._on_woken(woken)
        return bool(ready)

    def _lost(self, fd: int, port: Port) -> None:
        """The TAP reports an error: somebody deleted the device, or took it down."""
        try:
            os.readv(fd, (bytearray(1),))
        except BlockingIOError:
            return
        except OSError:
            self._epoll.unregister(fd)
            del self._taps[fd]
            port.unplug()
