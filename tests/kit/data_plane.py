"""How does the data plane run without a kernel? Its sockets and TAPs, and a wire with faults.

A `Host` has the data plane's own parts (Outbound, Inbound, Relay); only what is below them is
replaced: a socket that cuts trains as UDP_SEGMENT does, and TAPs that are socket pairs, which keep
frames apart as a TAP does. `merge` puts datagrams together as GRO may.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, cast

from weave_py.crypto.suites import Suite
from weave_py.datapath.inbound import Inbound
from weave_py.datapath.outbound import Outbound
from weave_py.datapath.port import IngressSession, Port
from weave_py.datapath.relay import Relay
from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.datapath.udp_sender import UdpSender
from weave_py.host.tap import Tap
from weave_py.host.udp import UDP_GRO, UDP_SEGMENT, UdpSocket
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.sleeve import FRAME_HEADER_BYTES, FRAME_LENGTH_OFFSET

PORT = 6783
MAX_TRAIN = 65_507
Buffers = Sequence[memoryview | bytes]
Address = tuple[str, int]


class Datagram(NamedTuple):
    payload: bytes
    source: Address
    destination: Address


class FakeSocket:
    """A UDP socket with UDP_SEGMENT and UDP_GRO, as far as the data plane uses it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.sent: list[Datagram] = []
        self.calls = 0
        self.trains: list[tuple[bytes, int, Address]] = []
        """What is still to be received: bytes, segment size, source."""
        self.error: int = 0
        """errno of every send from now on."""
        self.mtu_payload = 65_507
        self.is_paced = True
        """One train per turn, so that a test can empty the TAPs in between."""
        self._turn_over = False

    def sendmsg(
        self,
        buffers: Buffers,
        ancillary: Sequence[tuple[int, int, bytes]],
        flags: int,
        address: Address,
    ) -> int:
        data = b"".join(buffers)
        size = len(data)
        for level, kind, value in ancillary:
            assert (level, kind) == (socket.IPPROTO_UDP, UDP_SEGMENT)
            (size,) = struct.unpack("=H", value)
        assert 0 < len(data) <= MAX_TRAIN, "the kernel would refuse so much"
        assert len(data) <= 64 * size, "the kernel would refuse so many segments"
        return self._send(data, size, address)

    def sendto(self, data: memoryview | bytes, address: Address) -> int:
        return self._send(bytes(data), len(data), address)

    def _send(self, data: bytes, size: int, address: Address) -> int:
        self.calls += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        if size > self.mtu_payload:
            raise OSError(90, os.strerror(90))
        for at in range(0, len(data), size):
            self.sent.append(Datagram(data[at : at + size], self.address, address))
        return len(data)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """SO_MEMINFO: only what waits to be received."""
        waiting = sum(len(data) for data, _, _ in self.trains)
        return struct.pack("=I", waiting).ljust(size, b"\0")

    def recvmsg_into(
        self, buffers: Sequence[memoryview], ancillary_bytes: int
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Address]:
        if self._turn_over or not self.trains:
            self._turn_over = False
            raise BlockingIOError
        self._turn_over = self.is_paced
        data, size, source = self.trains.pop(0)
        buffers[0][: len(data)] = data
        gro = (socket.IPPROTO_UDP, UDP_GRO, struct.pack("=i", size))
        return len(data), [gro] if size < len(data) else [], 0, source

    def take(self) -> list[Datagram]:
        taken, self.sent = self.sent, []
        return taken


def udp_socket(fake: FakeSocket, gso: bool = True) -> UdpSocket:
    return UdpSocket(cast(socket.socket, fake), socket.AF_INET, gso, True)


class FakeTap:
    """A TAP: `inside` is the bridge's end. Frames are written and read whole."""

    def __init__(self) -> None:
        ours, self.inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, self.inside):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.tap = Tap(ours.detach(), "tap", frozenset())

    def offer(self, frame: bytes) -> bool:
        """Give a frame (behind its 16 bytes) to the router; False if the queue is full."""
        try:
            return self.inside.send(frame) == len(frame)
        except BlockingIOError:
            return False

    def taken(self) -> list[bytes]:
        """The frames that the router has written."""
        frames = []
        try:
            while data := self.inside.recv(1 << 17):
                frames.append(data)
        except BlockingIOError:
            pass
        return frames

    def close(self) -> None:
        self.tap.close()
        self.inside.close()


class Host:
    """The data plane of a router. A context manager."""

    def __init__(self, number: int, gso: bool = True) -> None:
        self.name = PeerName(bytes((2, 0, 0, 0, 0, number)))
        self.endpoint = Endpoint(f"10.0.0.{number}", PORT)
        self.socket = FakeSocket((self.endpoint.host, PORT))
        self.udp = udp_socket(self.socket, gso)
        self.counters = DatapathCounters()
        self.ports: dict[PeerName, Port] = {}
        self.taps: dict[PeerName, FakeTap] = {}
        self.use_tunnel(None)

    def use_tunnel(self, tcp: TcpTunnel | None) -> None:
        """Before anything else: how to send inside control connections."""
        self.relay = Relay(UdpSender([self.udp]), self.ports, self.counters, tcp)
        self.outbound = Outbound(self.relay)
        self.inbound = Inbound(self.name, self.relay, self.counters)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for tap in self.taps.values():
            tap.close()

    def egress(self, peer: Host) -> Egress:
        return self.port(peer).egress

    def port(self, peer: Host) -> Port:
        port = self.ports.get(peer.name)
        if port is None:
            port = self.ports[peer.name] = Port(Egress(peer.name))
            self.taps[peer.name] = FakeTap()
            port.plug(self.taps[peer.name].tap)
        return port

    def routes(self, relay: dict[PeerName, PeerName]) -> None:
        self.relay.forwarding.routes = RouteTable(relay=relay)

    def send(self, peer: Host, frames: Iterable[bytes]) -> None:
        """Frames for a peer come out of its TAP, in as few turns as the TAP's queue allows."""
        port, tap = self.port(peer), self.taps[peer.name]
        for frame in frames:
            if not tap.offer(frame):
                self.outbound.drain(port)
                assert tap.offer(frame)
        for _ in range(64):
            self.outbound.drain(port)

    def receive(self, trains: Iterable[tuple[bytes, int, Address]]) -> None:
        """These trains come in."""
        self.socket.trains += trains
        while self.socket.trains:
            self.inbound.drain(self.udp)

    def delivered(self, peer: Host) -> list[bytes]:
        return self.taps[peer.name].taken()


def pair(
    source: Host, destination: Host, index: int, suite: Suite = Suite.AES_256_GCM
) -> IngressSession:
    """A session: `destination` opens under `index` what `source` seals. One direction."""
    key = index.to_bytes(4, "little") * 8
    source.egress(destination).sealer = Sealer(suite, key, index)
    destination.inbound.open_session(index, destination.port(source), Opener(suite, key))
    return destination.inbound.ingresses[index]


def use_direct(source: Host, destination: Host, datagram_bytes: int) -> None:
    source.egress(destination).use(NextHop(destination.endpoint, None), datagram_bytes)


def use_relay(source: Host, destination: Host, relay: Host, datagram_bytes: int) -> None:
    source.egress(destination).use(NextHop(None, relay.name), datagram_bytes)


def make_frame(number: int, size: int) -> bytes:
    """A frame of `size` bytes that is like no other number's, behind what a TAP puts before it
    (of which the last four bytes are the router's to use). It is no super-frame."""
    dice = random.Random(number)
    return (
        dice.randbytes(1)
        + b"\0"
        + dice.randbytes(10)
        + b"\xee" * 4
        + (number.to_bytes(4, "big") + dice.randbytes(size))[:size]
    )


def essence(frame: bytes) -> bytes:
    """What must arrive as it was: all but the length field."""
    return frame[:FRAME_LENGTH_OFFSET] + frame[FRAME_HEADER_BYTES:]


def merge(
    datagrams: Sequence[Datagram], dice: random.Random | None = None
) -> list[tuple[bytes, int, Address]]:
    """Trains as GRO makes them: datagrams of one source that follow each other, of equal size but
    for the last, which may be shorter; with `dice`, it stops merging wherever it likes."""
    trains: list[tuple[bytes, int, Address]] = []
    current: list[bytes] = []
    source: Address | None = None

    def end() -> None:
        if current:
            assert source is not None
            trains.append((b"".join(current), len(current[0]), source))
            current.clear()

    for payload, origin, _ in datagrams:
        fits = (
            bool(current)
            and origin == source
            and len(current[-1]) == len(current[0]) >= len(payload)
            and len(current) < 64
            and len(payload) + sum(map(len, current)) <= MAX_TRAIN
        )
        if not fits or (dice is not None and dice.random() < 0.1):
            end()
        source = origin
        current.append(payload)
    end()
    return trains
