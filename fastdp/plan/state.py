"""What does the kernel look like, as far as the fast datapath cares? Values only.

Two devices may stand for a peer: the TAP that the router process opened (it vanishes with the
process), and a VXLAN device of the peer's own (it stays). Both are called by the peer's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from weave_py.model.marks import MARK, TAP_PREFIX, VXLAN_PREFIX
from weave_py.model.names import NAME_BYTES, PeerName

PROBE_TARGET: Final = "01:80:c2:00:00:0f"
"""Where probes go (`weave_py.wire.fast_probe`): bridges do not forward it, so nothing that a
container sends can be taken for a probe."""

# Priorities of filters, lower first. None is used at both hooks of a device: listing one hook,
# the kernel lists u32 filters of the same priority at the other one, too.
PROBE_OUT_SLOT: Final = 1
REDIRECT_SLOTS: Final = (2, 3)
"""Two, so that a redirect that leads nowhere (its TAP is gone) can be replaced by another without
a moment in which frames go through."""
PROBE_IN_SLOT: Final = 8
INTO_PORT_SLOT: Final = 9


class Device(Enum):
    """Which of a peer's two devices."""

    TAP = TAP_PREFIX
    VXLAN = VXLAN_PREFIX

    def ifname(self, peer: PeerName) -> str:
        return self.value + peer.hex()


def peer_of(ifname: str) -> tuple[Device, PeerName] | None:
    """Whose device it is, by its name; None if it is none of ours."""
    for device in Device:
        digits = ifname.removeprefix(device.value)
        if digits != ifname and len(digits) == 2 * NAME_BYTES:
            try:
                return device, PeerName(bytes.fromhex(digits))
            except ValueError:
                return None
    return None


def alias_of(bridge: str) -> str:
    """The mark of the VXLAN devices of one network on this host: nothing unmarked is deleted."""
    return f"{MARK} {bridge}"


SELF_TEST_ALIAS = f"{MARK} selftest"


def is_other(alias: str, bridge: str) -> bool:
    """Whether that is the mark of another network's devices on this host."""
    ours = (alias_of(bridge), SELF_TEST_ALIAS)
    return alias.startswith(f"{MARK} ") and alias not in ours


def is_foreign(ifname: str, alias: str) -> bool:
    """Whether a VXLAN device is none of ours, nor of another network's router. (Devices of a router
    get their mark a moment after their name.)"""
    if alias:
        return not alias.startswith(f"{MARK} ")
    return not ifname.startswith(f"{Device.VXLAN.value}-") and peer_of(ifname) is None


@dataclass(frozen=True, slots=True)
class Port:
    """A device as a port of our bridge."""

    isolated: bool
    """Nothing passes between it and other isolated ports."""
    floods: bool
    """Whether broadcast, multicast and unknown unicast go out of it."""


class Remote(NamedTuple):
    """A forwarding entry of a VXLAN device: where it sends what it is given."""

    host: str
    udp_port: int
    vni: int


class Redirect(NamedTuple):
    """A filter that turns what leaves by a VXLAN device into the peer's TAP."""

    slot: int
    alive: bool
    """False: it leads to a TAP that is gone (frames are dropped), or elsewhere."""


class TapFilters(Enum):
    """Where what the router writes goes."""

    NONE = "none"
    """Into the bridge by the TAP, if it is a port."""
    INTO_PORT = "into-port"
    """Into the bridge by the peer's VXLAN device; but probes, which nobody sends here, nowhere."""
    OTHER = "other"
    """Elsewhere: a VXLAN device that is gone, or somebody changed something."""


@dataclass(frozen=True, slots=True)
class TapLink:
    """A peer's TAP, as it is."""

    up: bool
    mtu: int
    queue: int
    """txqueuelen, frames."""
    port: Port | None
    filters: TapFilters


@dataclass(frozen=True, slots=True)
class VxlanLink:
    """A peer's VXLAN device, as it is."""

    vni: int
    udp_port: int
    ipv6: bool
    local: str | None
    """Source address of what it sends; None: as the route says."""
    remotes: tuple[Remote, ...]
    """Every frame goes to all of them."""
    up: bool
    mtu: int
    port: Port | None
    guarded: bool
    """Probes coming in are put aside, probes going out pass whatever else happens."""
    redirects: tuple[Redirect, ...]
    """By slot: the first counts."""

    @property
    def through(self) -> bool:
        """Whether what leaves by it goes through the kernel."""
        return not self.redirects

    @property
    def diverted(self) -> bool:
        """Whether what leaves by it reaches the router."""
        return bool(self.redirects) and self.redirects[0].alive


@dataclass(frozen=True, slots=True)
class KernelState:
    """Everything of ours, by peer."""

    taps: Mapping[PeerName, TapLink] = field(default_factory=dict)
    vxlans: Mapping[PeerName, VxlanLink] = field(default_factory=dict)
