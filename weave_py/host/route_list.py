"""Where does the kernel send packets, by its routing tables?

Of the calling thread's network namespace. All tables count: rules may send packets to any.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from weave_py.host.refusal import refused
from weave_py.host.rtnl import RouteSocket, attributes

Network = IPv4Network | IPv6Network

_RTM_GETROUTE = 26
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, length of destination, …, type, flags
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_DST, _OIF, _GATEWAY, _MULTIPATH, _VIA = 1, 4, 5, 9, 18
# Those that packets follow, or end at: unicast, local, blackhole, unreachable, prohibit.
_KINDS: Final = frozenset((1, 2, 6, 7, 8))
_CLONED = 0x200  # the cached answer to a question, no route


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """One route."""

    destination: Network
    ifnames: frozenset[str]
    """The interfaces that packets leave by; empty if they end here."""
    gateways: tuple[IPv4Address | IPv6Address, ...] = ()


def routes() -> list[KernelRoute]:
    """All of IPv4 and IPv6, this host's own addresses among them. HostError when refused."""
    found: list[KernelRoute] = []
    try:
        names = dict(socket.if_nameindex())
        with RouteSocket() as kernel:
            for family in (socket.AF_INET, socket.AF_INET6):
                request = _ROUTE.pack(family, *(0,) * 8)
                for payload in kernel.dump(_RTM_GETROUTE, request):
                    if (route := parse_route(payload, names)) is not None:
                        found.append(route)
    except OSError as error:
        raise refused("cannot list the routes", error.errno) from None
    return found


def parse_route(payload: bytes, names: dict[int, str]) -> KernelRoute | None:
    """What a message about a route says; None if packets do not follow it.

    `names`: the interfaces, by index.
    """
    family, length, _, _, _, _, _, kind, flags = _ROUTE.unpack_from(payload)
    if kind not in _KINDS or flags & _CLONED or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = attributes(payload, _ROUTE.size)
    no_address = bytes(4 if family == socket.AF_INET else 16)
    indices, gateways = _next_hop(found)
    for more_indices, more_gateways in _next_hops(found.get(_MULTIPATH, b"")):
        indices += more_indices
        gateways += more_gateways
    return KernelRoute(
        ipaddress.ip_network((found.get(_DST, no_address), length), strict=False),
        frozenset(names.get(index, f"interface {index}") for index in indices),
        tuple(gateways),
    )


def _next_hops(data: bytes) -> Iterator[tuple[list[int], list[IPv4Address | IPv6Address]]]:
    """Of a route that has several."""
    while len(data) >= _NEXT_HOP.size:
        length, _, _, index = _NEXT_HOP.unpack_from(data)
        if not _NEXT_HOP.size <= length <= len(data):
            return
        _, gateways = _next_hop(attributes(data[:length], _NEXT_HOP.size))
        yield [index], gateways
        data = data[length + 3 & ~3 :]


def _next_hop(found: dict[int, bytes]) -> tuple[list[int], list[IPv4Address | IPv6Address]]:
    """Index of the interface, and address of the router; lists, as both may be missing."""
    indices = [int.from_bytes(found[_OIF], sys.byteorder)] if _OIF in found else []
    gateways = [ipaddress.ip_address(found[_GATEWAY])] if _GATEWAY in found else []
    if _VIA in found:  # a router of the other family: its family (2 bytes), its address
        gateways.append(ipaddress.ip_address(found[_VIA][2:]))
    return indices, gateways
