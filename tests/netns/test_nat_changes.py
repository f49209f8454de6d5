"""Do frames flow again within two seconds when an address changes underneath?

A NAT that forgets its mappings gives its host another outer port in the middle of a flow; a host
that moves has another address altogether.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.pinging import Pinging
from tests.kit.routers import events, paths, started, wait_path
from tests.kit.standstills import clock
from tests.kit.waiting import until
from weave_py.lab import nat_pairs
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import overlay_address
from weave_py.lab.nats import Kind

ENOUGH = 20
LONGEST_GAP = 2.0


def wait_for_more(pings: Pinging) -> None:
    pings.wait_answer(clock(), 15, ENOUGH)


def check(pings: Pinging, since: float) -> None:
    """How long was it silent, and did anything come twice?"""
    silent = pings.outage(since)
    print(f"nothing got through for {silent:.2f} s")
    assert silent < LONGEST_GAP
    assert pings.stop().duplicates == 0


@pytest.mark.parametrize("other", [Kind.OPEN, Kind.PORT_RESTRICTED])
def test_a_nat_that_forgets_its_mappings(tmp_path: Path, other: Kind) -> None:
    with nat_pairs.started(Kind.PORT_RESTRICTED, other, tmp_path) as (internet, mesh):
        found = nat_pairs.find(Kind.PORT_RESTRICTED, other, mesh)
        assert found.is_expected
        before = paths(mesh["h3"])["h2"]["Address"]
        with Pinging(mesh.lab, "c2", overlay_address("c3"), tmp_path / "ping") as pings:
            wait_for_more(pings)
            since = clock()
            internet.rebind("g1")
            wait_for_more(pings)
            until(lambda: paths(mesh["h3"])["h2"]["Address"] != before, 10, "another address")
            wait_path(mesh["h3"], "h2", "direct")
            wait_path(mesh["h2"], "h3", "direct")
            wait_for_more(pings)
            check(pings, since)
        after = paths(mesh["h3"])["h2"]["Address"]
        assert after == f"198.51.100.11:{internet.gateways['g1'].outer_port(1)}"


@pytest.mark.parametrize("sender", ["c1", "c2"])
def test_a_host_that_moves(tmp_path: Path, sender: str) -> None:
    """h2 gets another address, and loses the one it had, whoever was sending."""
    with started("full", 3, tmp_path, LaunchOptions(password="moving", fastdp=False)) as mesh:
        wait_path(mesh["h1"], "h2", "direct")
        receiver = {"c1": "c2", "c2": "c1"}[sender]
        with Pinging(mesh.lab, sender, overlay_address(receiver), tmp_path / "ping") as pings:
            wait_for_more(pings)
            since = clock()
            mesh.lab.exec("h2", ["ip", "addr", "add", "10.99.1.77/24", "dev", "lan1"])
            mesh.lab.exec("h2", ["ip", "addr", "del", "10.99.1.2/24", "dev", "lan1"])
            # The second was removed as a secondary of the first, if the kernel thinks so.
            mesh.lab.exec("h2", ["ip", "addr", "replace", "10.99.1.77/24", "dev", "lan1"])
            wait_for_more(pings)
            check(pings, since)
        for name in ("h1", "h3"):
            wait_path(mesh[name], "h2", "direct", 5)
            assert paths(mesh[name])["h2"]["Address"] == "10.99.1.77:6783"
        # The control connections come back, too, and nobody suspects a clone.
        until(lambda: all(n == 2 for n in map(connections_of, mesh.hosts.values())), 8, "new ones")
        assert not any(events(host, "state directory") for host in mesh.hosts.values())


def connections_of(host: Host) -> int:
    """How many established connections do not involve the old address of h2."""
    shown = host.report()["Router"]["Connections"]
    live = [c["Address"] for c in shown if c["State"] == "established"]
    return sum(not address.startswith("10.99.1.2:") for address in live)
