"""What should the kernel look like, given what the engines wish? Pure.

The router process opens the TAPs; nothing here makes one. Where a peer's TAP is missing (the
router is just restarting) there is no sleeve to fall back to, and the kernel stays as it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

from fastdp.plan.state import KernelState, Remote
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastRemote
from weave_py.model.names import PeerName

# Enough for the bursts of small frames that come while the router waits for its core. That they are
# not seconds of standing queue when they are super-frames is `weave_py.datapath.codel`'s business.
TAP_QUEUE_FRAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class PlannedVxlan:
    """A peer's VXLAN device, as it should be. Different in one of the first three: another one."""

    vni: int
    udp_port: int
    ipv6: bool
    mac: str
    local: str | None
    remote: Remote | None
    through: bool


@dataclass(frozen=True, slots=True)
class PlannedPort:
    """A peer's port, as it should be; its TAP exists."""

    mtu: int
    queue: int
    vxlan: PlannedVxlan | None
    """None: the TAP is the port."""
    hooks: bool = True
    """Whether the TAP may come behind a VXLAN device one day."""


@dataclass(frozen=True, slots=True)
class Planned:
    """All of it. VXLAN devices of peers in neither are to go; TAPs are the router's to close."""

    ports: Mapping[PeerName, PlannedPort]
    untouched: frozenset[PeerName]
    """Peers whose devices stay as they are."""


def plan(
    bridge: str,
    mtu: int,
    udp_port: int,
    desired_ports: Iterable[DesiredPort],
    actual: KernelState,
    keep: Collection[PeerName] = (),
) -> Planned:
    """Wishes → wanted state. ValueError for a wish to go through the kernel to nowhere.

    `mtu` is the inner one, bytes. `udp_port` is where this host's VXLAN devices listen; 0: it has
    none, whatever is wished. A remote that cannot be used is as good as none. `keep`: peers that
    nothing is wished for yet, whose devices a predecessor left running and which may come back.
    """
    ports: dict[PeerName, PlannedPort] = {}
    untouched = set(keep)
    for desired in desired_ports:
        untouched.discard(desired.peer)
        if desired.peer not in actual.taps:
            untouched.add(desired.peer)
            continue
        fast = desired.fast if udp_port else None
        vxlan = None if fast is None else _vxlan(bridge, udp_port, desired.peer, fast)
        ports[desired.peer] = PlannedPort(mtu, TAP_QUEUE_FRAMES, vxlan, udp_port != 0)
    return Planned(ports, frozenset(untouched))


def is_usable(remote: FastRemote, ipv6: bool) -> bool:
    """Whether a VXLAN device of that family can send there.

    Not to the other family, nor to link-local IPv6 addresses: it would need to be bound to an
    interface for that.
    """
    try:
        local, host = map(ipaddress.ip_address, (remote.local, remote.host))
    except ValueError:
        return False
    if {local.version, host.version} != {6 if ipv6 else 4}:
        return False
    return not (ipv6 and (local.is_link_local or host.is_link_local))


def _vxlan(bridge: str, udp_port: int, peer: PeerName, desired: DesiredVxlan) -> PlannedVxlan:
    if desired.through and desired.remote is None:
        raise ValueError(f"through the kernel to nowhere: {desired}")
    local = remote = None
    if desired.remote is not None and is_usable(desired.remote, desired.ipv6):
        # Addresses in the one form that the kernel's are compared with.
        local = str(ipaddress.ip_address(desired.remote.local))
        host = str(ipaddress.ip_address(desired.remote.host))
        remote = Remote(host, desired.remote.udp_port, desired.remote.vni)
    return PlannedVxlan(
        vni=desired.vni,
        udp_port=udp_port,
        ipv6=desired.ipv6,
        mac=_mac(bridge, peer),
        local=local,
        remote=remote,
        through=desired.through and remote is not None,
    )


def _mac(bridge: str, peer: PeerName) -> str:
    """A locally administered address for the device, always the same.

    No frame ever carries it, but the bridge takes frames to it for its own host: so it must not
    be the peer's name, which is the MAC of the peer's bridge.
    """
    digest = blake2s(bridge.encode() + peer, digest_size=6, person=b"wv vxlan").digest()
    return bytes([digest[0] & 0xFC | 0x02, *digest[1:]]).hex(":")
