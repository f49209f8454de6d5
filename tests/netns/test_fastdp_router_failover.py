"""Do two routers find the kernel's path, leave it when it breaks, and come back by themselves?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ping_trace import Trace, pinging
from tests.kit.routers import events, path_kind, paths, started, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build
from weave_py.model.fast import VXLAN_PORT

LAUNCHED_TO_FAST = 5.0
GAP = 1.0
BACK_SECONDS = 20.0
LARGE = 1376 - 28
"""Bytes in a ping whose packet is as large as the inner MTU."""


def wait_fast(mesh: LabMesh, seconds: float = LAUNCHED_TO_FAST) -> None:
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        wait_path(mesh[host], peer, "fastdp", seconds)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("fast")
    with started("full", 2, directory, offload=False) as mesh:
        wait_fast(mesh)
        yield mesh


@pytest.fixture
def fresh(nothing_left: None, tmp_path: Path) -> Iterator[LabMesh]:
    """A pair whose path has never fallen: each fall keeps it away for longer than the last."""
    with started("full", 2, tmp_path, offload=False) as mesh:
        wait_fast(mesh)
        yield mesh


def falls(mesh: LabMesh) -> int:
    return sum(len(events(host, "fast path degraded")) for host in mesh.hosts.values())


def test_two_hosts_are_fast_within_seconds_of_launch(tmp_path: Path) -> None:
    with Lab(build("full", 2)) as lab, LabMesh(lab, tmp_path) as mesh:
        start = time.monotonic()
        mesh.launch()
        mesh.wait_ready()
        wait_fast(mesh)
        took = time.monotonic() - start
        print(f"fast {took:.2f} s after launch")
        assert took < LAUNCHED_TO_FAST


def test_status_shows_the_path_and_what_fits(pair: LabMesh) -> None:
    host = pair["h1"]
    line = host.cli("status", "connections").stdout
    assert "established fastdp" in line
    assert "mtu=1376" in line
    assert "fits=1450" in line, "1500 less IPv4, UDP, VXLAN and Ethernet headers"
    path = paths(host)["h2"]
    assert (path["Kind"], path["Why"], path["Cipher"]) == ("fastdp", "", "none")
    assert path["FitsMTU"] == 1450
    assert path["Fast"] == {"State": "fast", "Why": "", "Failure": ""}
    before = path["Counters"]
    pair.lab.exec("c1", ["ping", "-c", "20", "-i", "0.01", "-q", "10.32.0.2"])
    after = paths(host)["h2"]["Counters"]
    assert after["kernel_packets_out"] >= before["kernel_packets_out"] + 20
    assert after["kernel_bytes_in"] >= before["kernel_bytes_in"] + 20 * 84
    assert after["frames_out"] == before["frames_out"], "nothing went by the sleeve"


def check(trace: Trace, what: str) -> None:
    print(f"{what}: {trace}")
    assert trace.duplicates == 0
    assert trace.sent > 0


def test_a_path_that_is_never_blocked_never_flips(pair: LabMesh, tmp_path: Path) -> None:
    before = falls(pair)
    with pinging(pair.lab, "c1", "10.32.0.2", tmp_path) as trace:
        time.sleep(3)
    check(trace, "undisturbed")
    assert trace.lost == 0
    assert falls(pair) == before
    assert path_kind(pair["h1"], "h2") == "fastdp"


@pytest.mark.parametrize(
    ("ends", "payload"), [(("h1", "h2"), 56), (("h2", "h1"), LARGE)], ids=["small", "large"]
)
def test_blocked_one_way_the_sleeve_takes_over(
    pair: LabMesh, tmp_path: Path, ends: tuple[str, str], payload: int
) -> None:
    """And back without losing a packet."""
    wait_fast(pair, BACK_SECONDS)
    with pinging(pair.lab, "c1", "10.32.0.2", tmp_path, payload) as blocked:
        time.sleep(0.5)
        pair.lab.block(*ends, protocol="udp", port=VXLAN_PORT, both_ways=False)
        wait_path(pair["h1"], "h2", "direct")
        time.sleep(0.5)
    check(blocked, "blocked one way")
    assert 0 < blocked.gap <= GAP
    assert paths(pair["h1"])["h2"]["Fast"]["State"] == "degraded"
    assert paths(pair["h1"])["h2"]["Why"]
    with pinging(pair.lab, "c1", "10.32.0.2", tmp_path, payload) as back:
        pair.lab.heal()
        wait_fast(pair, BACK_SECONDS)
        time.sleep(0.5)
    check(back, "back")
    assert back.lost == 0


def test_an_underlay_that_shrinks_is_left_too(fresh: LabMesh, tmp_path: Path) -> None:
    """VXLAN needs 1376 + 50 bytes. Small frames still pass, so only large ones feel it."""
    with (
        pinging(fresh.lab, "c1", "10.32.0.2", tmp_path) as small,
        pinging(fresh.lab, "c2", "10.32.0.1", tmp_path, LARGE) as large,
    ):
        time.sleep(0.5)
        fresh.lab.shrink("h1", "h2", mtu=1400)
        wait_path(fresh["h1"], "h2", "direct")
        time.sleep(1.5)
        assert paths(fresh["h1"])["h2"]["Why"] == "mtu"
        fits = until(lambda: paths(fresh["h1"])["h2"]["FitsMTU"] < 1376, 5, "less fits")
        print(f"fits while narrow: {fits}")
    check(small, "shrunk, small pings")
    check(large, "shrunk, full-sized pings")
    assert small.lost == 0
    assert 0 < large.gap <= GAP
    with pinging(fresh.lab, "c1", "10.32.0.2", tmp_path, LARGE) as back:
        fresh.lab.heal()
        start = time.monotonic()
        wait_fast(fresh, BACK_SECONDS)
        print(f"fast again {time.monotonic() - start:.1f} s after the underlay grew")
        time.sleep(0.5)
    check(back, "grown again")
    assert back.lost == 0


def test_an_interface_that_shrinks_is_left_too(fresh: LabMesh, tmp_path: Path) -> None:
    """The same by the host's own kernel, which says so to whoever sends."""
    device = fresh.lab.topology.device("h1", fresh.lab.topology.wire_between("h1", "h2"))
    with pinging(fresh.lab, "c2", "10.32.0.1", tmp_path, LARGE) as large:
        time.sleep(0.5)
        fresh.lab.exec("h1", ["ip", "link", "set", device, "mtu", "1400"])
        wait_path(fresh["h1"], "h2", "direct")
        time.sleep(1.0)
    check(large, "interface shrunk, full-sized pings")
    assert 0 < large.gap <= GAP
    fresh.lab.exec("h1", ["ip", "link", "set", device, "mtu", "1500"])
    wait_fast(fresh, BACK_SECONDS)


def test_ipv6_alone_carries_it(tmp_path: Path) -> None:
    lab = Lab(build("full", 2), ipv6=True)
    options = LaunchOptions()
    with lab, LabMesh(lab, tmp_path, options) as mesh:
        for name in lab.topology.hosts:
            device = lab.topology.device(name, lab.topology.wires[0])
            lab.exec(name, ["ip", "-4", "addr", "flush", "dev", device])
        start = time.monotonic()
        mesh["h1"].launch([])
        mesh["h2"].launch([f"[{lab.address('h1', 'h2', ipv6=True)}]"])
        mesh.wait_ready()
        wait_fast(mesh)
        print(f"over IPv6 fast {time.monotonic() - start:.2f} s after launch")
        mesh.attach()
        mesh.wait_reachable(10)
        assert paths(mesh["h1"])["h2"]["FitsMTU"] == 1430
        with pinging(lab, "c1", "10.32.0.2", tmp_path, LARGE) as blocked:
            time.sleep(0.5)
            lab.block("h1", "h2", protocol="udp", port=VXLAN_PORT, both_ways=False)
            wait_path(mesh["h1"], "h2", "direct")
            time.sleep(0.5)
        check(blocked, "blocked one way over IPv6")
        assert 0 < blocked.gap <= GAP
