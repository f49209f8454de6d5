"""A router with one of everything, to be shown."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from weave_py.model.abilities import Abilities
from weave_py.model.fast import FastHost
from weave_py.model.firewall import FirewallView
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.snapshot import (
    ConnectionView,
    MacView,
    PathView,
    PeerConnectionView,
    PeerView,
    RouterSnapshot,
)
from weave_py.observe.report import ReportExtras

H1, H2, H3 = (
    PeerName(bytes.fromhex(text)) for text in ("8a3e3e3e3e3e", "12d2480bc652", "5e159a770133")
)


@pytest.fixture
def extras() -> ReportExtras:
    return ReportExtras(
        bridge="weave",
        mtu=1376,
        ready=True,
        macs=(MacView("02:00:00:00:00:01", H2, "host2", 1.5),),
        mac_count=4448,
        http_address="127.0.0.1:6784",
        state_dir="/var/lib/weave-py",
        abilities=Abilities(
            frozenset(("csum", "tso4", "tso6")),
            udp_gso=True,
            udp_gro=True,
            speeds=(("aes-256-gcm", 8.3e9), ("chacha20-poly1305", 3.4e9)),
            fast=FastHost(4789),
        ),
        firewall=FirewallView(detail="lets frames pass: rule in ip filter FORWARD"),
    )


@pytest.fixture
def snapshot() -> RouterSnapshot:
    return RouterSnapshot(
        name=H1,
        nickname="host1",
        uid=PeerUID(2**64 - 1),
        port=6783,
        encryption=True,
        discovery=True,
        conn_limit=200,
        trusted_subnets=(),
        targets=("192.168.48.12", "10.2.2.1:6783"),
        connections=_connections(),
        peers=_peers(),
        paths=_paths(),
        routes=RouteTable(unicast=MappingProxyType({H3: H2, H2: H2})),
        terminations=4,
        counters=MappingProxyType({"delivered": 7, "dropped_no_path": 1}),
    )


def _connections() -> tuple[ConnectionView, ...]:
    return (
        ConnectionView(
            "192.168.48.12:6783", True, "established", peer=H2, nickname="host2", mtu=1376
        ),
        ConnectionView(
            "192.168.48.13:47652",
            False,
            "established",
            peer=H3,
            nickname="host3",
            encrypted=False,
            mtu=1438,
        ),
        ConnectionView("10.2.2.1:6783", True, "failed", error="no route to host", retry_in=9.94),
        ConnectionView("10.2.2.2:6783", True, "failed", error="connected to ourself"),
        ConnectionView("10.2.2.3:6783", True, "connecting"),
        ConnectionView("10.2.2.4:6783", True, "retrying", error="timed out"),
    )


def _peers() -> tuple[PeerView, ...]:
    links = (
        PeerConnectionView(H2, "host2", "192.168.48.12:6783", True, True),
        PeerConnectionView(H3, "host3", "192.168.48.13:47652", False, False),
    )
    return (
        PeerView(H1, "host1", PeerUID(2**64 - 1), 3, True, links),
        PeerView(H2, "host2", PeerUID(2), 5, True, ()),
        PeerView(H3, "host3\x1b[2J", PeerUID(3), 1, False, ()),
    )


def _paths() -> tuple[PathView, ...]:
    return (
        PathView(
            H2,
            "host2",
            "direct",
            "192.168.48.12:6783",
            rtt=0.00123,
            loss=0.005,
            datagram_bytes=1452,
            cipher="aes-256-gcm",
        ),
        PathView(
            H3,
            "host3",
            "relay",
            "192.168.48.12:6783",
            via=H2,
            rtt=0.2,
            why="probing",
            counters=MappingProxyType({"sent": 9}),
        ),
        PathView(PeerName(b"\x01" * 6), "host4", "none", why="no-route"),
    )
