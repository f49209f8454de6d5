"""What is the kernel told to make a device, change it, or remove it? (rtnetlink(7), if_link.h)

Requests for `rtnl.RouteSocket`. A router starts with a dozen of them and makes three more for
each peer that the kernel carries frames to, so that they are written out here: pyroute2, which
could say all of it and more, took 7 MiB of 51 and a fifth of the time to start (see host.pyroute).
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from weave_py.host.rtnl import (
    NESTED,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_SETLINK,
    Request,
    attribute,
)

IFINFO = struct.Struct("=BxHiII")
"""Family, type, index, flags, and which flags are meant."""
IFF_UP = 0x1
_U32 = struct.Struct("=I")
_NDMSG = struct.Struct("=BxxxiHBB")
_NDA_LLADDR, _NUD_STATIC, _NTF_MASTER = 2, 0x40, 0x04  # linux/neighbour.h

# linux/if_link.h
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, _IFLA_PROTINFO = 1, 3, 4, 10, 12
_IFLA_TXQLEN, IFLA_LINKINFO, IFLA_IFALIAS, _IFLA_GSO_MAX_SIZE = 13, 18, 20, 41
INFO_KIND, INFO_DATA, INFO_SLAVE_DATA = 1, 2, 5
BRPORT_STATE, BRPORT_ISOLATED = 1, 33
_BRPORT_FLOODS = (8, 9, 27, 30)  # learning; flooding of unicast, multicast and broadcast
BR_NF_CALL_IPTABLES, BR_NF_CALL_IP6TABLES = 36, 37
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING, _BR_OPTIONS = 1, 5, 23, 46
BR_FDB_N_LEARNED, BR_FDB_MAX_LEARNED = 48, 49
_NO_LINK_LOCAL_LEARNING = struct.pack("=II", 1, 1)  # struct br_boolopt_multi: value, mask

MOST_LEARNED: Final = 1 << 15
"""MACs that a bridge of ours learns at all, which is 6 MiB of the kernel's. What one port may
introduce is far less (host.firewall.port_guard); older kernels (< 6.7) know no such limit."""

BRIDGE_AT_ONCE = b"".join(
    (
        attribute(_BR_FORWARD_DELAY, _U32.pack(0)),
        attribute(_BR_STP_STATE, _U32.pack(0)),
        attribute(_BR_MCAST_SNOOPING, b"\0"),
        # Such frames go no further than the bridge, and past the rules that count what is learned.
        attribute(_BR_OPTIONS, _NO_LINK_LOCAL_LEARNING),
        attribute(BR_FDB_MAX_LEARNED, _U32.pack(MOST_LEARNED)),
    )
)
"""`data` of a bridge that neither waits nor snoops, nor learns without end."""


def u32(kind: int, value: int) -> bytes:
    """An attribute that is a number of 32 bits."""
    return attribute(kind, _U32.pack(value))


def string(kind: int, value: str) -> bytes:
    """An attribute that is a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def creating(
    ifname: str, kind: str, *, mac: str, mtu: int | None = None, data: bytes = b""
) -> Request:
    """Make a device, down. EEXIST if there is one of that name. `data`: what only its kind has."""
    mtus = b"" if mtu is None else u32(IFLA_MTU, mtu)
    wanted = string(IFLA_IFNAME, ifname) + _mac(mac) + mtus + _kind(kind, data)
    return RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, IFINFO.pack(0, 0, 0, 0, 0) + wanted


def deleting(index: int) -> Request:
    return RTM_DELLINK, 0, IFINFO.pack(0, 0, index, 0, 0)


def changing(
    index: int,
    *,
    up: bool | None = None,
    mac: str | None = None,
    mtu: int | None = None,
    master: int | None = None,
    queue: int | None = None,
    gso_max_size: int | None = None,
    alias: str | None = None,
) -> Request:
    """Change these of a device. `master`: the index of its bridge, 0 for none; `queue`: frames;
    `gso_max_size`: bytes."""
    header = IFINFO.pack(0, 0, index, IFF_UP * bool(up), IFF_UP * (up is not None))
    numbers = (
        (IFLA_MTU, mtu),
        (IFLA_MASTER, master),
        (_IFLA_TXQLEN, queue),
        (_IFLA_GSO_MAX_SIZE, gso_max_size),
    )
    wanted = [u32(kind, value) for kind, value in numbers if value is not None]
    if mac is not None:
        wanted.append(_mac(mac))
    if alias is not None:
        wanted.append(string(IFLA_IFALIAS, alias))
    return RTM_SETLINK, 0, header + b"".join(wanted)


def changing_kind(index: int, kind: str, data: bytes) -> Request:
    """Change what only devices of its kind have."""
    # (RTM_SETLINK would ignore it.)
    return RTM_NEWLINK, 0, IFINFO.pack(0, 0, index, 0, 0) + _kind(kind, data)


def isolating(index: int, isolated: bool) -> Request:
    """Whether a port of a bridge hears nothing from other isolated ones."""
    return _port(index, attribute(BRPORT_ISOLATED, bytes([isolated])))


def quieting(index: int) -> Request:
    """A port of a bridge learns nothing, and gets nothing that is flooded."""
    return _port(index, b"".join(attribute(kind, b"\0") for kind in _BRPORT_FLOODS))


def knowing(index: int, mac: str) -> Request:
    """The bridge knows that this MAC is behind that port, and does not forget it."""
    header = _NDMSG.pack(socket.AF_BRIDGE, index, _NUD_STATIC, _NTF_MASTER, 0)
    address = attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    return RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, header + address


def _port(index: int, settings: bytes) -> Request:
    header = IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0)
    return RTM_SETLINK, 0, header + attribute(_IFLA_PROTINFO | NESTED, settings)


def _kind(kind: str, data: bytes) -> bytes:
    inside = string(INFO_KIND, kind) + (attribute(INFO_DATA | NESTED, data) if data else b"")
    return attribute(IFLA_LINKINFO | NESTED, inside)


def _mac(mac: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
