"""What does it cost a network when a stranger attacks one of its routers? Bounded memory, no ping.

h1 and h2 are a network with a password; h3 is a host without a router, from which h1 is attacked;
h4 joins while it is. During each attack c1 pings c2 all the time, through the sleeve.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.kit import answering_paths, attacks
from tests.kit.pinging import Pinging
from tests.kit.routers import SLEEVE_PORT, events
from tests.kit.standstills import clock
from tests.kit.waiting import until
from weave_py.lab.hosts import HTTP_PORT, Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import PingResult
from weave_py.lab.topology import build

VICTIM = "10.99.1.1"
MORE_MIB = 24
"""Memory that an attack may cost."""
MORE_FDS = 256 + 32 + 16
"""Handshakes, requests, and some."""
JOIN_SECONDS = 6.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    options = LaunchOptions(password="let nobody in", fastdp=False)
    directory = tmp_path_factory.mktemp("floods")
    with Lab(build("full", 4)) as lab, LabMesh(lab, directory, options) as mesh:
        lab.exec("h1", ["ip", "route", "add", attacks.SOURCE_NETWORK, "via", "10.99.1.3"])
        lab.exec("h3", ["ip", "route", "add", "local", attacks.SOURCE_NETWORK, "dev", "lo"])
        for name in ("h1", "h2"):
            mesh[name].launch([] if name == "h1" else [VICTIM])
        for name in ("h1", "h2"):
            mesh[name].wait_ready()
            mesh.attach_one(mesh[name])
        mesh.wait_reachable(20)
        until(lambda: answering_paths.path_kinds(mesh["h1"])["h2"] == "direct", 10, "a direct path")
        yield mesh


class Watch:
    """Pings, and how much the victim takes meanwhile."""

    def __init__(self, mesh: LabMesh, directory: Path) -> None:
        self._host = mesh["h1"]
        self._pinging = Pinging(mesh.lab, "c1", "10.32.0.2", directory / "watch")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = answering_paths.rss_mib(self._host)
        self.most = self.before
        self.fds_before = self.fds = self._count()
        self.cpu = self._cpu()
        self.since = clock()
        self.result: PingResult | None = None

    def __enter__(self) -> Self:
        self._pinging.__enter__()
        self._pinging.wait_answer(clock(), 10, 5)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self.cpu = (self._cpu() - self.cpu) / (clock() - self.since)
        if kind is None:
            self.result = self._pinging.stop()
        self._pinging.__exit__(kind, error, trace)

    def check(self, attack: str) -> None:
        """Print what it cost; nothing was lost, and memory and descriptors are bounded."""
        result = self.result
        assert result is not None
        lost = self._pinging.lost
        print(
            f"{attack}: {lost} of {result.sent} pings lost; RSS {self.before:.0f} MiB before, "
            f"{self.most:.0f} at most; {self.fds_before} descriptors before, {self.fds} at most; "
            f"{self.cpu:.0%} of a core"
        )
        assert lost == 0
        assert self.most - self.before < MORE_MIB
        assert self.fds - self.fds_before < MORE_FDS
        assert not [e for e in events(self._host, "connection ended") if "(h2)" in e.text]

    def _look(self) -> None:
        while not self._done.wait(0.1):
            self.most = max(self.most, answering_paths.rss_mib(self._host))
            self.fds = max(self.fds, self._count())

    def _count(self) -> int:
        return len(list(Path(f"/proc/{self._host.pid}/fd").iterdir()))

    def _cpu(self) -> float:
        """Seconds of processor time that the victim has used."""
        fields = Path(f"/proc/{self._host.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def attack(lab: Lab, name: str, log: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """The program runs while the context lasts."""
    argv = [sys.executable, attacks.__file__, *map(str, words)]
    with log.open("wb") as output:
        process = lab.popen(name, argv, log=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
    print(log.read_text().strip() or "(it did not finish)")


def is_member(host: Host) -> bool:
    try:
        return "h2" in answering_paths.path_kinds(host)
    except OSError:
        return False


@pytest.mark.parametrize("sources", [10_000, 0], ids=["10,000 addresses", "one address"])
def test_ten_thousand_connections(mesh: LabMesh, tmp_path: Path, sources: int) -> None:
    words = ("connections", VICTIM, SLEEVE_PORT, 10_000, sources, 6)
    newcomer = mesh["h4"]
    with (
        Watch(mesh, tmp_path) as watch,
        attack(mesh.lab, "h3", tmp_path / "attack", *words) as process,
    ):
        time.sleep(1)
        joins = clock()
        newcomer.launch([VICTIM])
        until(lambda: is_member(newcomer), 15, "h4 joins during the attack")
        joined = clock() - joins
        process.wait(40)
        # (It may have joined this very moment, and its record be on the way.)
        until(lambda: answering_paths.neighbours(mesh["h1"]) == {"h2", "h4"}, 2, "h1 knows h4")
    newcomer.stop()
    watch.check(f"10,000 connections from {sources or 'one'} addresses")
    print(f"h4 has joined {joined:.1f} s after it was started")
    assert joined < JOIN_SECONDS
    assert len(mesh["h1"].log_path.read_text().splitlines()) < 400


def test_garbage_datagrams(mesh: LabMesh, tmp_path: Path) -> None:
    lines = len(mesh["h1"].log_path.read_text().splitlines())
    words = ("datagrams", VICTIM, SLEEVE_PORT, 10_000, 4)
    with (
        Watch(mesh, tmp_path) as watch,
        attack(mesh.lab, "h3", tmp_path / "attack", *words) as process,
    ):
        process.wait(30)
    watch.check("10,000 garbage datagrams a second")
    assert len(mesh["h1"].log_path.read_text().splitlines()) - lines < 20


def test_slow_requests(mesh: LabMesh, tmp_path: Path) -> None:
    """Somebody on the host itself occupies the control API."""
    words = ("slow-requests", "127.0.0.1", HTTP_PORT, 200, 4)
    answered, times = 0, []
    with (
        Watch(mesh, tmp_path) as watch,
        attack(mesh.lab, "h1", tmp_path / "attack", *words) as process,
    ):
        time.sleep(1)
        while process.poll() is None:
            asked = clock()
            done = mesh["h1"].cli("status", check=False)
            times.append(clock() - asked)
            answered += done.returncode == 0
            assert done.returncode == 0 or done.stderr.count("\n") == 1
    watch.check("200 slow requests at a time")
    print(f"{answered} of {len(times)} commands answered, {max(times):.1f} s at most")
    assert answered > 0.9 * len(times)  # a burst of clients may displace a true one
    assert answering_paths.neighbours(mesh["h1"]) == {"h2"}


def free_below(limit: int, host: Host) -> int:
    """How many descriptors the router may still get."""
    used = {int(fd.name) for fd in Path(f"/proc/{host.pid}/fd").iterdir()}
    return sum(number not in used for number in range(limit))


def limit_with_room_for(count: int, host: Host) -> int:
    return next(limit for limit in range(4096) if free_below(limit, host) == count)


def test_no_descriptor_left(mesh: LabMesh, tmp_path: Path) -> None:
    """The limit is reached by an attacker's connections; those who are in notice nothing."""
    host = mesh["h1"]
    assert host.pid is not None
    lines = len(host.log_path.read_text().splitlines())
    limit = limit_with_room_for(8, host)
    before = resource.prlimit(host.pid, resource.RLIMIT_NOFILE)
    words = ("connections", VICTIM, SLEEVE_PORT, 300, 300, 6)
    with Watch(mesh, tmp_path) as watch:
        resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        try:
            with attack(mesh.lab, "h3", tmp_path / "attack", *words) as process:
                until(lambda: free_below(limit, host) == 0, 5, "the limit is reached")
                done = host.cli("status", check=False, timeout=30)
                print(f"meanwhile `weave-py status`: {done.returncode} {done.stderr.strip()!r}")
                process.wait(20)
            over = clock()
            until(lambda: host.cli("status", check=False).returncode == 0, 15, "it answers again")
            print(f"the API answers again {clock() - over:.1f} s after the attack")
        finally:
            resource.prlimit(host.pid, resource.RLIMIT_NOFILE, before)
    watch.check("no descriptor left")
    said = host.log_path.read_text().splitlines()[lines:]
    assert "Traceback" not in "\n".join(said)
    assert len(said) < 60
    newcomer = mesh["h4"]
    newcomer.launch([VICTIM])
    until(lambda: is_member(newcomer), 15, "h4 joins afterwards")
    newcomer.stop()
