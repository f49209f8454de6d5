"""Who can read what two containers say to each other? Neither the wire nor the relay.

h1 and h3 share no wire: h2 relays for them. Everything that h2 could look at is searched for
what was said: its interfaces, its log at the level `debug`, and what it answers when asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.kit.inside import tcp_transfer, udp_socket
from tests.kit.routers import SLEEVE_PORT, paths, started, via, wait_path
from tests.kit.waiting import until
from tests.kit.wiretap import Wiretap, datagrams
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.pings import ping

MARKER = b"plainly-visible!"  # 16 bytes: what ping takes as a pattern
PINGS = 20
UNDERLAY = ("to-h1", "to-h3")


@pytest.fixture(
    scope="module", params=["correct horse battery", None], ids=["password", "no password"]
)
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabMesh]:
    # Without a password the fast datapath would carry the frames, in clear: that is its nature.
    options = LaunchOptions(password=request.param, fastdp=False, log_level="debug")
    with started("chain", 3, tmp_path_factory.mktemp("chain"), options) as mesh:
        yield mesh


def say_the_marker(mesh: LabMesh, target: str, address: str) -> None:
    """From c1, in pings of two sizes, in UDP, and in TCP."""
    for size in ("300", "4000"):
        options = ["-i", "0.02", "-p", MARKER.hex(), "-s", size]
        result = ping(mesh.lab, "c1", address, count=PINGS, options=options)
        assert result.received == PINGS
    with (
        udp_socket(mesh.lab, target, address) as receiver,
        udp_socket(mesh.lab, "c1") as sender,
    ):
        for number in range(10):
            sender.sendto(MARKER + bytes([number]), receiver.getsockname())
            assert receiver.recv(100) == MARKER + bytes([number])
    tcp_transfer(mesh.lab, "c1", target, address, MARKER * 4096)


def test_a_host_without_a_direct_path_is_reached_through_another(chain: LabMesh) -> None:
    h1, h3 = chain["h1"], chain["h3"]
    # (Inside h2's TCP connections until the relay's first answer, and whenever those are late.)
    for host, peer in ((h1, "h3"), (h3, "h1")):
        wait_path(host, peer, "relay")
    assert via(h1, "h3") == via(h3, "h1") == "h2"
    h2 = chain["h2"]
    for host, peer in ((h1, "h2"), (h2, "h3")):
        wait_path(host, peer, "direct")
    assert via(h2, "h3") is None
    (line,) = [row for row in h1.cli("status", "paths").stdout.splitlines() if "(h3)  " in row]
    assert line.index("relay") < line.index("(h2)")
    assert ping(chain.lab, "c1", "10.32.0.3", count=5).received == 5


def test_the_relay_sees_nothing_of_what_it_passes_on(chain: LabMesh) -> None:
    h2 = chain["h2"]
    with Wiretap(chain.lab, "h2") as relay, Wiretap(chain.lab, "c3") as receiver:
        say_the_marker(chain, "c3", "10.32.0.3")

    assert receiver.count(MARKER, "ethwe") > 2 * PINGS  # we would see it if it were there
    for ifname in UNDERLAY:
        assert len(datagrams(relay.seen(ifname), SLEEVE_PORT)) > 2 * PINGS
    assert h2.report()["Router"]["Counters"]["datagrams_relayed"] > 4 * PINGS
    # On no interface: neither on the wires nor where h2 opens what is meant for itself.
    assert [one.ifname for one in relay.seen() if MARKER in one.frame] == []
    for text in everything_said_by(chain):
        assert MARKER not in text


def everything_said_by(mesh: LabMesh) -> list[bytes]:
    """All that h2 can be made to print about itself and the others."""
    h2 = mesh["h2"]
    parts = ("", "connections", "peers", "targets", "paths")
    shown = [h2.cli("status", *([part] if part else [])).stdout for part in parts]
    assert all(shown[:3])
    return [text.encode() for text in [*shown, h2.cli("report").stdout]] + [
        h2.log_path.read_bytes()
    ]


def test_the_wire_shows_no_inner_header(chain: LabMesh) -> None:
    """Between two hosts that talk directly: no payload, no inner MAC, no inner address."""
    with Wiretap(chain.lab, "h2", "to-h1") as wire, Wiretap(chain.lab, "c2", "ethwe") as receiver:
        # Forgotten neighbours make ARP part of what is said.
        for name in ("c1", "c2"):
            chain.lab.exec(name, ["ip", "neigh", "flush", "dev", "ethwe"])
        say_the_marker(chain, "c2", "10.32.0.2")

    secrets = [MARKER]
    for number in ("1", "2"):
        mac = chain.lab.exec(f"c{number}", ["cat", "/sys/class/net/ethwe/address"]).stdout
        secrets += [bytes.fromhex(mac.replace(":", "")), socket.inet_aton(f"10.32.0.{number}")]
    assert len(datagrams(wire.seen(), SLEEVE_PORT)) > 4 * PINGS
    for secret in secrets:
        assert receiver.count(secret) > 2 * PINGS
        assert wire.count(secret) == 0, secret


def test_frames_are_sealed_with_and_without_a_password(chain: LabMesh) -> None:
    found = until(lambda: paths(chain["h1"]), 5, "paths")
    assert {path["Cipher"] for path in found.values()} <= {"aes-256-gcm", "chacha20-poly1305"}
    assert {path["Counters"]["records_bad"] for path in found.values()} == {0}
