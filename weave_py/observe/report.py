"""What is everything a router knows about itself, for programs?

The shape and the names are Weave Net's report where the notions agree, with additions beside
them (`Router.Bridge`, `Router.MTU`, `Router.Paths`, `Router.Counters` …). It is a contract:
`docs/report.schema.json` describes it, and members are only ever added. Unlike Weave's, empty
lists are `[]`, and `UID` is a string: it has 64 bits, and JSON readers that keep numbers as
doubles would silently round it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from weave_py import __version__
from weave_py.model.abilities import Abilities
from weave_py.model.firewall import FirewallView
from weave_py.model.names import NAME_BYTES, PeerName, name_text
from weave_py.model.snapshot import (
    ConnectionView,
    FastView,
    MacView,
    PathView,
    PeerConnectionView,
    PeerView,
    RouterSnapshot,
)
from weave_py.observe.text import peer_text
from weave_py.wire.preface import MAX_VERSION, MIN_VERSION

PROTOCOL = "weave-py"
LIVE_STATES = frozenset({"established", "pending"})
NO_NEXT_HOP = name_text(PeerName(bytes(NAME_BYTES)))
"""How Weave writes the route to oneself."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportExtras:
    """What the router engine cannot know: the kernel's side, and how far start-up has come."""

    bridge: str
    mtu: int
    ready: bool
    macs: tuple[MacView, ...] = ()
    http_address: str = ""
    state_dir: str = ""
    abilities: Abilities = field(default_factory=Abilities)
    firewall: FirewallView = field(default_factory=FirewallView)
    interface: str = "tap (one per peer)"


def report(snapshot: RouterSnapshot, extras: ReportExtras, wall: datetime) -> Json:
    """The whole report as JSON values; `wall` is the time of day, to date what was last seen."""
    return {
        "Ready": extras.ready,
        "Version": __version__,
        "Router": _router(snapshot, extras, wall),
    }


def _router(snapshot: RouterSnapshot, extras: ReportExtras, wall: datetime) -> Json:
    return {
        "Protocol": PROTOCOL,
        "ProtocolMinVersion": MIN_VERSION,
        "ProtocolMaxVersion": MAX_VERSION,
        "Encryption": snapshot.encryption,
        "PeerDiscovery": snapshot.discovery,
        "Name": name_text(snapshot.name),
        "NickName": snapshot.nickname,
        "UID": str(snapshot.uid),
        "Port": snapshot.port,
        "ConnLimit": snapshot.conn_limit,
        "Peers": [_peer(peer) for peer in snapshot.peers],
        "UnicastRoutes": _routes(snapshot),
        "Connections": [
            _connection(connection, snapshot.encryption) for connection in snapshot.connections
        ],
        "TerminationCount": snapshot.terminations,
        "Targets": list(snapshot.targets),
        "TrustedSubnets": list(snapshot.trusted_subnets),
        "Interface": extras.interface,
        "MACs": [_mac(mac, wall) for mac in extras.macs],
        "Bridge": extras.bridge,
        "MTU": extras.mtu,
        "HTTPAddress": extras.http_address,
        "StateDir": extras.state_dir,
        "Abilities": {
            "Offloads": extras.abilities.offloads,
            "Ciphers": [name for name, _ in extras.abilities.speeds],
            "FastDatapath": extras.abilities.fast_datapath,
        },
        "HostFirewall": {
            "Code": extras.firewall.code,
            "Text": extras.firewall.detail,
            "Dropped": [f"IPv{version}" for version in extras.firewall.dropped],
        },
        "Paths": [_path(path) for path in snapshot.paths],
        "Counters": dict(sorted(snapshot.counters.items())),
    }


def _peer(peer: PeerView) -> Json:
    return {
        "Name": name_text(peer.name),
        "NickName": peer.nickname,
        "UID": str(peer.uid),
        "Version": peer.version,
        "Reachable": peer.reachable,
        "Connections": [_peer_connection(connection) for connection in peer.connections],
    }


def _peer_connection(connection: PeerConnectionView) -> Json:
    return {
        "Name": name_text(connection.name),
        "NickName": connection.nickname,
        "Address": connection.address,
        "Outbound": connection.outbound,
        "Established": connection.established,
    }


def _routes(snapshot: RouterSnapshot) -> list[Json]:
    others = sorted(
        (name_text(dest), name_text(via))
        for dest, via in snapshot.routes.unicast.items()
        if dest != snapshot.name
    )
    return [{"Dest": name_text(snapshot.name), "Via": NO_NEXT_HOP}] + [
        {"Dest": dest, "Via": via} for dest, via in others
    ]


def connection_info(connection: ConnectionView, encryption: bool) -> str:
    """Weave's "info" column: overlay and peer of a live connection, else why it is not one.

    The encryption word shows only in a network with a secret, where it could be otherwise.
    """
    if connection.state in LIVE_STATES:
        word = f"{'encrypted' if connection.encrypted else 'unencrypted':<11} "
        peer = "" if connection.peer is None else peer_text(connection.peer, connection.nickname)
        return f"{word if encryption else ''}{connection.overlay:<6} {peer}".rstrip()
    if connection.state == "failed":
        never = connection.retry_in is None
        retry = "never" if never else f"in {max(0.0, connection.retry_in or 0.0):.1f}s"
        return f"{connection.error or 'not connected'}, retry: {retry}"
    return connection.error


def connection_attributes(connection: ConnectionView) -> dict[str, str | int | float | bool]:
    """The attributes of a live connection, sorted by name; empty for one that is not."""
    if connection.state not in LIVE_STATES:
        return {}
    attributes: dict[str, str | int | float | bool] = {"name": connection.overlay}
    if connection.encrypted:
        attributes["encrypted"] = True
    if connection.mtu is not None:
        attributes["mtu"] = connection.mtu
    if connection.fits is not None:
        attributes["fits"] = connection.fits
    if connection.rtt is not None:
        attributes["rtt"] = connection.rtt
    return dict(sorted(attributes.items()))


def _connection(connection: ConnectionView, encryption: bool) -> Json:
    return {
        "Address": connection.address,
        "Outbound": connection.outbound,
        "State": connection.state,
        "Info": connection_info(connection, encryption),
        "Attrs": connection_attributes(connection),
        "RetryIn": connection.retry_in,
    }


def _path(path: PathView) -> Json:
    return {
        "Peer": name_text(path.peer),
        "NickName": path.nickname,
        "Kind": path.kind,
        "Address": path.address,
        "Via": None if path.via is None else name_text(path.via),
        "RTT": path.rtt,
        "Loss": path.loss,
        "DatagramBytes": path.datagram_bytes,
        "FitsMTU": path.fits,
        "Cipher": path.cipher,
        "Why": path.why,
        "Counters": dict(sorted(path.counters.items())),
        "Fast": None if path.fast is None else _fast(path.fast),
    }


def _fast(fast: FastView) -> Json:
    return {"State": fast.state, "Why": fast.why, "Failure": fast.failure}


def _mac(mac: MacView, wall: datetime) -> Json:
    seen = wall - timedelta(seconds=mac.age)
    return {
        "Mac": mac.mac,
        "Name": name_text(mac.name),
        "NickName": mac.nickname,
        "LastSeen": seen.isoformat(timespec="milliseconds"),
        "Age": mac.age,
    }
