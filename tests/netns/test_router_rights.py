"""What may a running router do? What it needs, and it does its work with that. (F18, T40.)"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit import under_unit
from tests.kit.routers import our_devices, started, wait_path
from tests.kit.waiting import until
from weave_py.host.confine import NEEDED, Capability
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

WEAVE = (sys.executable, "-m", "weave_py")
MASK = sum(1 << capability for capability in NEEDED)
SECONDS = 15.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    options = LaunchOptions(log_level="debug")
    with started("full", 2, tmp_path_factory.mktemp("rights"), options) as mesh:
        yield mesh


def threads(pid: int) -> Iterator[Mapping[str, str]]:
    """What /proc says of each thread of the router and its children."""
    for process in (pid, *children(pid)):
        for status in Path(f"/proc/{process}/task").glob("*/status"):
            lines = (line.partition(":") for line in status.read_text().splitlines())
            yield {key: value.strip() for key, _, value in lines}


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def test_every_thread_has_three_capabilities_and_gets_no_more(pair: LabMesh) -> None:
    for host in pair.hosts.values():
        assert host.pid is not None
        found = list(threads(host.pid))
        assert len(found) >= 3  # main, host thread, log
        for thread in found:
            assert int(thread["CapEff"], 16) == MASK, thread["Name"]
            assert int(thread["CapPrm"], 16) == MASK, thread["Name"]
            assert int(thread["CapBnd"], 16) == MASK, thread["Name"]
            assert thread["NoNewPrivs"] == "1", thread["Name"]


def test_it_is_not_dumped_and_nobody_without_rights_traces_it(pair: LabMesh) -> None:
    pid = pair["h1"].pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    (core,) = [line.split() for line in limits.splitlines() if line.startswith("Max core file")]
    assert core[4:6] == ["0", "0"]
    # As root, whom all its files are: what is not dumpable also asks for CAP_SYS_PTRACE.
    weak = ["setpriv", "--bounding-set", "-all", "head", "-c1"]
    for name, readable in (("environ", False), ("maps", False), ("status", True)):
        done = subprocess.run([*weak, f"/proc/{pid}/{name}"], capture_output=True, check=False)
        assert (done.returncode == 0) is readable, name


def test_and_with_these_it_does_all_its_work(pair: LabMesh) -> None:
    """(As all other tests of this folder show for all else.)"""
    wait_path(pair["h1"], "h2", "fastdp", SECONDS)
    assert ping(pair.lab, "c1", pair.addresses["c2"], count=3).reached
    assert "rights given up" in pair["h1"].log_path.read_text()


@contextmanager
def router(lab: Lab, directory: Path, start: Sequence[str], *words: str) -> Iterator[Router]:
    """One on h1, begun in some way, ready or ended."""
    log = directory / "log"
    launch = [*start, *WEAVE, "launch", "--log-level", "debug", *words]
    with log.open("wb") as out:
        process = lab.popen("h1", launch, log=out)
    try:
        until(
            lambda: process.poll() is not None or "router started" in log.read_text(),
            SECONDS,
            "the router is ready, or ended",
        )
        yield Router(process, log)
        if process.poll() is None:
            Host(lab, "h1", directory).cli("stop")
            assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


class Router(NamedTuple):
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def capabilities(self) -> set[int]:
        """Of all its threads."""
        return {int(thread["CapEff"], 16) for thread in threads(self.process.pid)}


@pytest.fixture(scope="module")
def alone() -> Iterator[Lab]:
    with Lab(build("full", 2)) as lab:
        yield lab


@pytest.mark.parametrize(
    ("has", "kept"),
    [
        ("net_admin,+net_raw,+net_bind_service", MASK),  # as the unit file has it
        ("net_admin", 1 << Capability.NET_ADMIN),
        ("chown,+dac_override,+fowner,+kill,+net_admin,+net_raw,+setgid,+setpcap,+setuid", None),
    ],
    ids=["unit", "net_admin", "container"],
)
def test_it_runs_with_less(alone: Lab, tmp_path: Path, has: str, kept: int | None) -> None:
    start = ["setpriv", "--bounding-set", f"-all,+{has}"]
    with router(alone, tmp_path, start, "--state-dir", str(tmp_path / "state")) as found:
        assert found.process.poll() is None, found.log.read_text()
        assert found.capabilities == {MASK & ~(1 << 10) if kept is None else kept}
        assert Host(alone, "h1", tmp_path).cli("status").returncode == 0


def test_it_says_what_it_cannot_do_without(alone: Lab, tmp_path: Path) -> None:
    start = ["setpriv", "--bounding-set", "-all,+net_raw"]
    with router(alone, tmp_path, start, "--state-dir", str(tmp_path / "state")) as found:
        assert found.process.wait(10) == 4
        said = found.log.read_text()
        assert "CAP_NET_ADMIN is missing: run as root (sudo) or grant that capability" in said
        assert said.count("\n") == 1


def test_a_state_directory_in_somebodys_home_is_still_reached(alone: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 1000, 1000)
    with router(alone, tmp_path, (), "--state-dir", str(home / "state")) as found:
        assert found.process.poll() is None, found.log.read_text()
        assert found.capabilities == {MASK | 1 << Capability.DAC_READ_SEARCH}
        assert 'kept="DAC_READ_SEARCH, NET_ADMIN' in found.log.read_text()
    assert (home / "state" / "identity.json").exists()


def test_the_groups_socket_is_made_without_the_right_to_give_files_away(
    alone: Lab, tmp_path: Path
) -> None:
    groups = tmp_path / "group"
    groups.write_text("root:x:0:\nweave-py:x:4711:\n")
    mount = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind {groups} /etc/group && exec "$@"',
        "-",
    ]
    with router(alone, tmp_path, mount, "--state-dir", str(tmp_path / "state")) as found:
        assert found.process.poll() is None, found.log.read_text()
        (path,) = re.findall(r"api=(\S+\.sock)", found.log.read_text())
        assert Path(path).stat().st_gid == 4711
        assert Path(path).stat().st_mode & 0o777 == 0o660


def test_under_the_unit_file_it_does_its_work(tmp_path: Path) -> None:
    """As systemd would start it: system calls, address families, memory. (T41.)"""
    if what := under_unit.missing():
        pytest.skip(f"needs {what}")
    options = LaunchOptions(
        program="tests.kit.under_unit",
        password="correct horse battery staple",
        extra=("--trusted-subnets", "0.0.0.0/0"),
    )
    with started("full", 2, tmp_path, options) as mesh:
        host, lab = mesh["h1"], mesh.lab
        wait_path(host, "h2", "fastdp", SECONDS)
        assert host.pid is not None
        for thread in threads(host.pid):
            assert thread["Seccomp"] == "2"
            assert int(thread["CapEff"], 16) == MASK
        host.cli("expose", "10.32.0.101/24")
        assert ping(lab, "h1", mesh.addresses["c2"], count=3).reached
        look = ["nft", "list", "table", "inet", "weave-py-weave"]
        lab.exec("h1", ["nft", "flush", "ruleset"])
        until(lambda: not lab.exec("h1", look, check=False).returncode, SECONDS, "rules are back")
        wait_path(host, "h2", "fastdp", SECONDS)
        host.cli("reset")
        until(lambda: not host.running, SECONDS, "the router has ended")
        assert not our_devices(lab, "h1")
