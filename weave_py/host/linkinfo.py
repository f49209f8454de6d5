"""What does a netlink message say about an interface, an address or a learned MAC? (rtnetlink(7))

From the payloads that `rtnl.RouteSocket` returns.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any

from weave_py.host.link_requests import (
    BR_FDB_N_LEARNED,
    BR_NF_CALL_IP6TABLES,
    BR_NF_CALL_IPTABLES,
    BRPORT_ISOLATED,
    BRPORT_STATE,
    IFF_UP,
    IFINFO,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    INFO_DATA,
    INFO_KIND,
    INFO_SLAVE_DATA,
)
from weave_py.host.rtnl import attributes, text

# linux/if_addr.h, neighbour.h
_IFADDR = struct.Struct("=BBBBI")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_UNUSABLE = 0x08 | 0x20 | 0x40  # duplicate found, deprecated, tentative
_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253
_NDMSG = struct.Struct("=BxxxiHBB")
_NDA_LLADDR, _NDA_CACHEINFO, _NDA_MASTER = 2, 3, 9
_NUD_NOT_LEARNED = 0x40 | 0x80  # static, local
_CACHEINFO = struct.Struct("=IIII")


@dataclass(frozen=True, slots=True)
class Interface:
    """A device as the kernel describes it."""

    index: int
    name: str
    kind: str
    """As in `ip -d link`: tun, veth, vxlan …; empty for physical interfaces."""
    alias: str
    """What somebody wrote on it (`ip link set … alias`)."""
    up: bool
    mtu: int
    master: int
    """The index of its bridge; 0: none."""
    port_state: int | None
    """As a port of a bridge; None if it is none."""
    isolated: bool
    calls_netfilter: tuple[bool, bool] = (False, False)
    """As a bridge: whether packets of its frames (IPv4, IPv6) pass netfilter."""
    learned: int | None = None
    """As a bridge: how many MACs it has learned; None where the kernel does not count (< 6.7)."""


@dataclass(frozen=True, slots=True)
class PortInfo:
    """One port of a bridge."""

    ifname: str
    kind: str
    isolated: bool
    ifindex: int
    alias: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface."""

    index: int
    """The interface's."""
    address: str
    prefix: int
    is_link_local: bool
    """Of IPv6, made by the kernel."""
    is_usable: bool
    """By others: of global scope, not deprecated, not found twice, not tentative."""

    @property
    def text(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Learned:
    """A MAC that a bridge has learned."""

    mac: str
    index: int
    """The port's."""
    ticks: int
    """Since a frame came from it, in 1/SC_CLK_TCK s."""


def interface_of(payload: bytes) -> Interface:
    """From RTM_NEWLINK."""
    _, _, index, flags, _ = IFINFO.unpack_from(payload)
    found = attributes(payload, IFINFO.size)
    info = attributes(found.get(IFLA_LINKINFO, b""))
    port = attributes(info.get(INFO_SLAVE_DATA, b""))
    state = port.get(BRPORT_STATE)
    bridge = attributes(info.get(INFO_DATA, b"")) if text(info.get(INFO_KIND)) == "bridge" else {}
    return Interface(
        index=index,
        name=text(found.get(IFLA_IFNAME)),
        kind=text(info.get(INFO_KIND)),
        alias=text(found.get(IFLA_IFALIAS)),
        up=bool(flags & IFF_UP),
        mtu=_number(found.get(IFLA_MTU)),
        master=_number(found.get(IFLA_MASTER)),
        port_state=_number(state) if state else None,
        isolated=bool(_number(port.get(BRPORT_ISOLATED))),
        calls_netfilter=(
            bool(_number(bridge.get(BR_NF_CALL_IPTABLES))),
            bool(_number(bridge.get(BR_NF_CALL_IP6TABLES))),
        ),
        learned=_number(bridge[BR_FDB_N_LEARNED]) if BR_FDB_N_LEARNED in bridge else None,
    )


def address_of(payload: bytes) -> Address:
    """From RTM_NEWADDR."""
    family, prefix, few_flags, scope, index = _IFADDR.unpack_from(payload)
    found = attributes(payload, _IFADDR.size)
    # On a point-to-point interface IFA_ADDRESS is the other end's.
    address = socket.inet_ntop(family, found.get(_IFA_LOCAL) or found[_IFA_ADDRESS])
    flags = _number(found.get(_IFA_FLAGS)) or few_flags
    return Address(
        index=index,
        address=address,
        prefix=prefix,
        is_link_local=family == socket.AF_INET6 and scope == _SCOPE_LINK,
        is_usable=scope == _SCOPE_GLOBAL and not flags & _IFA_F_UNUSABLE,
    )


def learned_of(payload: bytes) -> Learned | None:
    """From RTM_NEWNEIGH of the family of bridges; None if it says no MAC that was learned."""
    _, index, state, _, _ = _NDMSG.unpack_from(payload)
    found = attributes(payload, _NDMSG.size)
    # Entries without a master are a device's own address filter.
    if state & _NUD_NOT_LEARNED or not {_NDA_MASTER, _NDA_LLADDR, _NDA_CACHEINFO} <= found.keys():
        return None
    _, _, updated, _ = _CACHEINFO.unpack_from(found[_NDA_CACHEINFO])
    return Learned(found[_NDA_LLADDR].hex(":"), index, updated)


def address_fields(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> dict[str, Any]:
    """The fields that name an address in a request of pyroute2's."""
    return {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}


def port_info(link: Interface) -> PortInfo:
    """An interface that is a port, as we show it."""
    return PortInfo(link.name, link.kind, link.isolated, link.index, link.alias)


def _number(value: bytes | None) -> int:
    """An unsigned number of any size; 0 if there is none."""
    return int.from_bytes(value or b"", sys.byteorder)
