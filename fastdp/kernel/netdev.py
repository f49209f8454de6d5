"""What does rtnetlink say about a device, and about where a VXLAN device sends?

(linux/if_link.h, if_bridge.h, neighbour.h.) There are hundreds of devices to look at.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from fastdp.plan.state import Port, Remote
from weave_py.host.rtnl import (
    NESTED,
    NLM_F_CREATE,
    RTM_DELNEIGH,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
    RTM_SETLINK,
    Attributes,
    Request,
    RouteSocket,
    attribute,
    attributes,
    text,
)

_IFINFO = struct.Struct("=BxHiII")
_NDMSG = struct.Struct("=BxxxiHBB")
_U32 = struct.Struct("=I")
_U16_BIG = struct.Struct("!H")

_IFF_UP = 0x1
_OPERSTATE_DORMANT, _OPERSTATE_UP = 5, 6
_NTF_SELF = 0x2
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_NLM_F_APPEND = 0x800
_ADDRESS, _IFNAME, _MTU, _MASTER, _PROTINFO, _TXQLEN = 1, 3, 4, 10, 12, 13
_OPERSTATE, _LINKINFO, _IFALIAS, _EXT_MASK = 16, 18, 20, 29
_SKIP_STATISTICS = attribute(_EXT_MASK, _U32.pack(0x8))
_KIND, _DATA, _SLAVE_DATA = 1, 2, 5
_UNICAST_FLOOD, _FLUSH, _MCAST_FLOOD, _BCAST_FLOOD, _ISOLATED = 9, 24, 27, 30, 33
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_PORT, _VXLAN_LOCAL6, _VXLAN_ZERO_CSUM6_RX = 1, 4, 15, 17, 20
_NDA_DST, _NDA_LLADDR, _NDA_PORT, _NDA_VNI = 1, 2, 6, 7

EVERYWHERE: Final = bytes(6)
"""The MAC of a VXLAN device's default forwarding entries."""


@dataclass(frozen=True, slots=True)
class Link:
    """A device as the kernel describes it."""

    index: int
    name: str
    mac: str
    kind: str
    """tun, vxlan, bridge …; empty for a physical one."""
    alias: str
    up: bool
    mtu: int
    queue: int
    master: int
    """The index of its bridge; 0: none."""
    port: Port
    """As a port of its bridge, if it has one."""
    data: Attributes = field(repr=False)
    """What only devices of its kind have."""


def link_of(payload: bytes) -> Link:
    """From the payload of RTM_NEWLINK."""
    _, _, index, flags, _ = _IFINFO.unpack_from(payload)
    found = attributes(payload, _IFINFO.size)
    info = attributes(found.get(_LINKINFO, b""))
    port = attributes(info.get(_SLAVE_DATA, b""))
    is_dormant = found.get(_OPERSTATE, b"") == bytes([_OPERSTATE_DORMANT])
    flood = (_UNICAST_FLOOD, _MCAST_FLOOD, _BCAST_FLOOD)
    return Link(
        index=index,
        name=text(found.get(_IFNAME)),
        mac=found.get(_ADDRESS, b"").hex(":"),
        kind=text(info.get(_KIND)),
        alias=text(found.get(_IFALIAS)),
        up=bool(flags & _IFF_UP) and not is_dormant,
        mtu=_u32(found, _MTU),
        queue=_u32(found, _TXQLEN),
        master=_u32(found, _MASTER),
        port=Port(port.get(_ISOLATED) == b"\1", all(port.get(each) == b"\1" for each in flood)),
        data=attributes(info.get(_DATA, b"")),
    )


def vxlan_identity(link: Link) -> tuple[int, int, bool, str | None]:
    """(VNI, UDP port, IPv6, source address) of a VXLAN device of ours."""
    data = link.data
    # Without a source address nothing else tells the family: only we set this, on IPv6.
    ipv6 = data.get(_VXLAN_ZERO_CSUM6_RX) == b"\1"
    local = data.get(_VXLAN_LOCAL6 if ipv6 else _VXLAN_LOCAL)
    (udp_port,) = _U16_BIG.unpack(data.get(_VXLAN_PORT, bytes(2)))
    return _u32(data, _VXLAN_ID), udp_port, ipv6, None if local is None else _address(local)


def links_of_kind(sock: RouteSocket, kind: str) -> list[Link]:
    """All devices of a kind."""
    wanted = attribute(_LINKINFO | NESTED, attribute(_KIND, kind.encode() + b"\0"))
    request = _IFINFO.pack(0, 0, 0, 0, 0) + _SKIP_STATISTICS + wanted
    links = map(link_of, sock.dump(RTM_GETLINK, request))
    return [link for link in links if link.kind == kind]


def link_named(sock: RouteSocket, ifname: str) -> Link | None:
    """One device; None if there is none of that name."""
    name = attribute(_IFNAME, ifname.encode() + b"\0")
    request = _IFINFO.pack(0, 0, 0, 0, 0) + _SKIP_STATISTICS + name
    try:
        return link_of(sock.ask(RTM_GETLINK, request))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return None


def index_of(ifname: str) -> int:
    """The index of a device; OSError (ENODEV) if there is none of that name."""
    try:
        return socket.if_nametoindex(ifname)
    except OSError:  # raised without an errno
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None


def remotes_of(
    sock: RouteSocket, vxlans: dict[int, Link], index: int = 0
) -> dict[int, list[Remote]]:
    """Where VXLAN devices send, by index; `index`: of that one only."""
    found: dict[int, list[Remote]] = {}
    # With this (older) header an index asks for one device, and 0 for all.
    request = _IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0)
    for payload in sock.dump(RTM_GETNEIGH, request):
        _, device, _, flags, _ = _NDMSG.unpack_from(payload)
        if flags & _NTF_SELF and (link := vxlans.get(device)) is not None:
            entry = attributes(payload, _NDMSG.size)
            if _NDA_DST in entry and entry.get(_NDA_LLADDR) == EVERYWHERE:
                found.setdefault(device, []).append(_remote(entry, link))
    return found


def setting(
    ifindex: int,
    *,
    up: bool | None = None,
    mtu: int | None = None,
    queue: int | None = None,
    master: int | None = None,
    operational: bool | None = None,
) -> Request:
    """The request to change these of a device. `master`: the index of its bridge, 0 for none;
    `operational` (as RFC 2863 has it): False is dormant."""
    flags, mask = _IFF_UP * bool(up), _IFF_UP * (up is not None)
    header = _IFINFO.pack(socket.AF_UNSPEC, 0, ifindex, flags, mask)
    numbers = ((_MTU, mtu), (_TXQLEN, queue), (_MASTER, master))
    wanted = [attribute(kind, _U32.pack(value)) for kind, value in numbers if value is not None]
    if operational is not None:
        state = _OPERSTATE_UP if operational else _OPERSTATE_DORMANT
        wanted.append(attribute(_OPERSTATE, bytes([state])))
    return RTM_SETLINK, 0, header + b"".join(wanted)


def adding_remote(ifindex: int, remote: Remote) -> Request:
    """The request to send there too, from a VXLAN device."""
    return RTM_NEWNEIGH, NLM_F_CREATE | _NLM_F_APPEND, _entry(ifindex, remote)


def removing_remote(ifindex: int, remote: Remote) -> Request:
    """The request not to send there any more."""
    return RTM_DELNEIGH, 0, _entry(ifindex, remote)


def _entry(ifindex: int, remote: Remote) -> bytes:
    state = _NUD_NOARP | _NUD_PERMANENT
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    return b"".join(
        (
            _NDMSG.pack(socket.AF_BRIDGE, ifindex, state, _NTF_SELF, 0),
            attribute(_NDA_LLADDR, EVERYWHERE),
            attribute(_NDA_DST, socket.inet_pton(family, remote.host)),
            attribute(_NDA_PORT, _U16_BIG.pack(remote.udp_port)),
            attribute(_NDA_VNI, _U32.pack(remote.vni)),
        )
    )


def flooding(ifindex: int, on: bool) -> Request:
    """The request to flood to a port, or not to."""
    value = bytes([on])
    flags = [attribute(each, value) for each in (_UNICAST_FLOOD, _MCAST_FLOOD, _BCAST_FLOOD)]
    return _port_request(ifindex, b"".join(flags))


def forgetting(ifindex: int) -> Request:
    """The request to forget which MACs are behind a port."""
    return _port_request(ifindex, attribute(_FLUSH, b""))


def isolating(ifindex: int) -> Request:
    """The request to isolate a port."""
    return _port_request(ifindex, attribute(_ISOLATED, b"\1"))


def _port_request(ifindex: int, flags: bytes) -> Request:
    header = _IFINFO.pack(socket.AF_BRIDGE, 0, ifindex, 0, 0)
    return RTM_SETLINK, 0, header + attribute(_PROTINFO | NESTED, flags)


def _remote(entry: Attributes, link: Link) -> Remote:
    """What equals the device's own is left out by the kernel."""
    vni, udp_port, _, _ = vxlan_identity(link)
    if _NDA_PORT in entry:
        (udp_port,) = _U16_BIG.unpack(entry[_NDA_PORT])
    if _NDA_VNI in entry:
        vni = _u32(entry, _NDA_VNI)
    return Remote(_address(entry[_NDA_DST]), udp_port, vni)


def _u32(found: Attributes, kind: int) -> int:
    value = found.get(kind, b"")
    return int(_U32.unpack(value)[0]) if len(value) == _U32.size else 0


def _address(value: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(value) == 16 else socket.AF_INET, value)
