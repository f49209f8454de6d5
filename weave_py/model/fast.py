"""What should the kernel carry for a peer? Wishes of the engine, for whoever talks to the kernel.

These are the values at the seam between the fast datapath's decisions (`fastdp.path.path`) and its
reconciler (`fastdp.reconciler`): the engine says what it wants, whole, as often as it likes; the
reconciler makes the kernel look like it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from weave_py.model.names import PeerName

VXLAN_PORT = 4789  # RFC 7348 §5
MAX_VNI = (1 << 24) - 1


@dataclass(frozen=True, slots=True)
class EspKey:
    """One direction of an encrypted fast path: rfc4106(gcm(aes)), 256 bits, ESN."""

    spi: int
    key: bytes = field(repr=False)
    """32 bytes of key and 4 of salt (RFC 4106 §8.1)."""


@dataclass(frozen=True, slots=True)
class DesiredEsp:
    """Both directions; several inbound keys while they are being rotated."""

    inbound: tuple[EspKey, ...]
    outbound: EspKey | None
    """None: not agreed yet; nothing may leave then."""


@dataclass(frozen=True, slots=True)
class FastRemote:
    """Where the kernel sends the peer's frames, and what must hold for it."""

    local: str
    """Our underlay address towards the peer (same family as `host`)."""
    host: str
    udp_port: int
    vni: int
    """The one under which the peer receives."""
    esp: DesiredEsp | None = None
    """None: plain VXLAN, because the network or the trusted subnets allow it."""


@dataclass(frozen=True, slots=True)
class DesiredVxlan:
    """A VXLAN device as the peer's port of the bridge."""

    vni: int
    """The one under which we receive."""
    ipv6: bool
    """Family of the underlay: a VXLAN device has one for life."""
    remote: FastRemote | None
    """None: not known or not allowed yet; nothing leaves through the kernel then."""
    through: bool
    """Whether frames to the peer go through the kernel; if not, they go to its TAP."""


@dataclass(frozen=True, slots=True)
class DesiredPort:
    """A peer's port of the bridge."""

    peer: PeerName
    fast: DesiredVxlan | None
    """None: the TAP itself is the port."""


@dataclass(frozen=True, slots=True)
class PortsOutcome:
    """What the reconciler has to tell the engine."""

    ready: tuple[tuple[PeerName, DesiredVxlan], ...] = ()
    """The kernel does what these desired ports say."""
    failed: tuple[tuple[PeerName, str], ...] = ()
    """It refused, in these words."""
    taken: tuple[PeerName, ...] = ()
    """Somebody else's device has the VNI that was wished for them: choose another."""
    installed: tuple[tuple[PeerName, int], ...] = ()
    """Newest inbound ESP key (SPI) of the peer that is in the kernel."""


@dataclass(frozen=True, slots=True)
class FastHost:
    """What this host can do, found out at start."""

    udp_port: int
    """Where its VXLAN devices listen; 0: it cannot."""
    why: str = ""
    """Reason code if it cannot: `disabled`, `no-vxlan`, `no-tc`, `port-taken`, `no-privileges`,
    `no-guard` (fastdp.descriptions says what they mean)."""
    esp: bool = False
    """Whether the kernel has ESP (XFRM, AES-GCM)."""


class Carried(NamedTuple):
    """By one peer's VXLAN device since it was made, probes included."""

    packets_out: int
    packets_in: int
    bytes_out: int
    bytes_in: int


@dataclass(frozen=True, slots=True)
class FastStatus:
    """What one end of a fast path tells the other, whole, again and again: whoever misses one
    misses nothing. Travels in a control record (`wire.fast_status`)."""

    incarnation: int
    """Random per router start and peer: counters below begin anew with it."""
    number: int
    """Counts this end's statuses: an older one than the last is ignored."""
    able: bool
    """Whether this end can and may use a fast path with the peer now."""
    using: bool
    """Whether this end's frames take the kernel now."""
    proven: bool
    """Whether its probes have been arriving at the other end (so that it could use the path)."""
    udp_port: int
    vni: int
    """Where this end receives."""
    mtu: int
    """Its inner MTU, bytes."""
    cookie: bytes = field(repr=False)
    """16 bytes that authenticate probes to this end: only the peer knows them."""
    heard_incarnation: int
    """The peer's incarnation as of the last status that came; 0: none yet."""
    small_seen: int
    """Highest number of the peer's small probes that came through the kernel; 0: none."""
    full_seen: int
    """The same of full-sized ones."""
    received: int
    """Packets that the kernel has received on this end's device, modulo 2^32."""
    spi: int = 0
    """Newest inbound ESP key that is in this end's kernel; 0: none."""
    why: str = ""
    """Reason code if not able."""
