"""Through which sockets do sealed datagrams leave and arrive, and where do we listen?

Datagrams carry DF always and ignore the kernel's own path MTU (RFC 8899 §3: the probing layer is
ours, in `link`); trains of equal segments cross the kernel in one call each way (GSO, GRO).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from weave_py.host.refusal import refused
from weave_py.host.socket_table import holder
from weave_py.model.errors import ConfigError, HostError

BUFFER_BYTES: Final = 8 << 20
"""Socket buffers: about 10 ms at 6 Gb/s, so that a late wake-up loses nothing."""

UDP_SEGMENT: Final = 103
"""linux/udp.h: cut one send into equal datagrams (at most 64 of them, 65,507 bytes)."""

UDP_GRO: Final = 104
"""linux/udp.h: receive such a train in one piece; a control message tells the segment size."""

LISTEN_BACKLOG: Final = 128

# linux/in.h, linux/in6.h, asm-generic/socket.h; absent from Python's `socket`.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3  # DF on everything; never shrink to what an ICMP message claims
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_SO_MEMINFO = 55  # nine u32, of which the first is what waits (linux/sock_diag.h)
_FIRST = struct.Struct("=I")

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)

_Opened = TypeVar("_Opened")


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """A bound, non-blocking socket and what the kernel does for it."""

    sock: socket.socket
    family: socket.AddressFamily
    gso: bool
    """UDP_SEGMENT may be given with a send."""
    gro: bool
    """UDP_GRO is on: a receive may hold several equal datagrams."""

    def close(self) -> None:
        self.sock.close()

    def queued_bytes(self) -> int:
        """How much memory the datagrams that wait to be received take."""
        taken: int = _FIRST.unpack_from(self.sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[0]
        return taken


def open_udp(host: str | None, port: int) -> list[UdpSocket]:
    """Sockets bound to `port`: one for the numeric `host`, or IPv4 and IPv6 wildcards if None.

    Port 0 takes a free one, the same for both. HostError when the port or address cannot be had;
    ConfigError when `host` is not numeric.
    """

    def bound(family: socket.AddressFamily, address: str, port: int) -> UdpSocket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _bind(sock, "UDP", address, port)
            return _tuned(sock, family)
        except BaseException:
            sock.close()
            raise

    return _open_all(bound, lambda opened: opened.sock, host, port)


def open_tcp_listeners(host: str | None, port: int) -> list[socket.socket]:
    """Non-blocking listening sockets on `port`, like `open_udp`."""

    def bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Connections of a router that just ended linger in TIME_WAIT; they are no obstacle.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(sock, "TCP", address, port, listen=True)
            sock.setblocking(False)
            return sock
        except BaseException:
            sock.close()
            raise

    return _open_all(bound, lambda opened: opened, host, port)


def _open_all(
    bound: Callable[[socket.AddressFamily, str, int], _Opened],
    socket_of: Callable[[_Opened], socket.socket],
    host: str | None,
    port: int,
) -> list[_Opened]:
    if host is not None:
        return [bound(_family_of(host), host, port)]
    opened = [bound(socket.AF_INET, "0.0.0.0", port)]
    try:
        same_port = socket_of(opened[0]).getsockname()[1]
        opened.append(bound(socket.AF_INET6, "::", same_port))
    except OSError as error:  # the errors that `_bind` does not translate: no IPv6 here
        if error.errno not in _NO_SUCH_FAMILY:
            socket_of(opened[0]).close()
            raise refused("cannot open an IPv6 socket", error.errno) from None
    except BaseException:
        socket_of(opened[0]).close()
        raise
    return opened


def _family_of(host: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise ConfigError(
            f"not an address to listen on: {host!r}: give a numeric IPv4 or IPv6 address"
        ) from None
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _bind(sock: socket.socket, kind: str, address: str, port: int, *, listen: bool = False) -> None:
    wildcard = address in ("0.0.0.0", "::")
    try:
        # getaddrinfo resolves the scope of a link-local address (fe80::1%eth0).
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        resolved = socket.getaddrinfo(address, port, sock.family, sock.type, flags=flags)
        sock.bind(resolved[0][4])
        if listen:
            sock.listen(LISTEN_BACKLOG)
    except socket.gaierror as error:
        raise HostError(f"cannot listen on {address}: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HostError(
                f"{kind} port {port} is in use by {holder(kind, address, port)}: "
                "stop it or choose --port"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL and not wildcard:
            raise HostError(
                f"cannot listen on {address}: no interface of this host has that address"
            ) from None
        if error.errno in _NO_SUCH_FAMILY:
            raise
        raise refused(
            f"cannot listen on {kind} port {port}", error.errno, capability="CAP_NET_BIND_SERVICE"
        ) from None


def _tuned(sock: socket.socket, family: socket.AddressFamily) -> UdpSocket:
    sock.setblocking(False)
    _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
    _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    # Setting 0 leaves segmentation off (it comes with each send), and fails where it is unknown.
    gso = _accepts(sock, UDP_SEGMENT, 0)
    return UdpSocket(sock, family, gso, _accepts(sock, UDP_GRO, 1))


def _enlarge(sock: socket.socket, force: int, plain: int) -> None:
    """The full size with CAP_NET_ADMIN, else as much as net.core.[rw]mem_max allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)


def _accepts(sock: socket.socket, option: int, value: int) -> bool:
    try:
        sock.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError:
        return False
    return True
