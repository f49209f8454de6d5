"""Do frames flow again within two seconds when an address changes underneath?

A NAT that forgets its mappings gives its host another outer port in the middle of a flow; a host
that moves has another address altogether.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.routers import events, path_kind, paths, started, wait_path
from tests.kit.waiting import until
from weave_py.lab import nat_pairs
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh, overlay_address
from weave_py.lab.nats import Kind
from weave_py.lab.pings import parse

INTERVAL = 0.05
ENOUGH = 20
LONGEST_GAP = 2.0


class Pinging:
    """A ping that runs on, and when each answer came."""

    def __init__(self, log: Path, process: subprocess.Popen[bytes]) -> None:
        self._log = log
        self._process = process

    @property
    def times(self) -> list[float]:
        text = self._log.read_text()
        return [float(t) for t in re.findall(r"\[([\d.]+)\] \d+ bytes from", text)]

    def wait_for_more(self, count: int = ENOUGH) -> None:
        seen = len(self.times)
        until(lambda: len(self.times) >= seen + count, 15, "answers to pings")

    def end(self) -> float:
        """The longest gap between two answers, in seconds; fails if an answer came twice."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(5)
        assert parse(self._log.read_text()).duplicates == 0
        return max(later - earlier for earlier, later in pairwise(self.times))


@contextmanager
def pinging(mesh: LabMesh, source: str, target: str, log: Path) -> Iterator[Pinging]:
    words = ["ping", "-n", "-D", "-i", str(INTERVAL), overlay_address(target)]
    with log.open("wb") as output:
        process = mesh.lab.popen(source, words, log=output)
        try:
            flow = Pinging(log, process)
            flow.wait_for_more()
            yield flow
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("other", [Kind.OPEN, Kind.PORT_RESTRICTED])
def test_a_nat_that_forgets_its_mappings(tmp_path: Path, other: Kind) -> None:
    with nat_pairs.started(Kind.PORT_RESTRICTED, other, tmp_path) as (internet, mesh):
        found = nat_pairs.find(Kind.PORT_RESTRICTED, other, mesh)
        assert found.is_expected
        before = paths(mesh["h3"])["h2"]["Address"]
        with pinging(mesh, "c2", "c3", tmp_path / "ping") as flow:
            internet.rebind("g1")
            flow.wait_for_more()
            until(lambda: paths(mesh["h3"])["h2"]["Address"] != before, 10, "another address")
            wait_path(mesh["h3"], "h2", "direct")
            wait_path(mesh["h2"], "h3", "direct")
            flow.wait_for_more()
            assert flow.end() < LONGEST_GAP
        after = paths(mesh["h3"])["h2"]["Address"]
        assert after == f"198.51.100.11:{internet.gateways['g1'].outer_port(1)}"


@pytest.mark.parametrize("sender", ["c1", "c2"])
def test_a_host_that_moves(tmp_path: Path, sender: str) -> None:
    """h2 gets another address, and loses the one it had, whoever was sending."""
    with started("full", 3, tmp_path, LaunchOptions(password="moving", fastdp=False)) as mesh:
        wait_path(mesh["h1"], "h2", "direct")
        receiver = {"c1": "c2", "c2": "c1"}[sender]
        with pinging(mesh, sender, receiver, tmp_path / "ping") as flow:
            mesh.lab.exec("h2", ["ip", "addr", "add", "10.99.1.77/24", "dev", "lan1"])
            mesh.lab.exec("h2", ["ip", "addr", "del", "10.99.1.2/24", "dev", "lan1"])
            # The second was removed as a secondary of the first, if the kernel thinks so.
            mesh.lab.exec("h2", ["ip", "addr", "replace", "10.99.1.77/24", "dev", "lan1"])
            flow.wait_for_more()
            assert flow.end() < LONGEST_GAP
        for name in ("h1", "h3"):
            assert path_kind(mesh[name], "h2") == "direct"
            assert paths(mesh[name])["h2"]["Address"] == "10.99.1.77:6783"
        # The control connections come back, too, and nobody suspects a clone.
        until(lambda: all(n == 2 for n in map(connections_of, mesh.hosts.values())), 8, "new ones")
        assert not any(events(host, "state directory") for host in mesh.hosts.values())


def connections_of(host: Host) -> int:
    """How many established connections do not involve the old address of h2."""
    shown = host.report()["Router"]["Connections"]
    live = [c["Address"] for c in shown if c["State"] == "established"]
    return sum(not address.startswith("10.99.1.2:") for address in live)
