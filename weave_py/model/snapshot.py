"""What does a router look like right now? Frozen views: engines make them, `observe` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weave_py.model.names import PeerName, PeerUID
from weave_py.model.routes import RouteTable

# States of a connection, in Weave's words and in the order `status` counts them.
CONNECTION_STATES = ("established", "pending", "retrying", "failed", "connecting")
PATH_KINDS = ("fastdp", "direct", "relay", "tcp", "none")
MTU_MISMATCH = "mtu-mismatch"
"""Reason code: the peer has another inner MTU."""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A control connection, or an address we try to make one to."""

    address: str
    outbound: bool
    state: str
    """One of CONNECTION_STATES."""
    error: str = ""
    """Why the last attempt or connection ended; empty when live or never tried."""
    retry_in: float | None = None
    """Seconds to the next attempt of a dead target; None: never, or not applicable."""
    peer: PeerName | None = None
    nickname: str = ""
    encrypted: bool = True
    """Whether frames to this peer are encrypted (the control connection always is)."""
    overlay: str = "sleeve"
    """What carries the frames: `fastdp`, `sleeve`, or `tcp` (inside control connections)."""
    mtu: int | None = None
    """Bytes of the largest inner IP packet; None until a data path is up."""
    fits: int | None = None
    """Bytes of the largest one that the kernel could carry this way; None: not worked out."""
    rtt: float | None = None
    """Seconds, smoothed."""


@dataclass(frozen=True, slots=True)
class PeerConnectionView:
    """One control connection as its owner claims it in the topology."""

    name: PeerName
    nickname: str
    address: str
    outbound: bool
    established: bool


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as the topology knows it (ourself included)."""

    name: PeerName
    nickname: str
    uid: PeerUID
    version: int
    reachable: bool
    connections: tuple[PeerConnectionView, ...] = ()


@dataclass(frozen=True, slots=True)
class FastView:
    """How the fast path to a peer stands."""

    state: str
    """`off`, `probing`, `fast` or `degraded`."""
    why: str
    """Reason code (fastdp.path.reasons); empty while it is fast."""
    failure: str = ""
    """What the kernel said, if it refused the device."""


@dataclass(frozen=True, slots=True)
class PathView:
    """How our frames reach one peer now."""

    peer: PeerName
    nickname: str
    kind: str
    """One of PATH_KINDS."""
    address: str = ""
    """Where datagrams go: the peer's underlay address, or the relay's."""
    via: PeerName | None = None
    """The relay, for kind `relay` (and the next hop for `tcp`)."""
    rtt: float | None = None
    """Seconds, smoothed, to the peer itself."""
    loss: float = 0.0
    """Share of recent probes without an answer, 0–1."""
    datagram_bytes: int = 0
    """UDP payload that is known to pass."""
    fits: int | None = None
    """Bytes of the largest inner IP packet that the kernel could carry straight to the peer; None
    without a direct path."""
    peer_mtu: int | None = None
    """The peer's inner MTU, bytes, if it is not ours: packets above the smaller one are lost."""
    cipher: str = ""
    why: str = ""
    """Reason codes: why no better path is in use; empty when it is the best there can be."""
    counters: Mapping[str, int] = field(default_factory=dict)
    fast: FastView | None = None
    """None where the router does not even try."""


@dataclass(frozen=True, slots=True)
class RouterSnapshot:
    """Everything `status` and `report` can say without asking the kernel."""

    name: PeerName
    nickname: str
    uid: PeerUID
    port: int
    encryption: bool
    """Whether the network has a secret, so that encryption is required."""
    discovery: bool
    conn_limit: int
    trusted_subnets: tuple[str, ...]
    targets: tuple[str, ...]
    connections: tuple[ConnectionView, ...]
    peers: tuple[PeerView, ...]
    paths: tuple[PathView, ...]
    routes: RouteTable
    terminations: int
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MacView:
    """Behind which peer the bridge learned a MAC address (ourself: local containers)."""

    mac: str
    name: PeerName
    nickname: str
    age: float
    """Seconds since the bridge last saw it."""
