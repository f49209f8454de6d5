"""What is left to whoever takes over a router, or gets hold of its memory? As little as it needs.

A router is started by root, who may do anything. What it does after its start takes three of
root's capabilities, and what it starts (nft) no more: the rest is given up, for good, by every
thread and child. Its memory holds keys: it is not written to disk when it crashes, and only root
may look into it (capabilities(7), prctl(2), setrlimit(2)).

A process's capabilities are each thread's own, so `confine` comes before there is a second one.
What is missing already, in a container or under systemd, is not missed here: what the router
cannot do without, `host.privileges` says.
"""

from __future__ import annotations

import ctypes
import grp
import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from typing import Final

from weave_py.host.refusal import refused


class Capability(IntEnum):
    """Of linux/capability.h, those that we know a use for."""

    DAC_READ_SEARCH = 2
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13


NEEDED: Final = frozenset(
    {
        Capability.NET_ADMIN,  # devices, addresses, nft, IPsec, /proc/sys/net, large buffers
        Capability.NET_RAW,  # probes of the fast datapath, iptables
        Capability.NET_BIND_SERVICE,  # an --http-addr below 1024
    }
)
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_VERSION_3: Final = 0x20080522  # linux/capability.h
_CAPABILITIES: Final = 64  # as many as a set of version 3 holds

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def deny_dumps() -> None:
    """No core dump of this process or what it starts; and no user but root, with all rights,
    may read its memory or trace it."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def join_group(name: str) -> None:
    """Be a member of it, if it exists and we may: a member may give it files without CAP_CHOWN."""
    with suppress(KeyError, OSError):
        wanted = grp.getgrnam(name).gr_gid
        if wanted not in os.getgroups():
            os.setgroups([*os.getgroups(), wanted])


def confine(places: Iterable[str]) -> frozenset[Capability]:
    """Give up all capabilities but NEEDED, and the means to get any back; what is kept of them.

    `places`: directories that must still be found and read: if any is then out of our reach, as in
    the home of another user, DAC_READ_SEARCH is kept, too. HostError if the kernel refuses.
    """
    had = _permitted()
    wanted = _mask(NEEDED) & had
    if wanted != had:  # (Else capset may well be forbidden, as it is by our unit file.)
        within = [place for place in places if _is_in_reach(place)]
        _set(effective=wanted, permitted=had)
        if not all(map(_is_in_reach, within)):
            wanted |= _mask({Capability.DAC_READ_SEARCH}) & had
        _set(effective=had, permitted=had)
    for number in range(_CAPABILITIES):
        if not wanted >> number & 1:
            # Needs CAP_SETPCAP. Without it, children get no more than we have all the same, by:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise refused("cannot give up getting more rights", ctypes.get_errno())
    if wanted != had:
        _set(effective=wanted, permitted=wanted)
    return frozenset(each for each in Capability if wanted >> each & 1)


def _mask(capabilities: Iterable[Capability]) -> int:
    return sum(1 << each for each in capabilities)


def _is_in_reach(place: str) -> bool:
    try:
        os.close(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except NotADirectoryError:
        return os.path.exists(place)
    except OSError:
        return False
    return True


def _permitted() -> int:
    sets = (_Sets * 2)()
    if _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), sets) != 0:
        raise refused("cannot read our capabilities", ctypes.get_errno())
    return int(sets[0].permitted | sets[1].permitted << 32)


def _set(*, effective: int, permitted: int) -> None:
    """Of this thread. What is inheritable stays, as far as it is permitted."""
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    _libc.capget(ctypes.byref(header), sets)
    for word, one in enumerate(sets):
        one.effective = effective >> 32 * word & 0xFFFF_FFFF
        one.permitted = permitted >> 32 * word & 0xFFFF_FFFF
        one.inheritable &= one.permitted
    if _libc.capset(ctypes.byref(header), sets) != 0:
        raise refused("cannot give up capabilities", ctypes.get_errno())
