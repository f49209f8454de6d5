"""Do routers of a network with a secret let kernels with ESP carry their frames, sealed?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ping_trace import pinging
from tests.kit.routers import events, paths, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

OPTIONS = LaunchOptions(password="kernels may carry it, sealed")
PATIENCE = 150.0
"""Seconds: the guest is emulated, and slow."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("esp")
    with Lab(build("full", 2)) as lab, LabMesh(lab, directory, OPTIONS) as mesh:
        mesh.launch()
        for host in mesh.hosts.values():
            wait_started(host, 1)
        for host in mesh.hosts.values():
            mesh.attach_one(host)
        mesh.wait_reachable(PATIENCE)
        wait_sealed(mesh)
        yield mesh


def wait_started(host: Host, times: int) -> None:
    """By its log: asking the router may take longer than whoever asks waits."""
    until(lambda: len(events(host, "router started")) == times, PATIENCE, f"{host.name} started")


def wait_sealed(mesh: LabMesh) -> None:
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        wait_path(mesh[host], peer, "fastdp", PATIENCE)


def sealed_packets(mesh: LabMesh) -> int:
    """That h1's ESP states have carried."""
    shown = mesh.lab.exec("h1", ["ip", "-s", "xfrm", "state"]).stdout
    return sum(int(count) for count in re.findall(r"(\d+)\(packets\)", shown))


def test_the_kernel_carries_frames_sealed(pair: LabMesh) -> None:
    path = paths(pair["h1"])["h2"]
    assert (path["Cipher"], path["Why"]) == ("esp-aes-256-gcm", "")
    assert path["FitsMTU"] == 1416
    assert "encrypted   fastdp" in pair["h1"].cli("status", "connections").stdout
    before = sealed_packets(pair)
    out = pair.lab.exec("c1", ["ping", "-c", "20", "-i", "0.05", "-s", "1348", "10.32.0.2"]).stdout
    assert " 0% packet loss" in out
    assert sealed_packets(pair) >= before + 40


def test_a_restarted_router_adopts_what_it_cannot_read(pair: LabMesh, tmp_path: Path) -> None:
    with pinging(pair.lab, "c1", "10.32.0.2", tmp_path) as trace:
        time.sleep(1)
        pair["h1"].kill()
        time.sleep(1)
        pair["h1"].launch(["10.99.1.2"])
        wait_started(pair["h1"], 2)
        wait_sealed(pair)
        until(lambda: paths(pair["h1"])["h2"]["Fast"]["Why"] == "", PATIENCE, "heard of the peer")
        time.sleep(5)
    print(trace)
    for host in pair.hosts.values():
        print(host.name, *(f"\n  {e.at:%H:%M:%S.%f} {e.text}" for e in events(host, "")))
    assert events(pair["h1"], "fast paths adopted")
    assert (trace.lost, trace.duplicates) == (0, 0)
    wait_sealed(pair)
