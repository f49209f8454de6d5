"""Does it matter what a host's clocks say? The wall clock jumps, and the monotonic one is its own.

h2's wall clock jumps by ten years, forth and back, twice a second; h3's monotonic clock is a day
ahead of all others' (a time namespace, as after a restore of a container).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import weave_py
from tests.kit.pinging import Pinging
from tests.kit.routers import wait_established
from tests.kit.standstills import clock
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

AHEAD = 86_400
SECONDS = 8.0

JUMPS = """
import time
real, start = time.time, time.monotonic()
TEN_YEARS = 10 * 365 * 86400
def jumping():
    return real() + (0, TEN_YEARS, -TEN_YEARS)[int((time.monotonic() - start) * 2) % 3]
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
"""


class OddHost(Host):
    """A host whose router runs under something else."""

    under: Sequence[str] = ()

    def _launch_words(self, peers: Sequence[str]) -> list[str]:
        return [*self.under, *super()._launch_words(peers)]


def has_time_namespaces() -> bool:
    words = ["unshare", "--time", "--monotonic", "100", "--fork", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("clocks")
    (directory / "sitecustomize.py").write_text(JUMPS)
    options = LaunchOptions(password="what time is it")
    with Lab(build("full", 3)) as lab:
        mesh = LabMesh(lab, directory, options)
        jumping = OddHost(lab, "h2", directory, options)
        root = Path(weave_py.__file__).parents[1]
        jumping.under = ["env", f"PYTHONPATH={directory}:{root}"]
        ahead = OddHost(lab, "h3", directory, options)
        if has_time_namespaces():
            clocks = ["--monotonic", str(AHEAD), "--boottime", str(AHEAD)]
            ahead.under = ["unshare", "--time", *clocks, "--fork", "--kill-child"]
        mesh.hosts = {"h1": mesh["h1"], "h2": jumping, "h3": ahead}
        with mesh:
            mesh.launch()
            mesh.wait_ready()
            mesh.attach()
            mesh.wait_reachable(20)
            yield mesh


def test_the_clocks_are_odd(mesh: LabMesh) -> None:
    """Or the tests below would say nothing."""
    stamps = [line.split()[1][:4] for line in mesh["h2"].log_path.read_text().splitlines()]
    years = {int(stamp) for stamp in stamps if stamp.isdecimal()}
    assert max(years) - min(years) >= 10 or len(stamps) < 4
    child = (
        Path("/proc") / str(mesh["h3"].pid) / "task" / str(mesh["h3"].pid) / "children"
    ).read_text()
    if not has_time_namespaces():
        pytest.skip("no time namespaces here")
    (pid,) = child.split()
    assert os.readlink(f"/proc/{pid}/ns/time") != os.readlink("/proc/self/ns/time")


def test_nothing_is_lost_while_clocks_jump(mesh: LabMesh, tmp_path: Path) -> None:
    pairs = [("c1", "10.32.0.2"), ("c2", "10.32.0.3"), ("c3", "10.32.0.1")]
    logs = [tmp_path / f"ping{number}" for number in range(3)]
    pinging = [Pinging(mesh.lab, *pair, log) for pair, log in zip(pairs, logs, strict=True)]
    with pinging[0], pinging[1], pinging[2]:
        for one in pinging:
            one.wait_answer(clock(), 10, 5)
        time.sleep(SECONDS)
        results = [(one.stop(), one.lost) for one in pinging]
    for (source, target), (result, lost) in zip(pairs, results, strict=True):
        print(f"{source} to {target}: {lost} of {result.sent} lost")
        assert lost == 0
        assert result.duplicates == 0
    for name, host in mesh.hosts.items():
        wait_established(host, [other for other in mesh.hosts if other != name])
        assert "connection ended" not in host.log_path.read_text()
