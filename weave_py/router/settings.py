"""Which knobs does the engine have? Its parts' settings, composed."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from fastdp.path.settings import FastSettings
from weave_py.config.options import CONN_LIMIT, MTU, NO_DISCOVERY, RECORD_DATAGRAMS
from weave_py.link.path import PathSettings
from weave_py.link.session import SessionSettings
from weave_py.mesh.connection import ConnectionSettings
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.mesh.targets import TargetSettings
from weave_py.mesh.topology import TopologySettings
from weave_py.model.fast import FastHost


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Times in seconds."""

    discovery: bool = not NO_DISCOVERY.default
    discover_after: float = 0.5
    """Until then a router that has just found its first neighbour calls nobody that it hears of:
    soon it knows how large the network is, and whom it wants."""
    conn_limit: int = CONN_LIMIT.default
    """Control connections; 0: as many as our record can name (wire.topology.MAX_NEIGHBOURS), which
    is the most in any case."""
    refresh_every: float = 0.1
    """Routes are computed at most that often (Weave defers by as much)."""
    announce_every: float = 0.2
    """Our own record changes at most that often, the first time at once."""
    max_ports: int = 1000
    """A Linux bridge has 1,024 ports; some are for containers."""
    max_links: int = 4000
    """Peers that we try to agree on keys with."""
    eager_links: int = 1000
    """As many peers get a link as soon as they are known: each needs its port of the bridge, or
    broadcasts would not reach it. In a larger network the others get one when it is asked for
    (Engine.link_to), when they begin a session with us, or when they become neighbours."""
    record_datagrams: int = RECORD_DATAGRAMS.default
    """The most datagrams a record may take; 1 seals each by itself (for measurements)."""
    max_handshakes: int = 256
    """Incoming connections of strangers that have not proved anything yet."""
    max_known_handshakes: int = 128
    """… and of those who call from where a known peer is."""
    max_handshakes_per_source: int = 8
    asks_routes: bool = False
    """Whether the driver answers FindRoutes: then nothing is sent anywhere before it has. If not,
    every way is as good as another."""
    fast_host: FastHost | None = None
    """What this host can do for fast paths; None: there are none, nor is anybody told."""
    mtu: int = MTU.default
    """Inner MTU, bytes, for probes of fast paths."""
    trusted_subnets: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where frames need no encryption on fast paths."""
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    fast: FastSettings = field(default_factory=FastSettings)
    gossip: GossipSettings = field(default_factory=GossipSettings)
    path: PathSettings = field(default_factory=PathSettings)
    session: SessionSettings = field(default_factory=SessionSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    topology: TopologySettings = field(default_factory=TopologySettings)
