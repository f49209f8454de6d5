"""Where can this host be reached, and which way does it send to others? The kernel's answers.

Addresses, devices and routes by rtnetlink. A device is *inside* if what is sent by it enters a
bridge of weave-py's, ours or another network's: the bridge, its ports, and all that stands on
them, such as a macvlan, a VLAN, the other end of a veth, a bridge that one of them is a port of.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from weave_py.host.refusal import refused
from weave_py.host.rtnl import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    Attributes,
    RouteSocket,
    attribute,
    attributes,
    text,
)
from weave_py.model.marks import MARK
from weave_py.model.underlay import NO_ROUTE, OwnAddress, Route

# linux/if_link.h, if_addr.h, rtnetlink.h
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBi")
_RTMSG = struct.Struct("=BBBBBBBBI")
_U32 = struct.Struct("=I")
_IFNAME, _LINK, _MASTER, _LINKINFO, _IFALIAS, _EXT_MASK, _NETNSID = 3, 5, 10, 18, 20, 29, 37
_KIND = 1
_SKIP_STATISTICS = attribute(_EXT_MASK, _U32.pack(0x8))
_ADDRESS, _LOCAL, _FLAGS = 1, 2, 8
_DST, _OIF, _PREFSRC = 1, 4, 7
_IFF_UP = 0x1
_IFA_F_UNUSABLE = 0x08 | 0x20 | 0x40  # duplicate found, deprecated, tentative
_SCOPE_GLOBAL = 0
_LOCAL_ROUTE = 2  # RTN_LOCAL
_UNICAST_ROUTE = 1

_NOBODY: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses of documentation (RFC 5737, RFC 3849): what leads there is the default route."""
_WIRELESS_KINDS: Final = ("veth", "tun")
"""What a bridge may have as ports without leading out of this host."""


@dataclass(frozen=True, slots=True)
class Device:
    """What of a network device matters here."""

    index: int
    name: str
    kind: str
    """As in `ip -d link`; empty for a physical one."""
    alias: str
    is_up: bool
    master: int = 0
    """The bridge (bond …) that it is a port of; 0: none."""
    below: int = 0
    """What it stands on in this namespace (macvlan, VLAN, the other end of a veth …); 0: none."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """What a look at the kernel found."""

    addresses: tuple[OwnAddress, ...]
    inside: frozenset[int]
    """Indexes of the devices of inner networks."""


def look(bridge: str, is_peers_port: Callable[[str], bool]) -> Underlay:
    """Look at this thread's network namespace. HostError when the kernel refuses.

    `bridge` is ours; others of weave-py's are known by their mark, or by ports that are a peer's,
    as `is_peers_port` tells of a name.
    """
    try:
        with RouteSocket() as sock:
            request = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _SKIP_STATISTICS
            devices = [_device(payload) for payload in sock.dump(RTM_GETLINK, request)]
            found = sock.dump(RTM_GETADDR, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
            ways = [_ask(sock, address) for address in _NOBODY]
    except OSError as error:
        raise refused("cannot look at this host's addresses", error.errno) from None
    defaults = frozenset(device for kind, device, _ in ways if kind == _UNICAST_ROUTE)
    inside = inside_of(devices, bridge, is_peers_port, defaults)
    outside = {d.index: d for d in devices if d.is_up and d.index not in inside}
    lonely = lonely_of(devices)
    addresses = [
        OwnAddress(host, index in defaults, index in lonely)
        for index, host in filter(None, map(_usable_address, found))
        if index in outside
    ]
    return Underlay(tuple(addresses), inside)


def inside_of(
    devices: Collection[Device],
    bridge: str,
    is_peers_port: Callable[[str], bool],
    defaults: frozenset[int] = frozenset(),
) -> frozenset[int]:
    """Indexes of the devices by which one gets into an inner network.

    A bridge that joins one with a wire counts, too, unless a default route leaves by it
    (`defaults`): without that the host would have no underlay at all.
    """
    masters = {d.master for d in devices if d.master and is_peers_port(d.name)}
    inside = {
        d.index
        for d in devices
        if d.kind == "bridge" and (d.name == bridge or d.alias == MARK or d.index in masters)
    }
    by_index = {d.index: d for d in devices}
    while True:
        more = {d.index for d in devices if _leads_into(d, by_index, inside)}
        joined = {by_index[index].master for index in inside if index in by_index}
        more |= {d.index for d in devices if d.kind == "bridge" and d.index in joined - defaults}
        if more <= inside:
            return frozenset(inside)
        inside |= more


def _leads_into(device: Device, by_index: Mapping[int, Device], inside: Collection[int]) -> bool:
    """Whether what is sent by `device` enters one of those it is attached to."""
    if device.master in inside:
        return True
    # Through what stands on a *port* (a VLAN of its wire) frames leave, and do not get in: only
    # the other end of a veth gets in there.
    below = by_index.get(device.below)
    is_port = below is not None and below.master in inside
    return device.below in inside and (device.kind == "veth" or not is_port)


def lonely_of(devices: Collection[Device]) -> frozenset[int]:
    """Indexes of the bridges that have no wire."""
    wired = {d.master for d in devices if d.kind not in _WIRELESS_KINDS}
    return frozenset(d.index for d in devices if d.kind == "bridge" and d.index not in wired)


class RouteFinder:
    """Asks the kernel which way it would send; some 60 µs an address. A context manager."""

    def __init__(self) -> None:
        """HostError when the kernel refuses."""
        try:
            self._sock = RouteSocket()
        except OSError as error:
            raise refused("cannot ask the kernel for routes", error.errno) from None

    def find(self, hosts: Iterable[str], inside: Collection[int]) -> Mapping[str, Route]:
        """The ways to these numeric addresses; `inside`: devices of inner networks. Never raises:
        where the kernel refuses there is no route."""
        return {host: self._find(host, inside) for host in hosts}

    def _find(self, host: str, inside: Collection[int]) -> Route:
        kind, device, source = _ask(self._sock, host)
        if kind == _LOCAL_ROUTE:
            return Route(source, here=True)
        return Route(source, inside=device in inside) if kind == _UNICAST_ROUTE else NO_ROUTE

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> RouteFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- messages ----------------------------------------------------------------------------


def _device(payload: bytes) -> Device:
    """From the payload of RTM_NEWLINK."""
    _, _, index, flags, _ = _IFINFO.unpack_from(payload)
    found = attributes(payload, _IFINFO.size)
    return Device(
        index,
        text(found.get(_IFNAME)),
        text(attributes(found.get(_LINKINFO, b"")).get(_KIND)),
        text(found.get(_IFALIAS)),
        bool(flags & _IFF_UP),
        _number(found, _MASTER),
        # With a namespace's id it is a device of that namespace, which is none of ours.
        0 if _NETNSID in found else _number(found, _LINK),
    )


def _usable_address(payload: bytes) -> tuple[int, str] | None:
    """(index, address) from the payload of RTM_NEWADDR; None if others cannot use it."""
    _, _, flags, scope, index = _IFADDR.unpack_from(payload)
    found = attributes(payload, _IFADDR.size)
    flags |= _number(found, _FLAGS)
    # On a point-to-point interface IFA_ADDRESS is the other end's.
    packed = found.get(_LOCAL) or found.get(_ADDRESS)
    if packed is None or scope != _SCOPE_GLOBAL or flags & _IFA_F_UNUSABLE:
        return None
    address = ipaddress.ip_address(packed)
    return None if address.is_loopback else (index, str(address))


def _ask(sock: RouteSocket, host: str) -> tuple[int, int, str | None]:
    """(type, device, our address) of the route to a numeric address; type 0: there is none."""
    numeric, _, scope = host.partition("%")
    try:
        address = ipaddress.ip_address(numeric)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        request = _RTMSG.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
        request += attribute(_DST, address.packed)
        if scope:
            request += attribute(_OIF, _U32.pack(_index_of(scope)))
        answer = sock.ask(RTM_GETROUTE, request)
    except (OSError, ValueError):
        return 0, 0, None
    kind = _RTMSG.unpack_from(answer)[7]
    found = attributes(answer, _RTMSG.size)
    source = found.get(_PREFSRC)
    return kind, _number(found, _OIF), str(ipaddress.ip_address(source)) if source else None


def _index_of(scope: str) -> int:
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def _number(found: Attributes, kind: int) -> int:
    value = found.get(kind)
    return 0 if value is None or len(value) < _U32.size else int(_U32.unpack_from(value)[0])
