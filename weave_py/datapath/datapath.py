"""Who drives the data plane? All TAPs and sockets, a turn for each that is ready.

The main loop wakes once for whatever has become ready on however many descriptors, and calls
`turn`. What the fast gear cannot do alone (probes that came in, traffic that began) is handed over
after each batch, for the engine.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable

from fastdp.kernel.probe_socket import ProbeSocket
from weave_py.datapath.inbound import Inbound
from weave_py.datapath.outbound import Outbound
from weave_py.datapath.port import Port
from weave_py.datapath.relay import Relay
from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.datapath.train import control_datagram
from weave_py.datapath.udp_sender import UdpSender
from weave_py.host.tap import Tap
from weave_py.host.udp import UdpSocket
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop, prefix_to
from weave_py.link.sealing import Opener
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.sleeve import FLAG_CONTROL, FLAG_LAST


class Datapath:
    """The data plane of a router. Have its `turn` called, tell it what the engine decided."""

    def __init__(
        self,
        ourself: PeerName,
        epoll: select.epoll,
        sockets: list[UdpSocket],
        on_controls: Callable[[list[ControlRecord]], None],
        on_woken: Callable[[list[PeerName]], None],
        tcp: TcpTunnel | None = None,
        probes: ProbeSocket | None = None,
        on_probes: Callable[[list[bytes]], None] | None = None,
        on_lost: Callable[[PeerName], None] | None = None,
    ) -> None:
        """`tcp`: how to send inside control connections. `probes`, `on_probes`: of the fast
        datapath. `on_lost`: a peer's TAP is gone, though nobody asked for that."""
        self.counters = DatapathCounters()
        self._sockets = UdpSender(sockets)
        self._ports: dict[PeerName, Port] = {}
        self._relay = Relay(self._sockets, self._ports, self.counters, tcp)
        self._outbound = Outbound(self._relay)
        self._inbound = Inbound(ourself, self._relay, self.counters)
        self._on_controls = on_controls
        self._on_woken = on_woken
        self._epoll = epoll
        self._on_probes = on_probes
        self._on_lost = on_lost
        self._taps: dict[int, Port] = {}
        self._probes = probes
        if probes is not None:
            self._epoll.register(probes.fileno(), select.EPOLLIN)
        self._udp = {udp.sock.fileno(): udp for udp in sockets}
        for fd in self._udp:
            self._epoll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Close the TAPs, and carry nothing more (sockets and epoll are the caller's)."""
        for peer in list(self._ports):
            self.remove_port(peer)
        for fd in self._udp:
            self._epoll.unregister(fd)
        self._udp = {}
        if self._probes is not None:
            self._epoll.unregister(self._probes.fileno())
            self._probes = None

    def turn(self, ready: list[tuple[int, int]]) -> None:
        """Give every ready descriptor a turn."""
        for fd, events in ready:
            port = self._taps.get(fd)
            if port is not None:
                if events & select.EPOLLIN:
                    self._outbound.drain(port)
                else:
                    self._lost(fd, port)
            elif fd in self._udp:
                self._inbound.drain(self._udp[fd])
            elif self._probes is not None and fd == self._probes.fileno():
                self._receive_probes(self._probes)
        self._hand_over_controls()
        if self._outbound.woken:
            woken, self._outbound.woken = self._outbound.woken, []
            self._on_woken(woken)

    # --- what the engine decides ---------------------------------------------------------

    def add_port(self, peer: PeerName, egress: Egress) -> None:
        """The peer has a link now; its TAP follows with `plug`."""
        self._ports[peer] = Port(egress)

    def plug(self, peer: PeerName, tap: Tap) -> bool:
        """The peer's TAP is a port of the bridge now. False if the peer is gone already."""
        port = self._ports.get(peer)
        if port is None:
            return False
        port.plug(tap)
        self._taps[tap.fd] = port
        self._epoll.register(tap.fd, select.EPOLLIN)
        return True

    def unplug(self, peer: PeerName) -> None:
        """Close the peer's TAP, which is of no use any more; another one may be plugged."""
        port = self._ports.get(peer)
        if port is not None and port.tap is not None:
            self._epoll.unregister(port.fd)
            del self._taps[port.fd]
            port.unplug()

    def remove_port(self, peer: PeerName) -> None:
        self.unplug(peer)
        self._ports.pop(peer, None)

    def send_probe(self, peer: PeerName, frame: bytes) -> None:
        """Send a frame out of the peer's VXLAN device."""
        if self._probes is not None:
            self._probes.send(peer, frame)

    def open_session(self, peer: PeerName, index: int, opener: Opener) -> None:
        port = self._ports.get(peer)
        if port is not None:
            self._inbound.open_session(index, port, opener)

    def close_session(self, index: int) -> None:
        ingress = self._inbound.ingresses.pop(index, None)
        if ingress is not None:
            ingress.port.egress.counters.records_incomplete += ingress.reassembly.close()

    def use_routes(self, routes: RouteTable) -> None:
        self._relay.forwarding.routes = routes

    def send_control(self, peer: PeerName, next_hop: NextHop, body: bytes) -> bool:
        """Seal and send a control record; False if it is larger than the interface's MTU."""
        port = self._ports.get(peer)
        if port is None or port.egress.sealer is None or port.egress.sealer.is_spent:
            return True
        hop = self._relay.forwarding.first_hop(next_hop)
        if hop is None:
            return True
        prefix = prefix_to(peer, next_hop)
        datagram = control_datagram(port.egress, FLAG_CONTROL | FLAG_LAST, body, prefix)
        refused = self._relay.send(hop, (datagram,), len(datagram), 1, is_control=True)
        return refused != errno.EMSGSIZE

    def receive_train(self, neighbour: PeerName, size: int, datagrams: bytes) -> None:
        """Sleeve datagrams, `size` bytes each but the last, came inside a control connection."""
        self._inbound.receive_train(neighbour, size, datagrams)
        self._hand_over_controls()

    # --- inside --------------------------------------------------------------------------

    def _hand_over_controls(self) -> None:
        if self._inbound.controls:
            controls, self._inbound.controls = self._inbound.controls, []
            self._on_controls(controls)

    def _receive_probes(self, probes: ProbeSocket) -> None:
        frames = probes.receive()
        if frames and self._on_probes is not None:
            self._on_probes(frames)

    def _lost(self, fd: int, port: Port) -> None:
        """The TAP reports an error: somebody deleted the device, or took it down."""
        try:
            os.readv(fd, (bytearray(1),))
        except BlockingIOError:
            return
        except OSError:
            self.unplug(port.egress.peer)
            if self._on_lost is not None:
                self._on_lost(port.egress.peer)
