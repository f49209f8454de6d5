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

from weave_py import __version__
from weave_py.model.abilities import Abilities
from weave_py.model.firewall import FirewallView, GuardView
from weave_py.model.names import NAME_BYTES, PeerName, name_text
from weave_py.model.snapshot import MacView, RouterSnapshot
from weave_py.observe.section import Json
from weave_py.observe.sections import SECTIONS
from weave_py.wire.preface import MAX_VERSION, MIN_VERSION

PROTOCOL = "weave-py"
NO_NEXT_HOP = name_text(PeerName(bytes(NAME_BYTES)))
"""How Weave writes the route to oneself."""


@dataclass(frozen=True, slots=True)
class ReportExtras:
    """What the router engine cannot know: the kernel's side, and how far start-up has come."""

    bridge: str
    mtu: int
    ready: bool
    macs: tuple[MacView, ...] = ()
    """Not all, if there are very many."""
    mac_count: int = 0
    http_address: str = ""
    state_dir: str = ""
    abilities: Abilities = field(default_factory=Abilities)
    firewall: FirewallView = field(default_factory=FirewallView)
    guard: GuardView = field(default_factory=GuardView)
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
        "UnicastRoutes": _routes(snapshot),
        "TerminationCount": snapshot.terminations,
        "TrustedSubnets": list(snapshot.trusted_subnets),
        "Interface": extras.interface,
        "MACs": [_mac(mac, wall) for mac in extras.macs],
        "MACCount": extras.mac_count,
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
        "ContainerGuard": {"Code": extras.guard.code, "Text": extras.guard.detail},
        **{section.member: section.json(snapshot) for section in SECTIONS},
        "Counters": dict(sorted(snapshot.counters.items())),
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


def _mac(mac: MacView, wall: datetime) -> Json:
    seen = wall - timedelta(seconds=mac.age)
    return {
        "Mac": mac.mac,
        "Name": name_text(mac.name),
        "NickName": mac.nickname,
        "LastSeen": seen.isoformat(timespec="milliseconds"),
        "Age": mac.age,
    }
