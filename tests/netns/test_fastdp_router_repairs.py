"""Is what somebody else does to our devices put right, and said, within two seconds?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastdp.kernel.devices import Kernel
from fastdp.plan.state import Device, KernelState, Redirect
from tests.kit.inside import inside
from tests.kit.routers import BRIDGE, Event, events, started, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.pings import ping
from weave_py.model.names import PeerName

REPAIRED_SECONDS = 2.0
SETTLE_SECONDS = 0.3

CHANGES = {
    "the filter for probes deleted": ("tc filter del dev {vxlan} ingress",),
    "all filters deleted": ("tc qdisc del dev {vxlan} clsact", "tc qdisc del dev {tap} clsact"),
    "the TAP's filters deleted": ("tc filter del dev {tap} ingress",),
    "a redirect added": (
        "tc filter add dev {vxlan} egress prio 2 u32 match u32 0 0 "
        "action mirred egress redirect dev {tap}",
    ),
    "the VXLAN device down": ("ip link set {vxlan} down",),
    "the VXLAN device deleted": ("ip link del {vxlan}",),
    "the VXLAN device out of the bridge": ("ip link set {vxlan} nomaster",),
    "the VXLAN device no longer isolated": ("bridge link set dev {vxlan} isolated off",),
    "its flooding off": ("bridge link set dev {vxlan} flood off",),
    "its MTU changed": ("ip link set {vxlan} mtu 1300",),
    "its destination deleted": ("bridge fdb flush dev {vxlan} dst 10.99.1.2",),
    "the TAP down": ("ip link set {tap} down",),
    "the TAP deleted": ("ip link del {tap}",),
    "the TAP put into the bridge": ("ip link set {tap} master weave",),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    with started("full", 2, tmp_path_factory.mktemp("fast"), LaunchOptions()) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def slow_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """By the sleeve, behind VXLAN devices: their packets do not pass."""
    with started("full", 2, tmp_path_factory.mktemp("slow"), LaunchOptions()) as mesh:
        for host, peer in (("h1", "h2"), ("h2", "h1")):
            wait_path(mesh[host], peer, "fastdp")
        mesh.lab.block("h1", "h2", protocol="udp", port=4789)
        for host, peer in (("h1", "h2"), ("h2", "h1")):
            wait_path(mesh[host], peer, "direct")
        yield mesh


def observed(mesh: LabMesh) -> KernelState:
    """But for which of its two slots a redirect is in."""

    def look() -> KernelState:
        with Kernel(BRIDGE) as kernel:
            return kernel.observe()

    state = inside(mesh.lab, "h1", look)
    vxlans = {
        peer: replace(link, redirects=tuple(Redirect(0, r.alive) for r in link.redirects))
        for peer, link in state.vxlans.items()
    }
    return replace(state, vxlans=vxlans)


def names(mesh: LabMesh) -> dict[str, str]:
    (peer,) = [p for p in mesh["h1"].report()["Router"]["Peers"] if p["NickName"] == "h2"]
    name = PeerName(bytes.fromhex(peer["Name"].replace(":", "")))
    return {"vxlan": Device.VXLAN.ifname(name), "tap": Device.TAP.ifname(name)}


def disturb(mesh: LabMesh, commands: tuple[str, ...]) -> list[Event]:
    """Change it; the log's lines about repairs, once everything is as before."""
    before, logged = observed(mesh), len(events(mesh["h1"], "port repaired"))
    started_at = time.monotonic()
    for command in commands:
        mesh.lab.exec("h1", command.format(**names(mesh)).split())
    # It may have been so quick that nothing is to be seen any more but the line in the log.
    while observed(mesh) != before or len(events(mesh["h1"], "port repaired")) == logged:
        assert time.monotonic() < started_at + REPAIRED_SECONDS, (before, observed(mesh))
        time.sleep(0.02)
    print(f"repaired after {time.monotonic() - started_at:.2f} s")
    time.sleep(SETTLE_SECONDS)
    assert observed(mesh) == before, "it stays so"
    found = events(mesh["h1"], "port repaired")[logged:]
    for line in found:
        print(line.level, line.text)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_changes_while_it_is_fast_is_repaired(pair: LabMesh, change: str) -> None:
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        wait_path(pair[host], peer, "fastdp", 30)
    found = disturb(pair, CHANGES[change])
    assert found
    assert all(event.level == "WARNING" for event in found)
    assert ping(pair.lab, "c1", "10.32.0.2", count=3, options=["-i", "0.05"]).received == 3


REDIRECT = "the redirect to the router deleted"
SLOW = (
    "all filters deleted",
    "the VXLAN device down",
    "the VXLAN device deleted",
    "the TAP deleted",
    "the VXLAN device out of the bridge",
)
SLOW_CHANGES = {
    REDIRECT: ("tc filter del dev {vxlan} egress prio 2",),
    **{change: CHANGES[change] for change in SLOW},
}


@pytest.mark.parametrize("change", SLOW_CHANGES)
def test_what_somebody_changes_while_it_is_slow_is_repaired(
    slow_pair: LabMesh, change: str
) -> None:
    assert disturb(slow_pair, SLOW_CHANGES[change])
    answered = ping(slow_pair.lab, "c1", "10.32.0.2", count=3, options=["-i", "0.05"])
    assert answered.received == 3


def test_our_own_changes_are_not_called_repairs(pair: LabMesh) -> None:
    wait_path(pair["h1"], "h2", "fastdp", 20)
    logged = len(events(pair["h1"], "port repaired"))
    pair.lab.block("h1", "h2", protocol="udp", port=4789)
    wait_path(pair["h1"], "h2", "direct")
    pair.lab.heal()
    wait_path(pair["h1"], "h2", "fastdp", 20)
    time.sleep(SETTLE_SECONDS)
    assert len(events(pair["h1"], "port repaired")) == logged


def test_a_deleted_bridge_is_made_again(nothing_left: None, tmp_path: Path) -> None:
    """With its peers' ports. Containers are attached anew by whoever attached them."""
    with started("full", 2, tmp_path, LaunchOptions()) as mesh:
        wait_path(mesh["h1"], "h2", "fastdp")
        mac = mesh.lab.exec("h1", ["cat", f"/sys/class/net/{BRIDGE}/address"]).stdout
        mesh.lab.exec("h1", ["ip", "link", "del", BRIDGE])
        until(lambda: events(mesh["h1"], "bridge was deleted by somebody else"), 5, "a warning")
        assert mesh.lab.exec("h1", ["cat", f"/sys/class/net/{BRIDGE}/address"]).stdout == mac
        mesh.attach()
        mesh.wait_reachable(10)
        wait_path(mesh["h1"], "h2", "fastdp", 30)
