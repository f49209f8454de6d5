"""Which address is a host's, and which way leads there? On hosts as they are: with many networks,
with devices inside the overlay, with addresses on `lo`, with two networks to the same peer."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.kit.routers import established, path_kind, paths, wait_path
from tests.kit.waiting import until
from tests.netns.conftest import MakeLab, MakeMesh
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab

SLEEVE = LaunchOptions(fastdp=False, password="which is mine")
NETWORKS = 12
LOOK_SECONDS = 15.0


def in_host(lab: Lab, host: str, *commands: str) -> None:
    lab.exec(host, ["sh", "-ec", "\n".join(commands)])


def has_device(lab: Lab, host: str, name: str) -> bool:
    return lab.exec(host, ["ip", "link", "show", name], check=False).returncode == 0


def answers(lab: Lab, container: str, address: str, count: int, interval: float = 0.1) -> int:
    """How many of `count` pings, `interval` seconds apart, are answered."""
    argv = ["ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", "1", address]
    shown = lab.exec(container, argv, check=False, timeout=count * interval + 20).stdout
    found = re.search(r"(\d+) received", shown)
    return int(found[1]) if found else 0


def kinds_seen(host: Host, nickname: str, seconds: float) -> list[str]:
    """The kinds of the path to a peer, one after the other."""
    seen: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        kind = path_kind(host, nickname)
        if seen[-1:] != [kind]:
            seen.append(kind)
        time.sleep(0.25)
    return seen


# --- t01: many networks ------------------------------------------------------------------


@pytest.mark.parametrize("same", [True, False], ids=["the same everywhere", "each its own"])
def test_hosts_with_many_networks_find_each_other(
    make_lab: MakeLab, make_mesh: MakeMesh, same: bool
) -> None:
    """t01: a dozen bridges of container engines, whose addresses come first as text."""
    lab = make_lab("full", 3)
    for number, host in enumerate(("h2", "h3"), 2):
        in_host(
            lab,
            host,
            *(
                f"ip link add br-{i} type bridge; ip link set br-{i} up;"
                f"ip addr add 10.{i}.0.{1 if same else number}/16 dev br-{i}"
                for i in range(NETWORKS)
            ),
        )
    mesh = make_mesh(lab, SLEEVE)
    mesh.launch()
    mesh.wait_ready()
    for one, other in (("h2", "h3"), ("h3", "h2")):
        wait_path(mesh[one], other, "direct", 20)
    until(lambda: "h3" in established(mesh["h2"]), 20, "a connection of their own")


# --- t02, t03: through the overlay itself -------------------------------------------------


def relayed_pair(lab: Lab, mesh: LabMesh) -> None:
    """h1 and h2 need h3; each has its container."""
    lab.block("h1", "h2")
    mesh["h3"].launch([])
    for name in ("h1", "h2"):
        mesh[name].launch([lab.address("h3", seen_from=name)])
    mesh.wait_ready()
    mesh.attach()
    mesh.wait_reachable(30)
    wait_path(mesh["h1"], "h2", "relay", 20)


def check_steady(lab: Lab, mesh: LabMesh) -> None:
    count = int(LOOK_SECONDS / 0.1)
    with ThreadPoolExecutor(1) as pool:
        pings = pool.submit(answers, lab, "c1", "10.32.0.2", count)
        seen = kinds_seen(mesh["h1"], "h2", LOOK_SECONDS)
        received = pings.result()
    print(f"{received} of {count} answered")
    assert seen == ["relay"]
    assert received >= count - 5


@pytest.mark.parametrize("kind", ["veth", "macvlan", "bridge behind a veth"])
def test_a_device_inside_the_overlay_is_no_way_to_a_peer(
    make_lab: MakeLab, make_mesh: MakeMesh, kind: str
) -> None:
    """t02: the candidate's route leaves through the very tunnel that it is a candidate for."""
    lab = make_lab("full", 3)
    mesh = make_mesh(lab, SLEEVE)
    relayed_pair(lab, mesh)
    for number, host in enumerate(("h1", "h2"), 1):
        veth = "ip link add v0 type veth peer name v1; ip link set v0 master weave up"
        address = f"ip addr add 10.32.0.10{number}/24 dev"
        made = {
            "veth": f"{veth}; ip link set v1 up; {address} v1",
            "macvlan": "ip link add link weave name mv0 type macvlan mode bridge;"
            f"ip link set mv0 up; {address} mv0",
            "bridge behind a veth": f"{veth}; ip link add br0 type bridge; ip link set br0 up;"
            f"ip link set v1 master br0 up; {address} br0",
        }[kind]
        in_host(lab, host, made)
    until(lambda: answers(lab, "h1", "10.32.0.102", 1) == 1, 10, "the hosts' own pings")
    check_steady(lab, mesh)
    assert established(mesh["h1"]) == ["h3"]


def test_two_networks_of_ours_are_not_inside_each_other(
    make_lab: MakeLab, make_mesh: MakeMesh
) -> None:
    """t03: two routers a host; each host has an address in either network."""
    lab = make_lab("full", 3)
    more = ("--bridge", "weave2", "--port", "6793", "--http-addr", "127.0.0.1:6794")
    second = make_mesh(lab, LaunchOptions(fastdp=False, password="another", extra=more))
    first = make_mesh(lab, SLEEVE)
    relayed_pair(lab, first)
    second["h3"].launch([])
    for name in ("h1", "h2"):
        second[name].launch([f"{lab.address('h3', seen_from=name)}:6793"])
    for number, host in enumerate(("h1", "h2"), 1):
        until(partial(has_device, lab, host, "weave2"), 20, "the second bridge")
        in_host(
            lab,
            host,
            f"ip addr add 10.32.0.10{number}/24 dev weave",
            f"ip addr add 10.33.0.10{number}/24 dev weave2",
        )
    until(lambda: answers(lab, "h1", "10.33.0.102", 1) == 1, 20, "pings in the second network")
    check_steady(lab, first)


def test_who_is_called_at_an_address_inside_the_overlay_is_told_so(
    make_lab: MakeLab, make_mesh: MakeMesh
) -> None:
    """t02: neither do control connections, which carry frames where UDP does not."""
    lab = make_lab("full", 3)
    mesh = make_mesh(lab, SLEEVE)
    relayed_pair(lab, mesh)
    for number, name in enumerate(("h1", "h2"), 1):
        mesh[name].cli("expose", f"10.32.0.10{number}/24")
    until(lambda: answers(lab, "h1", "10.32.0.102", 1) == 1, 10, "the hosts' own pings")
    mesh["h1"].cli("connect", "10.32.0.102")
    until(
        lambda: "inside-overlay" in mesh["h1"].get("/status/connections"), 10, "the reason is shown"
    )
    assert established(mesh["h1"]) == ["h3"]
    check_steady(lab, mesh)


# --- where the kernel carries the frames --------------------------------------------------


def is_fast(mesh: LabMesh, *pairs: tuple[str, str]) -> bool:
    return all(path_kind(mesh[one], other) == "fastdp" for one, other in pairs)


def wait_fast(mesh: LabMesh, *pairs: tuple[str, str], seconds: float = 15.0) -> None:
    def state() -> list[Any]:
        return [paths(mesh[one]).get(other) for one, other in pairs]

    try:
        until(lambda: is_fast(mesh, *pairs), seconds, "the kernel carries the frames")
    except BaseException:
        print(state())
        raise


def both_ways(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(one, other) for one in names for other in names if one != other]


def vxlan_ends(lab: Lab, host: str) -> tuple[str, str]:
    """(from, to) of the VXLAN device of the only peer."""
    text = lab.exec(host, ["ip", "-d", "link", "show", "type", "vxlan"]).stdout
    name = re.search(r"(wvx\w+)", text)
    local = re.search(r" local (\S+)", text)
    assert name is not None
    there = lab.exec(host, ["bridge", "fdb", "show", "dev", name[1]]).stdout
    remote = re.search(r" dst (\S+)", there)
    assert local is not None
    assert remote is not None
    return local[1], remote[1]


def test_addresses_on_lo_to_which_there_are_routes(make_lab: MakeLab, make_mesh: MakeMesh) -> None:
    """t38: BGP to the host: its address is a /32 on `lo`, the wires have none."""
    lab = make_lab("full", 3)
    for one in (1, 2, 3):
        in_host(
            lab,
            f"h{one}",
            f"ip addr add 10.255.0.{one}/32 dev lo; ip addr del 10.99.1.{one}/24 dev lan1",
            *(
                f"ip route add 10.255.0.{other}/32 dev lan1 src 10.255.0.{one}"
                for other in (1, 2, 3)
                if other != one
            ),
        )
    mesh = make_mesh(lab, LaunchOptions())
    mesh["h1"].launch([])
    for name in ("h2", "h3"):
        mesh[name].launch(["10.255.0.1"])
    mesh.wait_ready()
    wait_fast(mesh, *both_ways(("h1", "h2", "h3")), seconds=25)


def two_networks(make_lab: MakeLab, *, rp_filter: int) -> Lab:
    """Two hosts on two wires: 10.99.1.0/24 and 10.77.0.0/24."""
    lab = make_lab("chain", 2)
    lab.exec("h1", ["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far"])
    lab.exec("h1", ["ip", "link", "set", "far", "netns", lab.ns("h2"), "name", "eth1"])
    for number, host in enumerate(("h1", "h2"), 1):
        in_host(
            lab,
            host,
            f"ip link set eth1 up; ip addr add 10.77.0.{number}/24 dev eth1",
            f"for each in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {rp_filter} >$each; done",
        )
    return lab


STARTS = 4


def test_vxlan_comes_from_the_address_that_the_route_says(
    make_lab: MakeLab, make_mesh: MakeMesh
) -> None:
    """t68: on two networks, which address it leaves from follows from where it goes."""
    lab = two_networks(make_lab, rp_filter=1)
    for _ in range(STARTS):
        mesh = make_mesh(lab, LaunchOptions())
        mesh.launch()
        mesh.wait_ready()
        wait_fast(mesh, ("h1", "h2"), ("h2", "h1"))
        for host in ("h1", "h2"):
            local, remote = vxlan_ends(lab, host)
            assert local.rpartition(".")[0] == remote.rpartition(".")[0]
        mesh.stop()


def test_another_source_follows_when_the_route_changes(
    make_lab: MakeLab, make_mesh: MakeMesh
) -> None:
    """t68: asked again when routes change, not only when addresses do."""
    lab = make_lab("chain", 2)
    in_host(lab, "h1", "ip addr add 10.99.1.111/24 dev to-h2")
    mesh = make_mesh(lab, LaunchOptions())
    mesh.launch()
    mesh.wait_ready()
    wait_fast(mesh, ("h1", "h2"), ("h2", "h1"))
    assert vxlan_ends(lab, "h1") == ("10.99.1.1", "10.99.1.2")
    in_host(lab, "h1", "ip route replace 10.99.1.2/32 dev to-h2 src 10.99.1.111")
    until(lambda: vxlan_ends(lab, "h1") == ("10.99.1.111", "10.99.1.2"), 15, "the new source")
    wait_fast(mesh, ("h1", "h2"), ("h2", "h1"))


def test_the_trusted_one_of_two_networks_is_used(make_lab: MakeLab, make_mesh: MakeMesh) -> None:
    """t71: without ESP, frames may take the kernel on one of two networks: there they do."""
    lab = two_networks(make_lab, rp_filter=0)
    for _ in range(STARTS):
        mesh = make_mesh(
            lab, LaunchOptions(password="stored", extra=("--trusted-subnets", "10.77.0.0/24"))
        )
        mesh.launch()
        mesh.wait_ready()
        wait_fast(mesh, ("h1", "h2"), ("h2", "h1"))
        assert vxlan_ends(lab, "h1") == ("10.77.0.1", "10.77.0.2")
        assert vxlan_ends(lab, "h2") == ("10.77.0.2", "10.77.0.1")
        mesh.stop()
