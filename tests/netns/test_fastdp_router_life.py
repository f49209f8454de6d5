"""What becomes of the kernel's paths when routers are killed, restarted, stopped and reset?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ping_trace import pinging
from tests.kit.routers import devices, events, our_devices, paths, started, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab

SECRET = "kernels carry this in clear between friends"
TRUSTED = LaunchOptions(password=SECRET, extra=("--trusted-subnets", "10.99.0.0/16"))


@pytest.fixture(scope="module")
def trio_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """Three hosts of a network with a secret whose underlay is trusted."""
    with started("full", 3, tmp_path_factory.mktemp("life"), TRUSTED) as mesh:
        wait_all_fast(mesh)
        yield mesh


def wait_all_fast(mesh: LabMesh, seconds: float = 10.0) -> None:
    for host in mesh.hosts.values():
        for peer in mesh.hosts:
            if peer != host.name and host.running:
                wait_path(host, peer, "fastdp", seconds)


def fast_devices(lab: Lab, host: str) -> set[str]:
    return {name for name in devices(lab, host) if name.startswith(("wvt", "wvx"))}


ABOUT_CONTAINERS = {"weave-py-weave-host", "weave-py-weave-ports"}
ABOUT_VXLAN = "weave-py-weave"


def guards(lab: Lab, host: str) -> set[str]:
    """The nft tables of ours."""
    listed = json.loads(lab.exec(host, ["nft", "-j", "list", "tables"]).stdout)["nftables"]
    names = [entry["table"]["name"] for entry in listed if "table" in entry]
    return {name for name in names if name.startswith("weave-py")}


def test_trusted_subnets_are_fast_in_clear_and_guarded(trio_of: LabMesh) -> None:
    host = trio_of["h1"]
    shown = host.cli("status", "connections").stdout
    assert "unencrypted fastdp" in shown
    assert paths(host)["h2"]["Cipher"] == "none"
    assert guards(trio_of.lab, "h1") == {ABOUT_VXLAN, *ABOUT_CONTAINERS}


def test_a_router_that_is_killed_leaves_the_kernel_at_work(
    trio_of: LabMesh, tmp_path: Path
) -> None:
    """And its successor takes over: a ping every 10 ms loses nothing."""
    mesh, lab = trio_of, trio_of.lab
    before = fast_devices(lab, "h1")
    with pinging(lab, "c1", "10.32.0.2", tmp_path) as trace:
        time.sleep(0.3)
        mesh["h1"].kill()
        time.sleep(1.5)
        left = {name for name in fast_devices(lab, "h1") if name.startswith("wvx")}
        assert left == {name for name in before if name.startswith("wvx")}
        mesh["h1"].launch(["10.99.1.2"])
        mesh["h1"].wait_ready()
        adopted = events(mesh["h1"], "fast paths adopted")
        wait_path(mesh["h1"], "h2", "fastdp")
        until(lambda: paths(mesh["h1"])["h2"]["Fast"]["Why"] == "", 10, "heard of the peer")
        time.sleep(1)
    print(f"killed and restarted: {trace}")
    assert adopted
    assert (trace.lost, trace.duplicates) == (0, 0)
    assert fast_devices(lab, "h1") == before
    wait_all_fast(mesh)


def test_killed_at_the_far_end_too(trio_of: LabMesh, tmp_path: Path) -> None:
    mesh, lab = trio_of, trio_of.lab
    with pinging(lab, "c1", "10.32.0.2", tmp_path) as trace:
        for name in ("h1", "h2"):
            mesh[name].kill()
        time.sleep(0.5)
        mesh["h1"].launch(["10.99.1.3"])
        mesh["h2"].launch(["10.99.1.3"])
        for name in ("h1", "h2"):
            mesh[name].wait_ready()
        wait_all_fast(mesh)
        time.sleep(1)
    print(f"both killed and restarted: {trace}")
    assert (trace.lost, trace.duplicates) == (0, 0)


def test_a_router_that_is_stopped_takes_its_devices_along(trio_of: LabMesh, tmp_path: Path) -> None:
    """Its peers' other paths do not even notice."""
    mesh, lab = trio_of, trio_of.lab
    with pinging(lab, "c2", "10.32.0.3", tmp_path) as others:
        time.sleep(0.3)
        assert mesh["h1"].stop() == 0
        assert fast_devices(lab, "h1") == set()
        assert guards(lab, "h1") == ABOUT_CONTAINERS, "its container is still plugged in"
        assert "bridge kept" in mesh["h1"].log_tail(5)
        until(lambda: paths(mesh["h2"]).get("h1", {}).get("Kind") != "fastdp", 3, "off the path")
        why = paths(mesh["h2"]).get("h1", {}).get("Fast")
        print(f"h2 says of the fast path to h1: {why}")
        start = time.monotonic()
        mesh["h1"].launch(["10.99.1.2"])
        mesh["h1"].wait_ready()
        wait_all_fast(mesh)
        print(f"fast again {time.monotonic() - start:.2f} s after the launch")
    assert (others.lost, others.duplicates) == (0, 0)
    mesh.wait_reachable(5)


def test_without_fastdp_the_kernel_is_left_alone(trio_of: LabMesh) -> None:
    """What a predecessor left is cleared away."""
    mesh, lab = trio_of, trio_of.lab
    mesh["h1"].kill()
    mesh["h1"].options = LaunchOptions(password=SECRET, fastdp=False)
    mesh["h1"].launch(["10.99.1.2"])
    mesh["h1"].wait_ready()
    wait_path(mesh["h1"], "h2", "direct")
    mesh.wait_reachable(5)
    assert not any(name.startswith("wvx") for name in fast_devices(lab, "h1"))
    assert paths(mesh["h1"])["h2"]["Why"] == "disabled"
    until(lambda: paths(mesh["h2"])["h1"]["Why"] == "peer-disabled", 3, "the peer knows")
    assert "sleeve" in mesh["h1"].cli("status", "connections").stdout
    mesh["h1"].stop()
    mesh["h1"].options = TRUSTED


def test_reset_removes_every_trace(trio_of: LabMesh) -> None:
    mesh, lab = trio_of, trio_of.lab
    mesh["h2"].kill()  # what it left is found by name and mark
    mesh["h2"].cli("reset", "--force", "--state-dir", str(mesh["h2"].state_dir))
    mesh["h3"].cli("reset")
    for name in ("h2", "h3"):
        assert our_devices(lab, name) == set(), name
        assert guards(lab, name) == set(), name
        shown = lab.exec(name, ["ip", "-d", "link"]).stdout
        assert "vxlan" not in shown
