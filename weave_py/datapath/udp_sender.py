"""How do datagrams leave this host? One sendmsg per train, by the socket of the right family."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

from weave_py.host.udp import UDP_SEGMENT, UdpSocket
from weave_py.model.names import Endpoint

_SEGMENT = struct.Struct("=H").pack
_SOL_UDP = socket.IPPROTO_UDP
MAX_CACHED = 4096

Address = tuple[str, int] | tuple[str, int, int, int]
Buffers = Sequence[memoryview | bytes]


class UdpSender:
    """The UDP sockets. `send` never blocks and never raises for what the network does."""

    def __init__(self, sockets: list[UdpSocket]) -> None:
        self.sockets = sockets
        self._by_family = {s.family == socket.AF_INET6: s for s in sockets}
        self._known: dict[Endpoint, tuple[UdpSocket, Address] | None] = {}

    def send(self, to: Endpoint, buffers: Buffers, size: int, count: int) -> int:
        """Send `count` datagrams of `size` bytes (the last may be shorter) that lie back to back
        in `buffers`; 0, or the errno of why not (EMSGSIZE: larger than the interface's MTU)."""
        found = self._known.get(to) or self._look_up(to)
        if found is None:
            return errno.EAFNOSUPPORT
        udp, address = found
        try:
            if count == 1:
                udp.sock.sendmsg(buffers, (), 0, address)
            elif udp.gso:
                udp.sock.sendmsg(buffers, ((_SOL_UDP, UDP_SEGMENT, _SEGMENT(size)),), 0, address)
            else:
                self._send_one_by_one(udp.sock, address, buffers, size)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    @staticmethod
    def _send_one_by_one(
        sock: socket.socket, address: Address, buffers: Buffers, size: int
    ) -> None:
        """Without UDP_SEGMENT: what the kernel would have cut."""
        train = memoryview(b"".join(buffers))
        for at in range(0, len(train), size):
            sock.sendto(train[at : at + size], address)

    def _look_up(self, to: Endpoint) -> tuple[UdpSocket, Address] | None:
        udp = self._by_family.get(to.family_is_ipv6)
        found: tuple[UdpSocket, Address] | None = None
        if udp is not None:
            flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            try:
                address = socket.getaddrinfo(to.host, to.port, udp.family, flags=flags)[0][4]
            except OSError:
                return None  # the interface that a link-local address names is gone
            found = (udp, address)  # type: ignore[assignment]  # numeric: never a name
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        self._known[to] = found
        return found
