"""What could somebody on this host see? Every frame on its interfaces, or on one of them."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType
from typing import NamedTuple, Self

from tests.kit.inside import inside
from weave_py.lab.namespaces import Lab

_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 64 << 20
_UDP, _FRAGMENT_HEADER = 17, 44


class Seen(NamedTuple):
    """A frame, on which interface, and whether the host sent it there."""

    ifname: str
    outgoing: bool
    frame: bytes


class Wiretap:
    """Captures while the context lasts; `seen` afterwards. AssertionError if it missed any."""

    def __init__(self, lab: Lab, name: str, ifname: str = "") -> None:
        """`name` is a host or container; without `ifname` all its interfaces, also later ones."""
        self._lab, self._name, self._ifname = lab, name, ifname
        self._ended = threading.Event()
        self._frames: list[Seen] = []

    def __enter__(self) -> Self:
        self._sock = inside(self._lab, self._name, self._open)
        self._thread = threading.Thread(target=self._read, name=f"wiretap in {self._name}")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        counted = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._sock.close()
        if kind is None:
            assert struct.unpack("II", counted)[1] == 0, "the capture lost frames"

    def seen(self, *prefixes: str) -> list[Seen]:
        """What crossed the interfaces whose names begin so (all, if none are given)."""
        return [one for one in self._frames if not prefixes or one.ifname.startswith(prefixes)]

    def count(self, needle: bytes, *prefixes: str) -> int:
        """Frames on these interfaces that hold `needle`."""
        return sum(needle in one.frame for one in self.seen(*prefixes))

    def _open(self) -> socket.socket:
        # With protocol 0 nothing arrives from other interfaces before the bind says which.
        protocol = 0 if self._ifname else socket.htons(_ETH_P_ALL)
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        sock.settimeout(0.1)
        if self._ifname:
            sock.bind((self._ifname, _ETH_P_ALL))
        return sock

    def _read(self) -> None:
        while True:
            try:
                frame, (ifname, _, kind, *_rest) = self._sock.recvfrom(1 << 17)
            except TimeoutError:
                if self._ended.is_set():  # and nothing is left in the buffer
                    return
                continue
            self._frames.append(Seen(ifname, kind == socket.PACKET_OUTGOING, frame))


class Packet(NamedTuple):
    """What its IP header says."""

    protocol: int
    length: int
    is_fragment: bool
    may_be_cut: bool
    ports: tuple[int, int]
    """Source, destination; zeros if it has none, or is a later fragment."""


def packet_of(frame: bytes) -> Packet | None:
    """The IP packet in an Ethernet frame; None if there is none."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == _ETH_P_IP:
        first, _, length, _, offset, _, protocol = struct.unpack_from("!BBHHHBB", frame, 14)
        is_fragment = bool(offset & 0x3FFF)
        at = 14 + (first & 0x0F) * 4
        ports = _ports(frame, at, protocol) if not offset & 0x1FFF else (0, 0)
        return Packet(protocol, length, is_fragment, not offset & 0x4000, ports)
    if kind == _ETH_P_IPV6:
        length, protocol = struct.unpack_from("!HB", frame, 18)
        is_fragment = protocol == _FRAGMENT_HEADER
        return Packet(protocol, length + 40, is_fragment, False, _ports(frame, 54, protocol))
    return None


def datagrams(seen: list[Seen], port: int) -> list[Packet]:
    """The UDP packets among these frames that come from or go to `port`."""
    packets = [packet for one in seen if (packet := packet_of(one.frame)) is not None]
    return [packet for packet in packets if packet.protocol == _UDP and port in packet.ports]


def _ports(frame: bytes, at: int, protocol: int) -> tuple[int, int]:
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return (0, 0)
    source, destination = struct.unpack_from("!HH", frame, at)
    return (source, destination)
