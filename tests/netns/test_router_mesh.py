"""Does one seed make a full mesh, and how soon do the others notice that somebody is gone?

Five hosts on one network know only the first of them. The tests that end routers come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kit.routers import (
    bring_up,
    events,
    now,
    our_devices,
    path_kind,
    paths,
    started,
    wait_established,
    wait_path,
)
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.pings import ping_pairs

HOSTS = 5
IDLE_MIB = 80


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("five")
    options = LaunchOptions(password="five of us", fastdp=False)
    with started("full", HOSTS, directory, options) as mesh:
        yield mesh


def others_of(mesh: LabMesh, host: Host) -> list[str]:
    return [name for name in mesh.hosts if name != host.name]


def wait_full_mesh(mesh: LabMesh, seconds: float = 15.0) -> None:
    for host in mesh.hosts.values():
        wait_established(host, others_of(mesh, host), seconds)


def test_one_seed_makes_a_full_mesh(five: LabMesh) -> None:
    wait_full_mesh(five)
    for host in five.hosts.values():
        router = host.report()["Router"]
        assert len(router["Connections"]) == HOSTS - 1  # one each: no duplicates, nothing failed
        assert [len(peer["Connections"]) for peer in router["Peers"]] == [HOSTS - 1] * HOSTS
        assert all(c["Established"] for peer in router["Peers"] for c in peer["Connections"])
        assert router["Targets"] == ([] if host.name == "h1" else ["10.99.1.1"])


def test_every_pair_talks_directly(five: LabMesh) -> None:
    results = ping_pairs(five.lab, five.addresses, count=3)
    assert len(results) == HOSTS * (HOSTS - 1)
    assert {(r.received, r.duplicates) for r in results.values()} == {(3, 0)}
    for host in five.hosts.values():
        for name in others_of(five, host):
            wait_path(host, name, "direct")
        assert {path["Why"] for path in paths(host).values()} == {"disabled"}  # by --no-fastdp


def test_an_idle_router_is_small(five: LabMesh) -> None:
    for host in five.hosts.values():
        status = Path(f"/proc/{host.pid}/status").read_text()
        (kib,) = [int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line]
        assert kib / 1024 < IDLE_MIB, host.name


def test_a_router_that_is_told_to_end_is_gone_at_once(five: LabMesh) -> None:
    leaver = five["h4"]
    told_at = now()
    assert leaver.stop() == 0
    others = [five[name] for name in ("h1", "h2", "h3", "h5")]
    for host in others:
        wait_established(host, [n for n in others_of(five, host) if n != "h4"])
        (event,) = [e for e in events(host, "connection ended") if "(h4)" in e.text]
        assert event.at - told_at < timedelta(seconds=1)
        assert "the peer said goodbye: leaving the network" in event.text
        assert path_kind(host, "h4") == "none"
    # What it made is gone; the bridge stays for the container that is plugged in.
    left = our_devices(five.lab, "h4")
    assert "weave" in left
    assert {name[:6] for name in left} == {"weave", "vethwe"}


def test_it_adopts_the_bridge_when_it_is_back(five: LabMesh) -> None:
    name = five["h1"].report()["Router"]["Name"]
    index = five.lab.exec("h4", ["cat", "/sys/class/net/weave/ifindex"]).stdout
    five["h4"].launch()
    five["h4"].wait_ready()
    wait_full_mesh(five)
    assert five.lab.exec("h4", ["cat", "/sys/class/net/weave/ifindex"]).stdout == index
    # The container, plugged in by nobody since, talks again.
    pairs = [("c4", "c1"), ("c2", "c4")]
    until(
        lambda: all(r.reached for r in ping_pairs(five.lab, five.addresses, pairs).values()),
        10,
        "c4 reaches the others again",
    )
    assert five["h1"].report()["Router"]["Name"] == name


def test_a_killed_router_is_missed_within_seconds(five: LabMesh) -> None:
    killed_at = now()
    five["h5"].kill()
    for host in (five[name] for name in ("h1", "h2", "h3", "h4")):
        wait_established(host, [n for n in others_of(five, host) if n != "h5"])
        event = [e for e in events(host, "connection ended") if "(h5)" in e.text][-1]
        assert event.at - killed_at < timedelta(seconds=4)
        wait_path(host, "h5", "none", 8)
    # The kernel took its TAPs with it; bridge and container are still there.
    assert {name[:6] for name in our_devices(five.lab, "h5")} == {"weave", "vethwe"}
    five["h5"].launch()
    bring_up(five)
    wait_full_mesh(five)


def test_a_silent_router_is_missed_within_seconds(five: LabMesh) -> None:
    """Nothing comes any more, and nobody says why: as when a host loses its power."""
    others = [five[name] for name in ("h1", "h3", "h4", "h5")]
    cut_at = now()
    broken = [fault for other in others for fault in five.lab.block("h2", other.name)]
    try:
        for host in others:
            wait_established(host, [n for n in others_of(five, host) if n != "h2"], 8)
            event = [e for e in events(host, "connection ended") if "(h2)" in e.text][-1]
            assert event.at - cut_at < timedelta(seconds=4.5)
            assert "nothing heard" in event.text
            wait_path(host, "h2", "none", 8)
    finally:
        five.lab.heal(*broken)
    wait_full_mesh(five)
    assert ping_pairs(five.lab, five.addresses, [("c2", "c4")])[("c2", "c4")].reached
