"""How are frames diverted? Filters of traffic control (tc(8), tc-u32(8), tc-mirred(8)).

Only `u32` and `mirred` are used, because that is what every kernel has: letting pass is a match
without action, and probes are put aside by a redirect to `lo`, where no protocol takes their
ethertype, but a packet socket may. Filters hang at the ingress and egress of a `clsact` qdisc
(tc-bpf(8)).
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fastdp.plan.state import PROBE_TARGET
from weave_py.host.rtnl import (
    NESTED,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELTFILTER,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    RouteSocket,
    attribute,
    attributes,
    text,
)
from weave_py.wire.fast_probe import ETHERTYPE as PROBE_ETHERTYPE

_CLSACT_PARENT = 0xFFFFFFF1
_CLSACT_HANDLE = 0xFFFF0000
_TCMSG = struct.Struct("=BxxxiIII")
_TCA_KIND, _TCA_OPTIONS = 1, 2
_U32_CLASSID, _U32_SEL, _U32_ACT = 1, 5, 7
_ACT_KIND, _ACT_OPTIONS = 1, 2
_MIRRED_PARMS = 2
_MIRRED = struct.Struct("=IIiiiiI")  # index, capab, action, refcnt, bindcnt, eaction, ifindex
_TC_ACT_STOLEN = 4
_EGRESS_REDIRECT, _INGRESS_REDIRECT = 1, 3
# linux/pkt_cls.h: tc_u32_sel, tc_u32_key (mask, value, offset from the network header)
_SELECTOR = struct.Struct("=BBBxHHhhI")
_KEY = struct.Struct("=4s4sii")
_TERMINAL = 1
_ETH_P_ALL = 0x0003
_NODE = 1
"""Always the same in its table: so one filter cannot be there twice."""
_PASS_CLASS = 1


class Hook(IntEnum):
    """Where a filter sees frames; the value is the parent of tc's messages."""

    INGRESS = 0xFFFFFFF2
    EGRESS = 0xFFFFFFF3


def _selector(keys: bytes) -> bytes:
    return _SELECTOR.pack(_TERMINAL, 0, len(keys) // _KEY.size, 0, 0, 0, 0, 0) + keys


@dataclass(frozen=True, slots=True)
class Match:
    """Which frames a filter is about."""

    ethertype: int
    selector: bytes


EVERYTHING: Final = Match(_ETH_P_ALL, _selector(_KEY.pack(bytes(4), bytes(4), 0, 0)))
_TARGET = bytes.fromhex(PROBE_TARGET.replace(":", ""))
PROBES: Final = Match(
    PROBE_ETHERTYPE,
    _selector(
        _KEY.pack(b"\xff\xff\xff\xff", _TARGET[:4], -14, 0)
        + _KEY.pack(b"\xff\xff\0\0", _TARGET[4:] + bytes(2), -10, 0)
    ),
)


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a frame that matches: it passes, or is redirected."""

    ifindex: int = 0
    """Where to; 0: it passes (or the device of a redirect is gone: see `is_pass`)."""
    ingress: bool = False
    """As if it came in there, instead of going out."""
    is_pass: bool = False


PASS: Final = Action(is_pass=True)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as the kernel lists it."""

    slot: int
    """Its priority: lower is asked first."""
    match: Match | None
    action: Action | None
    """None: something else than we would set; so is a match."""


def add_hooks(sock: RouteSocket, ifindex: int) -> None:
    """Let filters be added to a device (a `clsact` qdisc); repeating it is harmless.

    The kernel stops a device's queue for a moment for this, and drops what is in it.
    """
    header = _TCMSG.pack(0, ifindex, _CLSACT_HANDLE, _CLSACT_PARENT, 0)
    try:
        kind = attribute(_TCA_KIND, b"clsact\0")
        sock.change((RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, header + kind))
    except FileExistsError:
        pass


def add(
    sock: RouteSocket, ifindex: int, hook: Hook, slot: int, match: Match, action: Action
) -> None:
    """Add a filter; if it is there already nothing changes."""
    if action.is_pass:
        what = attribute(_U32_CLASSID, struct.pack("=I", _PASS_CLASS))
    else:
        what = attribute(_U32_ACT | NESTED, attribute(1 | NESTED, _redirect(action)))
    options = attribute(_U32_SEL, match.selector) + what
    payload = (
        _TCMSG.pack(0, ifindex, _NODE, hook, _info(slot, match.ethertype))
        + attribute(_TCA_KIND, b"u32\0")
        + attribute(_TCA_OPTIONS | NESTED, options)
    )
    try:
        sock.change((RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, payload))
    except OSError as error:
        # u32's way to say that the node exists.
        if error.errno not in (errno.EEXIST, errno.ENOSPC):
            raise


def delete(sock: RouteSocket, ifindex: int, hook: Hook, slot: int, match: Match) -> None:
    """Delete what is in a slot for that ethertype; nothing there is fine."""
    payload = _TCMSG.pack(0, ifindex, 0, hook, _info(slot, match.ethertype))
    try:
        sock.change((RTM_DELTFILTER, 0, payload))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise


def listed(sock: RouteSocket, ifindex: int, hook: Hook) -> list[Filter]:
    """A device's filters, by slot; none if it has no hooks, or is gone."""
    try:
        found = sock.dump(RTM_GETTFILTER, _TCMSG.pack(0, ifindex, 0, hook, 0))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENODEV, errno.ENOENT):
            raise
        return []
    filters = [filter for payload in found if (filter := _parsed(payload)) is not None]
    return sorted(filters, key=lambda filter: filter.slot)


def _info(slot: int, ethertype: int) -> int:
    return slot << 16 | socket.htons(ethertype)


def _redirect(action: Action) -> bytes:
    way = _INGRESS_REDIRECT if action.ingress else _EGRESS_REDIRECT
    parms = _MIRRED.pack(0, 0, _TC_ACT_STOLEN, 0, 0, way, action.ifindex)
    return attribute(_ACT_KIND, b"mirred\0") + attribute(
        _ACT_OPTIONS | NESTED, attribute(_MIRRED_PARMS, parms)
    )


def _parsed(payload: bytes) -> Filter | None:
    """None for what is listed besides filters proper: u32's tables."""
    if len(payload) < _TCMSG.size:
        return None
    _, _, _, _, info = _TCMSG.unpack_from(payload)
    slot, ethertype = info >> 16, socket.ntohs(info & 0xFFFF)
    found = attributes(payload, _TCMSG.size)
    if text(found.get(_TCA_KIND)) != "u32":
        return Filter(slot, None, None)
    options = attributes(found.get(_TCA_OPTIONS, b""))
    if _U32_SEL not in options:
        return None
    matches = [
        match
        for match in (EVERYTHING, PROBES)
        if match.ethertype == ethertype and match.selector == options[_U32_SEL]
    ]
    return Filter(slot, matches[0] if matches else None, _action(options))


def _action(options: dict[int, bytes]) -> Action | None:
    actions = attributes(options.get(_U32_ACT, b""))
    if not actions:
        return PASS
    if list(actions) != [1]:
        return None
    action = attributes(actions[1])
    parms = attributes(action.get(_ACT_OPTIONS, b"")).get(_MIRRED_PARMS, b"")
    if text(action.get(_ACT_KIND)) != "mirred" or len(parms) < _MIRRED.size:
        return None
    _, _, verdict, _, _, way, ifindex = _MIRRED.unpack_from(parms)
    if verdict != _TC_ACT_STOLEN or way not in (_EGRESS_REDIRECT, _INGRESS_REDIRECT):
        return None
    return Action(ifindex, way == _INGRESS_REDIRECT)
