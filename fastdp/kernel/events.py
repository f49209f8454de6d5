"""Did somebody change something about our devices? What the kernel tells whoever listens.

The socket is for a trio task; what comes is judged by its first bytes, because a busy bridge
tells of every MAC that it learns. Events may get lost (ENOBUFS from recv): then anything may have
changed.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastdp.kernel.netdev import Link, link_of, vxlan_identity
from fastdp.plan.state import is_foreign, peer_of
from weave_py.host.refusal import doing
from weave_py.host.rtnl import (
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    messages,
    open_netlink,
)
from weave_py.model.names import PeerName

# linux/rtnetlink.h: RTMGRP_*
_GROUPS: Final = 0x1 | 0x4 | 0x8
"""Links, neighbours (forwarding entries are among them), traffic control."""
_INDEX_AT_4 = struct.Struct("=4xi")
_NDMSG = struct.Struct("=BxxxiHBB")
_NTF_SELF = 0x2
_RECEIVE_BUFFER = 1 << 20
RECEIVE_BYTES: Final = 1 << 16
"""What a recv should ask for."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """Whom a batch of events is about."""

    peers: frozenset[PeerName] = frozenset()
    bridge: bool = False
    """The bridge itself came, went or changed: look at everything."""
    foreign_ports: frozenset[int] = frozenset()
    """UDP ports of others' VXLAN devices that came or changed. (One that is moved to another
    namespace, as Docker does, listens here all the same, and can be seen only now.)"""

    def __bool__(self) -> bool:
        return self.bridge or bool(self.peers) or bool(self.foreign_ports)


def open_events() -> socket.socket:
    """A non-blocking socket that tells of changes in this thread's network namespace.

    HostError when the kernel refuses.
    """
    with doing("cannot listen to the kernel by netlink"):
        sock = open_netlink(groups=_GROUPS)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
    return sock


def concerned(data: bytes, bridge: str, owners: Mapping[int, PeerName]) -> Concerned:
    """Whom what was received is about.

    `owners` tells whose a device is by its index (`Kernel.owners`); devices that are new are
    recognised by their name.
    """
    peers: set[PeerName] = set()
    is_bridge = False
    ports: set[int] = set()
    for kind, _, _, payload in messages(data):
        if kind in (RTM_NEWLINK, RTM_DELLINK) and len(payload) >= 16:
            link = link_of(payload)
            is_bridge = is_bridge or link.name == bridge
            peers |= _owner_of(link, owners)
            if kind == RTM_NEWLINK and link.kind == "vxlan":
                ports |= _foreign_port(link)
        elif kind in (RTM_NEWNEIGH, RTM_DELNEIGH) and len(payload) >= _NDMSG.size:
            _, index, _, flags, _ = _NDMSG.unpack_from(payload)
            if flags & _NTF_SELF and index in owners:
                peers.add(owners[index])
        elif kind in _FILTERS and len(payload) >= 8:
            (index,) = _INDEX_AT_4.unpack_from(payload)
            if index in owners:
                peers.add(owners[index])
    return Concerned(frozenset(peers), is_bridge, frozenset(ports))


_FILTERS: Final = (RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER)


def _foreign_port(link: Link) -> set[int]:
    if not is_foreign(link.name, link.alias):
        return set()
    try:
        return {vxlan_identity(link)[1]}
    except (struct.error, OSError, ValueError):  # not as the kernel writes it
        return set()


def _owner_of(link: Link, owners: Mapping[int, PeerName]) -> set[PeerName]:
    whose = peer_of(link.name)
    found = {whose[1]} if whose is not None else set()
    if link.index in owners:
        found.add(owners[link.index])
    return found
