"""Does a router start and rejoin whatever happened to its state directory, and say what it lost?

h1 runs all the time; h2, which knows it, is stopped, damaged and started again.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit import answering_paths
from tests.kit.routers import Event, events, the_line
from tests.kit.standstills import clock
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

FILES = ("identity", "targets", "epoch")
SEED = "10.99.1.1"
REJOIN_SECONDS = 8.0
FILLER = "targets.json.damaged-9"  # with files of others alone no router would start there
DISK = "64k"
KILLS = 5


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    options = LaunchOptions(fastdp=False)
    directory = tmp_path_factory.mktemp("state")
    with Lab(build("full", 3)) as lab, LabMesh(lab, directory, options) as found:
        for name in ("h1", "h3"):
            found[name].launch([])
            found[name].wait_ready()
        found.attach_one(found["h1"])
        yield found


@pytest.fixture(scope="module")
def before(mesh: LabMesh, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The state that h2 left when it ended, and the name it had."""
    host = Host(mesh.lab, "h2", tmp_path_factory.mktemp("before"), mesh["h2"].options)
    host.launch([SEED])
    name, _ = rejoined(host)
    host.stop()
    return host.state_dir, name


@pytest.fixture
def h2(mesh: LabMesh, before: tuple[Path, str], tmp_path: Path) -> Iterator[Host]:
    """As it was then; it does not run."""
    host = Host(mesh.lab, "h2", tmp_path, mesh["h2"].options)
    shutil.copytree(before[0], host.state_dir)
    yield host
    host.stop()


@pytest.fixture
def name(before: tuple[Path, str]) -> str:
    return before[1]


def rejoined(host: Host, seconds: float = REJOIN_SECONDS) -> tuple[str, float]:
    """Its name, and how many seconds after now it was back in the network."""
    since = clock()

    def is_back() -> str:
        with suppress(OSError):
            router = answering_paths.report(host)["Router"]
            if any(
                path["NickName"] == "h1" and path["Kind"] == "direct" for path in router["Paths"]
            ):
                return str(router["Name"])
        assert host.running, host.log_end()
        return ""

    name = until(is_back, seconds, "back in the network")
    return name, clock() - since


def errors(host: Host, since: float) -> list[Event]:
    return [e for e in events(host, "") if e.level == "ERROR" and e.at.timestamp() > since]


def damaged(good: bytes, how: str) -> bytes:
    match how:
        case "cut":
            return good[: len(good) // 2]
        case "emptied":
            return b""
        case _:
            return bytes([good[0]]) + good[1:].swapcase()


@pytest.mark.parametrize(
    ("file", "how"), [("identity", "cut"), ("targets", "emptied"), ("epoch", "changed")]
)
def test_a_damaged_file_costs_nothing(h2: Host, name: str, file: str, how: str) -> None:
    path = h2.state_dir / f"{file}.json"
    bad = damaged(path.read_bytes(), how)
    path.write_bytes(bad)
    since = clock() - 0.01
    h2.launch([])
    again, seconds = rejoined(h2)
    print(f"{file}.json {how}: back {seconds:.1f} s after the start, as the same peer")
    assert again == name
    (error,) = errors(h2, since)
    print(error.text)
    assert f"file={file}.json" in error.text
    assert f"kept_as={file}.json.damaged-1" in error.text
    assert (h2.state_dir / f"{file}.json.damaged-1").read_bytes() == bad


def test_with_all_lost_it_is_a_new_peer_and_says_so(h2: Host, name: str) -> None:
    for file in FILES:
        for suffix in ("", ".bak"):
            (h2.state_dir / f"{file}.json{suffix}").write_bytes(b"garbage")
    since = clock() - 0.01
    h2.launch([SEED])
    again, seconds = rejoined(h2)
    print(f"all lost: back {seconds:.1f} s after the start, as a new peer")
    assert again != name
    said = errors(h2, since)
    assert len(said) == len(FILES) + 1
    (loud,) = [event for event in said if "this router is a new peer" in event.text]
    assert f"name={again}" in loud.text
    assert len(list(h2.state_dir.glob("*.damaged-*"))) == 2 * len(FILES)


def test_killed_while_it_starts_it_stays_itself(h2: Host, name: str) -> None:
    dice = random.Random(3)
    for _ in range(KILLS):
        h2.launch([])
        time.sleep(dice.uniform(0.2, 1.0))
        h2.kill()
    since = clock() - 0.01
    h2.launch([])
    again, seconds = rejoined(h2)
    print(f"killed {KILLS} times at the start: back {seconds:.1f} s after the next one")
    assert again == name
    assert errors(h2, since) == []


# --- a full disk


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir(mode=0o700, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "none", str(path)]
    subprocess.run(words, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    with suppress(OSError), (path / FILLER).open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_full_disk_stops_nobody(mesh: LabMesh, tmp_path: Path) -> None:
    host = Host(mesh.lab, "h2", tmp_path, mesh["h2"].options)
    with small_disk(host.state_dir):
        try:
            check_full_disk(mesh, host)
        finally:
            host.stop()


def check_full_disk(mesh: LabMesh, host: Host) -> None:
    host.launch([SEED])
    name, _ = rejoined(host)
    mesh.attach_one(host)
    fill(host.state_dir)
    line = the_line(host.cli("connect", "10.99.1.3", check=False), 1)
    assert "done, but not kept for the next start" in line
    assert "No space left on device" in line
    until(lambda: "h3" in answering_paths.neighbours(host), 5, "h3 is called all the same")
    assert ping(mesh.lab, "c2", "10.32.0.1", count=3).loss == 0
    assert len(events(host, "state not saved")) == 1

    host.kill()  # and started on the full disk, with what was saved last
    host.launch([])
    again, seconds = rejoined(host)
    print(f"started on a full disk: back after {seconds:.1f} s, as the same peer")
    assert again == name
    assert host.cli("status", "targets").stdout.split() == [SEED]

    os.unlink(host.state_dir / FILLER)
    freed = clock()
    host.cli("connect", "10.99.1.3")
    until(lambda: events(host, "state saved after all"), 6, "everything is saved")
    print(f"room again: all is saved after {clock() - freed:.1f} s")
    host.kill()
    host.launch([])
    assert rejoined(host)[0] == name
    assert host.cli("status", "targets").stdout.split() == [SEED, "10.99.1.3"]


def test_the_first_start_on_a_full_disk(mesh: LabMesh, tmp_path: Path) -> None:
    host = Host(mesh.lab, "h2", tmp_path, mesh["h2"].options)
    with small_disk(host.state_dir):
        fill(host.state_dir)
        try:
            host.launch([SEED])
            name, seconds = rejoined(host)
            (error,) = errors(host, 0.0)
            print(f"first start on a full disk: in after {seconds:.1f} s; {error.text}")
            os.unlink(host.state_dir / FILLER)
            until(lambda: events(host, "state saved after all"), 6, "everything is saved")
            host.kill()
            host.launch([])
            assert rejoined(host)[0] == name
        finally:
            host.stop()
