"""The text of `status`, to the column."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weave_py import __version__
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe import connections, paths, peers, status, targets
from weave_py.observe.report import ReportExtras

OVERVIEW = f"""\
        Version: {__version__}

        Service: router
       Protocol: weave-py 2
           Name: 8a:3e:3e:3e:3e:3e(host1)
     Encryption: enabled
  PeerDiscovery: enabled
        Targets: 2
    Connections: 6 (2 established, 1 retrying, 2 failed, 1 connecting)
          Peers: 3 (with 1 established, 1 pending connections)
 TrustedSubnets: none
        Overlay: sleeve
          Paths: 3 (1 direct, 1 none, 1 relay)
            MTU: 1376
         Bridge: weave
           MACs: 4448
   HostFirewall: lets frames pass: rule in ip filter FORWARD
 ContainerGuard: in force
   FastDatapath: vxlan on UDP port 4789, no esp
       Offloads: tap csum+tso4+tso6, udp gso+gro
        Ciphers: aes-256-gcm 8.3 GB/s, chacha20-poly1305 3.4 GB/s
"""

CONNECTIONS = """\
-> 192.168.48.12:6783    established encrypted   sleeve 12:d2:48:0b:c6:52(host2) encrypted=true mtu=1376
<- 192.168.48.13:47652   established unencrypted sleeve 5e:15:9a:77:01:33(host3) mtu=1438
-> 10.2.2.1:6783         failed      no route to host, retry: in 9.9s
-> 10.2.2.2:6783         failed      connected to ourself, retry: never
-> 10.2.2.3:6783         connecting
-> 10.2.2.4:6783         retrying    timed out
"""  # noqa: E501

PEERS = """\
8a:3e:3e:3e:3e:3e(host1)
   -> 192.168.48.12:6783    12:d2:48:0b:c6:52(host2)              established
   <- 192.168.48.13:47652   5e:15:9a:77:01:33(host3)              pending
12:d2:48:0b:c6:52(host2)
5e:15:9a:77:01:33(host3\\x1b[2J) - unreachable!
"""

PATHS = """\
PEER                      KIND    VIA                       ADDRESS             RTT    LOSS  DATAGRAM  CIPHER       WHY
12:d2:48:0b:c6:52(host2)  direct  -                         192.168.48.12:6783  1.2ms  0.5%  1452      aes-256-gcm  -
5e:15:9a:77:01:33(host3)  relay   12:d2:48:0b:c6:52(host2)  192.168.48.12:6783  200ms  0%    -         -            probing
01:01:01:01:01:01(host4)  none    -                         -                   -      -     -         -            no-route
"""  # noqa: E501


def test_the_overview(snapshot: RouterSnapshot, extras: ReportExtras) -> None:
    assert status.status(snapshot, extras) == OVERVIEW


def test_every_colon_is_in_column_16(snapshot: RouterSnapshot, extras: ReportExtras) -> None:
    lines = status.status(snapshot, extras).splitlines()
    assert all(line[15:17] == ": " for line in lines if line)


def test_an_empty_router(snapshot: RouterSnapshot, extras: ReportExtras) -> None:
    empty = replace(
        snapshot,
        encryption=False,
        discovery=False,
        targets=(),
        connections=(),
        peers=(),
        paths=(),
        trusted_subnets=("10.0.0.0/8", "fd00::/8"),
    )
    text = status.status(empty, extras)
    assert "     Encryption: disabled\n  PeerDiscovery: disabled\n        Targets: 0\n" in text
    assert "    Connections: 0\n          Peers: 0\n" in text
    assert " TrustedSubnets: 10.0.0.0/8, fd00::/8\n" in text
    assert connections.text(empty) == peers.text(empty) == targets.text(empty) == ""


def test_connections(snapshot: RouterSnapshot) -> None:
    assert connections.text(snapshot) == CONNECTIONS


def test_an_open_network_does_not_say_encrypted_in_the_info(snapshot: RouterSnapshot) -> None:
    first = connections.text(replace(snapshot, encryption=False)).splitlines()[0]
    assert "established sleeve 12:d2:48:0b:c6:52(host2) encrypted=true mtu=1376" in first


def test_a_measured_round_trip_is_shown(snapshot: RouterSnapshot) -> None:
    measured = replace(snapshot.connections[0], rtt=0.0123)
    text = connections.text(replace(snapshot, connections=(measured,)))
    assert text.endswith("encrypted=true mtu=1376 rtt=12.3ms\n")


def test_peers_with_escaped_nicknames(snapshot: RouterSnapshot) -> None:
    assert peers.text(snapshot) == PEERS


def test_targets_as_typed(snapshot: RouterSnapshot) -> None:
    assert targets.text(snapshot) == "192.168.48.12\n10.2.2.1:6783\n"


def test_paths(snapshot: RouterSnapshot) -> None:
    assert paths.text(snapshot) == PATHS


@pytest.mark.parametrize("evil", ["\x1b]0;x\x07", "a\nb", "\u202e", "\x9b"])
def test_nothing_foreign_reaches_the_terminal_raw(
    snapshot: RouterSnapshot, extras: ReportExtras, evil: str
) -> None:
    failed = replace(snapshot.connections[2], error=evil, address=evil)
    path = replace(snapshot.paths[0], nickname=evil, why=evil)
    peer = replace(snapshot.peers[0], nickname=evil)
    bad = replace(snapshot, nickname=evil, connections=(failed,), paths=(path,), peers=(peer,))
    texts = [status.status(bad, extras), *(f(bad) for f in _TABLES)]
    assert not any(evil in text for text in texts)


_TABLES = (connections.text, peers.text, paths.text)
