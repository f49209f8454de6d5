"""Two hosts have different inner MTUs: does each side say that large packets are lost? (t34)"""

from __future__ import annotations

from functools import partial

import pytest

from tests.kit.routers import bring_up, events, paths
from tests.kit.waiting import until
from tests.netns.conftest import MakeLab, MakeMesh
from weave_py.lab.hosts import LaunchOptions

MTUS = {"h1": 8000, "h2": 1376}


@pytest.mark.parametrize("fastdp", [False, True])
def test_both_hosts_say_so(make_lab: MakeLab, make_mesh: MakeMesh, fastdp: bool) -> None:
    """t34: they vanished without a word."""
    mesh = make_mesh(make_lab("full", 2, mtu=9000), LaunchOptions(fastdp=fastdp))
    for name, mtu in MTUS.items():
        mesh[name].options = LaunchOptions(fastdp=fastdp, mtu=mtu)
    mesh.launch()
    bring_up(mesh)
    for name, peer in (("h1", "h2"), ("h2", "h1")):
        host = mesh[name]
        until(partial(events, host, "inner MTU differs"), 10, "a line in the log")
        (line,) = events(host, "inner MTU differs")
        assert line.level == "WARNING"
        assert line.text.endswith(f"ours={MTUS[name]} theirs={MTUS[peer]}")
        path = paths(host)[peer]
        assert path["PeerMTU"] == MTUS[peer]
        assert "mtu-mismatch" in path["Why"].split(",")
        assert f"MTU: {MTUS[name]} (peers have {MTUS[peer]}: mtu-mismatch)" in host.get("/status")
        done = host.cli("doctor", check=False)
        assert done.returncode == 1
        assert f"mtu-mismatch: {MTUS[name]} here, {peer} {MTUS[peer]}" in done.stdout
