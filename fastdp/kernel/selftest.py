"""What can this host do? Found out by doing it, once, with a device of a name of its own.

A UDP port that anybody else listens on is left to them. The kernel lets VXLAN devices share one,
but what keeps strangers from ours would keep them from theirs; and those that listen here for a
device in another namespace (as Docker makes them) show only in that the port cannot be bound.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from fastdp.kernel import observe, tc, vxlan
from fastdp.kernel.netdev import links_of_kind, setting, vxlan_identity
from fastdp.kernel.tc import EVERYTHING, PASS, PROBES, Hook
from fastdp.plan.operations import AddVxlan
from fastdp.plan.state import (
    INTO_PORT_SLOT,
    PROBE_OUT_SLOT,
    REDIRECT_SLOTS,
    SELF_TEST_ALIAS,
    Device,
    alias_of,
    is_foreign,
    is_other,
    peer_of,
)
from weave_py.host.link_requests import deleting
from weave_py.host.rtnl import RouteSocket
from weave_py.model.errors import HostError
from weave_py.model.fast import VXLAN_PORT, FastHost
from weave_py.model.names import PeerName

PORTS: Final = (VXLAN_PORT, 6784, 14789, 24789)
"""Tried one after the other; each peer is told which it became."""

_SELF = PeerName(bytes(6))
_PREFIX = Device.VXLAN.value + "-"
_REFUSALS: Final = {
    errno.EPERM: "no-privileges",
    errno.EACCES: "no-privileges",
    errno.EADDRINUSE: "port-taken",
    errno.EEXIST: "port-taken",  # somebody's device has this VNI on that port
}


class _Unable(Exception):
    """Why something did not work: the reason code."""


def probe_host(
    bridge: str,
    preferred_port: int = VXLAN_PORT,
    enabled: bool = True,
    avoid: Collection[int] = (),
) -> FastHost:
    """What this host can do, in the network namespace of the calling thread.

    The UDP port is that of the devices a predecessor left for `bridge`, if there are any and
    nobody else's have it; else `preferred_port` or the next of a few others that nobody has, of
    `avoid` none. `esp` is for `kernel.xfrm` to say.
    """
    if not enabled:
        return FastHost(0, "disabled")
    why = "no-privileges"
    try:
        with RouteSocket() as sock:
            _remove_leftovers(sock)
            # Whose port it is, his protection is: two routers on one host have one each.
            others = foreign_ports(sock) | _ports_of_others(sock, bridge) | set(avoid)
            adopted = _port_of_predecessor(sock, bridge)
            if adopted and adopted not in others:
                ports = [adopted]
            else:
                tried = dict.fromkeys((preferred_port, *PORTS))
                ports = [p for p in tried if p not in others and not _is_held(p)]
            why = why if ports else "port-taken"
            for port in ports:
                try:
                    _try_port(sock, port)
                except _Unable as error:
                    why = str(error)
                    if why != "port-taken":
                        break
                else:
                    return FastHost(port)
    except OSError:
        pass  # not even looking is allowed
    return FastHost(0, why)


def _port_of_predecessor(sock: RouteSocket, bridge: str) -> int:
    for link in links_of_kind(sock, "vxlan"):
        if link.alias == alias_of(bridge) and peer_of(link.name) is not None:
            return vxlan_identity(link)[1]
    return 0


def _ports_of_others(sock: RouteSocket, bridge: str) -> set[int]:
    links = links_of_kind(sock, "vxlan")
    return {vxlan_identity(link)[1] for link in links if is_other(link.alias, bridge)}


def foreign_ports(sock: RouteSocket) -> set[int]:
    """Where VXLAN devices listen that no router of ours made."""
    links = links_of_kind(sock, "vxlan")
    return {vxlan_identity(link)[1] for link in links if is_foreign(link.name, link.alias)}


def _is_held(port: int) -> bool:
    """Whether anybody listens there, be it the kernel for a device that is elsewhere by now."""
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((everywhere, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def _remove_leftovers(sock: RouteSocket) -> None:
    """Devices of self-tests that were killed in the middle."""
    for link in links_of_kind(sock, "vxlan"):
        pid = link.name.removeprefix(_PREFIX)
        if link.alias == SELF_TEST_ALIAS and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            sock.change(deleting(link.index))


def _try_port(sock: RouteSocket, port: int) -> None:
    _try_device(sock, port, ipv6=False)
    if os.path.exists("/proc/sys/net/ipv6"):
        _try_device(sock, port, ipv6=True)


def _try_device(sock: RouteSocket, port: int, *, ipv6: bool) -> None:
    """Make a device and everything that one needs, and remove it again."""
    # Not even another router that tests itself at this moment has that name or VNI.
    name = f"{_PREFIX}{os.getpid()}"
    mac = "02:00:00:00:00:01"
    new = AddVxlan(_SELF, 0xFF_0000 | os.getpid() & 0xFFFF, port, ipv6, None, mac, 1400)
    with _reason(errno.EOPNOTSUPP, "no-vxlan"):
        index = vxlan.create(sock, name, SELF_TEST_ALIAS, new)
    try:
        with _reason(errno.ENOENT, "no-tc"):
            tc.add_hooks(sock, index)
            lead = tc.Action(index, ingress=True)
            for hook, slot, match, action in (
                (Hook.EGRESS, PROBE_OUT_SLOT, PROBES, PASS),
                (Hook.EGRESS, REDIRECT_SLOTS[0], EVERYTHING, observe.aside()),
                (Hook.INGRESS, INTO_PORT_SLOT, EVERYTHING, lead),
            ):
                tc.add(sock, index, hook, slot, match, action)
        with _reason(errno.EAFNOSUPPORT, "no-vxlan"):
            sock.change(setting(index, up=True))
    finally:
        sock.change(deleting(index))


@contextmanager
def _reason(expected: int, code: str) -> Iterator[None]:
    """Turn refusals into _Unable: `code`, unless the errno says more."""
    try:
        yield
    except OSError as error:
        raise _Unable(_REFUSALS.get(error.errno or expected, code)) from None
    except HostError:
        raise _Unable("no-privileges") from None  # /proc/sys cannot be written
