"""How is a VXLAN device made? (RFC 7348; ip-link(8))"""

from __future__ import annotations

import socket
import struct
from typing import Final

from fastdp.kernel.netdev import index_of, link_named
from fastdp.plan.operations import AddVxlan
from weave_py.host.link_requests import changing, changing_kind, creating, deleting, u32
from weave_py.host.refusal import doing
from weave_py.host.rtnl import Request, RouteSocket, attribute
from weave_py.host.sysctl import require_sysctl
from weave_py.model.errors import HostError

# linux/if_link.h
_ID, _LOCAL, _LEARNING, _PORT, _LOCAL6, _UDP_CSUM = 1, 4, 7, 15, 17, 18
_ZERO_CSUM6_TX, _ZERO_CSUM6_RX, _DF = 19, 20, 29

_NO_CHECKSUM6: Final = attribute(_ZERO_CSUM6_TX, b"\1") + attribute(_ZERO_CSUM6_RX, b"\1")


def create(sock: RouteSocket, name: str, alias: str, new: AddVxlan) -> int:
    """Make the device, marked with `alias` and down; its index.

    It learns nothing (it has one peer), computes no UDP checksum (what it carries has its own),
    and lets its packets be cut by nobody: who sends too much is told so.
    """
    data = (
        u32(_ID, new.vni),
        attribute(_PORT, struct.pack("!H", new.udp_port)),
        attribute(_LEARNING, b"\0"),
        attribute(_DF, b"\1"),
        attribute(_UDP_CSUM, b"\0"),
        local(new.ipv6, new.local),
        _NO_CHECKSUM6 if new.ipv6 else b"",
    )
    # With an address from the start, or udev would choose one later.
    sock.change(creating(name, "vxlan", mac=new.mac, mtu=new.mtu, data=b"".join(data)))
    try:
        index = index_of(name)
        sock.change(changing(index, alias=alias))
        # It only passes frames on: it must not speak IPv6 (MLD, ND) to the other side.
        require_sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
    except BaseException:
        sock.change(deleting(index_of(name)))
        raise
    return index


def remove_unfinished(sock: RouteSocket, name: str, mac: str) -> None:
    """Make room for the device. HostError if somebody else's has its name.

    What we left unmarked when we were killed in the middle has the MAC that we would give.
    """
    with doing(f"cannot create VXLAN device {name}"):
        link = link_named(sock, name)
        if link is None:
            return
        if link.kind == "vxlan" and link.mac == mac and not link.up and not link.alias:
            sock.change(deleting(link.index))
            return
    raise HostError(
        f"interface {name} exists already and is not ours: "
        f"remove it (ip link delete {name}) or stop the program that made it"
    )


def moving(index: int, ipv6: bool, address: str | None) -> Request:
    """The request to send from another source address."""
    return changing_kind(index, "vxlan", local(ipv6, address))


def local(ipv6: bool, address: str | None) -> bytes:
    """The source address of what it sends. Unspecified, it still tells the family."""
    if ipv6:
        return attribute(_LOCAL6, socket.inet_pton(socket.AF_INET6, address or "::"))
    return attribute(_LOCAL, socket.inet_pton(socket.AF_INET, address or "0.0.0.0"))
