"""Does the lab's underlay do what the topology promises, break on demand, and go away?"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from weave_py.lab import leftovers
from weave_py.lab.namespaces import KNOWN_FROM, Lab
from weave_py.lab.pings import ping, ping_pairs
from weave_py.lab.topology import KINDS, build, pairs
from weave_py.model.errors import HostError


def reaches(lab: Lab, source: str, address: str) -> bool:
    return ping(lab, source, address).reached


def reaches_soon(lab: Lab, source: str, address: str) -> bool:
    """After a repair: the kernel may still hold the neighbour for lost."""
    return any(reaches(lab, source, address) for _ in range(5))


@pytest.mark.parametrize("kind", KINDS)
def test_hosts_reach_each_other_exactly_where_they_share_a_wire(
    make_lab: Callable[..., Lab], kind: str
) -> None:
    lab = make_lab(kind, 4)
    topology = lab.topology
    for a, b in pairs(topology.hosts):
        addresses = [topology.address(b, wire) for wire in topology.wires_of(b)]
        assert any(reaches(lab, a, at) for at in addresses) == topology.direct(a, b), (a, b)


def test_ipv6_and_mtu(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("chain", 2, ipv6=True, mtu=1300)
    assert reaches(lab, "h1", lab.address("h2", "h1", ipv6=True))
    assert "mtu 1300" in lab.exec("h1", ["ip", "link", "show", "dev", "to-h2"]).stdout


def test_nobody_forwards(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("chain", 3)
    lab.exec("h1", ["ip", "route", "add", "10.99.2.0/24", "via", "10.99.1.2"])
    lab.exec("h3", ["ip", "route", "add", "10.99.1.0/24", "via", "10.99.2.2"])
    assert not reaches(lab, "h1", "10.99.2.3")


def test_a_block_hits_one_way_and_heals(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("chain", 3)
    blocked = lab.block("h1", "h2", protocol="icmp", both_ways=False)
    lab.lose("h2", "h3", percent=100)
    assert len(blocked) == 1
    assert not reaches(lab, "h1", "10.99.1.2")
    assert not reaches(lab, "h2", "10.99.2.3")
    lab.heal(*blocked)
    assert reaches_soon(lab, "h1", "10.99.1.2")
    assert not reaches(lab, "h2", "10.99.2.3")
    lab.heal()
    assert reaches_soon(lab, "h2", "10.99.2.3")


def test_a_blocked_port_leaves_others_alone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("chain", 2)
    lab.block("h1", "h2", protocol="udp", port=6783)
    assert reaches(lab, "h1", "10.99.1.2")


def test_a_small_mtu_on_the_way_is_a_black_hole(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("chain", 2, offload=False)
    lab.shrink("h1", "h2", mtu=1400)
    fits, too_big = ["-s", "1372", "-M", "do"], ["-s", "1373", "-M", "do"]
    assert ping(lab, "h1", "10.99.1.2", options=fits).reached
    assert not ping(lab, "h1", "10.99.1.2", options=too_big).reached


def test_a_pulled_cable_is_seen_by_its_host(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("full", 3)
    lab.cut("h1", "h2")
    assert "NO-CARRIER" in lab.exec("h1", ["ip", "link", "show", "dev", "lan1"]).stdout
    assert "NO-CARRIER" not in lab.exec("h2", ["ip", "link", "show", "dev", "lan1"]).stdout
    assert not reaches(lab, "h1", "10.99.1.2")
    lab.mend("h1", "h2")
    assert reaches_soon(lab, "h1", "10.99.1.2")


def test_pings_between_many_at_once(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab("full", 3)
    addresses = {host: lab.topology.address(host, lab.topology.wires[0]) for host in ("h1", "h2")}
    results = ping_pairs(lab, addresses | {"c1": "10.32.0.1"}, [("h1", "h2"), ("h2", "c1")])
    assert {pair: result.reached for pair, result in results.items()} == {
        ("h1", "h2"): True,
        ("h2", "c1"): False,
    }


def test_closing_kills_what_runs_inside() -> None:
    with Lab(build("chain", 2)) as lab:
        process = lab.popen("c1", ["sleep", "600"])
        assert leftovers.present(lab.prefix)
    assert process.wait(5) == -9
    assert leftovers.present(lab.prefix) == ()
    lab.close()  # again: nothing happens


def test_a_failure_halfway_leaves_nothing() -> None:
    lab = Lab(build("chain", 2), mtu=1)  # no veth has that
    with pytest.raises(HostError, match="ip -n"):
        lab.open()
    assert leftovers.present(lab.prefix) == ()


def test_labs_of_dead_processes_are_swept_away() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    orphan = leftovers.prefix(dead.pid, 0) + "h1"
    subprocess.run(["ip", "netns", "add", orphan], check=True)
    assert orphan in Lab.clean_stale()
    assert leftovers.present(orphan) == ()


def test_on_a_crowded_wire_hosts_know_each_other() -> None:
    """The kernel's one table of neighbours has no room for all of them (see KNOWN_FROM)."""
    hosts = KNOWN_FROM + 1
    with Lab(build("full", hosts)) as lab:
        found = lab.exec("h2", ["ip", "neigh", "show", "nud", "permanent"]).stdout
        assert found.count("PERMANENT") == hosts - 1
        lab.exec("h2", ["ping", "-n", "-c", "1", "-W", "2", lab.address("h9", seen_from="h2")])
