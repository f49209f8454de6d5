"""Somebody else's VXLAN devices on our UDP port: do both work, whoever came first? (t24)"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from tests.kit.routers import BRIDGE, bring_up, events, paths
from tests.kit.waiting import until
from tests.netns.conftest import MakeLab, MakeMesh
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.model.fast import VXLAN_PORT

OTHER_PORT = 6784
NETWORKS = {
    "open": LaunchOptions(),
    "trusted": LaunchOptions(password="a secret", extra=("--trusted-subnets", "10.99.1.0/24")),
    "password": LaunchOptions(password="a secret"),
}
MOVED_SECONDS = 15.0


def make_theirs(lab: Lab) -> None:
    for number, other in ((1, 2), (2, 1)):
        make = f"link add vx9 type vxlan id 4096 dstport {VXLAN_PORT}"
        make += f" remote 10.99.1.{other} local 10.99.1.{number}"
        for line in (make, f"addr add 10.98.0.{number}/24 dev vx9", "link set vx9 up"):
            lab.exec(f"h{number}", ["ip", *line.split()])


def launch(mesh: LabMesh, options: LaunchOptions) -> None:
    """At the addresses of the underlay only: what theirs carries is another way between the hosts,
    which no subnet vouches for."""
    for number in (1, 2):
        where = ("--host", f"10.99.1.{number}")
        mesh[f"h{number}"].options = replace(options, extra=(*options.extra, *where))
    mesh.launch()


def theirs_works(lab: Lab) -> bool:
    return ping(lab, "h1", "10.98.0.2", count=5).received == 5


def is_as_fast_as_can_be(mesh: LabMesh) -> bool:
    """Where the kernel has no ESP a network with a password has the sleeve."""
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        path = paths(mesh[host])[peer]
        print(host, path["Kind"], path["Why"], path["Address"])
        if path["Kind"] != "fastdp" and "no-esp" not in path["Why"].replace("kernel-", ""):
            return False
    return True


def is_elsewhere(mesh: LabMesh, name: str) -> bool:
    return port_of(mesh, name) == str(OTHER_PORT)


def is_shut_to_containers(mesh: LabMesh, name: str, port: int) -> bool:
    argv = ["nft", "list", "chain", "inet", f"weave-py-{BRIDGE}-host", "incoming"]
    (line,) = (line for line in mesh.lab.exec(name, argv).stdout.splitlines() if "th dport" in line)
    return str(port) in line


def is_open(mesh: LabMesh, name: str, port: int) -> bool:
    return not is_shut_to_containers(mesh, name, port)


def port_of(mesh: LabMesh, name: str) -> str:
    line = next(line for line in mesh[name].get("/status").splitlines() if "FastDatapath:" in line)
    return line.partition("UDP port ")[2].partition(",")[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_both_work_when_theirs_was_first(
    make_lab: MakeLab, make_mesh: MakeMesh, network: str
) -> None:
    lab = make_lab("full", 2)
    make_theirs(lab)
    mesh = make_mesh(lab)
    launch(mesh, NETWORKS[network])
    bring_up(mesh)
    until(partial(is_as_fast_as_can_be, mesh), MOVED_SECONDS, "a fast path")
    assert [port_of(mesh, name) for name in ("h1", "h2")] == [str(OTHER_PORT)] * 2
    assert theirs_works(lab)


@pytest.mark.parametrize("network", NETWORKS)
def test_both_work_when_theirs_comes_later(
    make_lab: MakeLab, make_mesh: MakeMesh, network: str
) -> None:
    lab = make_lab("full", 2)
    mesh = make_mesh(lab)
    launch(mesh, NETWORKS[network])
    bring_up(mesh)
    until(partial(is_as_fast_as_can_be, mesh), MOVED_SECONDS, "a fast path")
    assert port_of(mesh, "h1") == str(VXLAN_PORT)
    assert is_shut_to_containers(mesh, "h1", VXLAN_PORT)
    make_theirs(lab)
    for name in ("h1", "h2"):
        until(partial(is_elsewhere, mesh, name), MOVED_SECONDS, f"{name} elsewhere")
        assert events(mesh[name], f"port={VXLAN_PORT} new={OTHER_PORT}")
        assert is_shut_to_containers(mesh, name, OTHER_PORT)
        # F12: and what is somebody else's now is none of our business.
        until(partial(is_open, mesh, name, VXLAN_PORT), MOVED_SECONDS, "the guard has followed")
    until(partial(is_as_fast_as_can_be, mesh), MOVED_SECONDS, "a fast path again")
    assert theirs_works(lab)
    fast = ping(lab, "c1", "10.32.0.2", count=20, options=["-i", "0.05"])
    assert fast.received == 20
