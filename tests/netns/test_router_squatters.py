"""What can a user of the host do by being where a router would be? Say so, and little else.

He is user 65534, without rights; the commands, and the routers, are root's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.inside import inside
from tests.kit.lying_server import lying_server
from tests.kit.routers import our_devices, the_line
from weave_py.host.run_directory import api_socket, claim_file
from weave_py.lab.hosts import Host
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

FAILED, NOT_RUNNING, PERMISSION = 1, 3, 4
WEAVE = (sys.executable, "-m", "weave_py")
AS_A_USER = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("--bounding-set", "-all"),
)

ABSTRACT = "s=socket.socket(socket.AF_UNIX); s.bind(b'\\0weave-py/bridge/weave')"
TCP = "s=socket.socket(); s.bind(('127.0.0.1', {})); s.listen()"
UDP = "s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', {}))"

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(build("full", 2)) as found:
        yield found


@contextmanager
def user(lab: Lab, does: str) -> Iterator[int]:
    """A process of his on h1 that has done it, and stays; its id."""
    code = f"import socket, time; {does}; print('done', flush=True); time.sleep(60)"
    words = lab.enter("h1", [*AS_A_USER, sys.executable, "-I", "-c", code])
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"done\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def running(lab: Lab, directory: Path, *words: str) -> Iterator[Path]:
    """A router on h1, launched with these words and ready; its log. Stopped by `stop`."""
    log = directory / "log"
    with log.open("wb") as out:
        launch = [*WEAVE, "launch", "--no-fastdp", "--state-dir", str(directory / "state"), *words]
        router = lab.popen("h1", launch, log=out)
    try:
        host = Host(lab, "h1", directory)
        for _ in range(100):
            if "router started" in log.read_text() or router.poll() is not None:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        assert router.poll() is None, log.read_text()
        assert host.cli("status", "targets", check=False).returncode == 0
        yield log
        assert host.cli("stop").returncode == 0
        assert router.wait(10) == 0
    finally:
        if router.poll() is None:
            router.kill()
            router.wait()


def weave(lab: Lab, *words: str, extra: Mapping[str, str] | None = None) -> Done:
    return lab.exec("h1", [*WEAVE, *words], check=False, extra=extra)


def state_in(directory: Path) -> Path:
    """A directory of root's with a router's state in it."""
    directory.mkdir(mode=0o700)
    for name in ("identity.json", "identity.json.bak", "epoch.json", "daemon.json"):
        (directory / name).write_text("{}")
    return directory


def test_reset_believes_nobody(lab: Lab, tmp_path: Path) -> None:
    """F4: a user listens on Weave's port and names a directory to delete (/etc)."""
    state = state_in(tmp_path / "state")
    (state / "daemon.json").unlink()
    before = sorted(Path("/etc").rglob("*.json*"))
    with lying_server("tcp", tmp_path, port=6784, enter=lambda words: lab.enter("h1", words)) as (
        place,
        asked,
    ):
        words = ("reset", "--state-dir", str(state))
        assert "--force" in the_line(weave(lab, *words), NOT_RUNNING)
        for given in ([], ["--force"]):
            line = the_line(weave(lab, *words, *given, "--http-addr", place), FAILED)
            assert f"what listens on {place} belongs to user 65534" in line
            line = the_line(weave(lab, *words, *given, extra={"WEAVE_HTTP_ADDR": place}), FAILED)
            assert "65534" in line
        assert (state / "identity.json").exists()
        assert weave(lab, *words, "--force").stdout.startswith(f"deleted the state in {state}")
        assert asked() == ""
    assert {path.name for path in state.iterdir()} == {"lock"}
    assert sorted(Path("/etc").rglob("*.json*")) == before


def test_a_squatter_keeps_no_router_from_starting(lab: Lab, tmp_path: Path) -> None:
    """F13: he has the old claim's name and Weave's port."""
    with user(lab, ABSTRACT), user(lab, TCP.format(6784)), running(lab, tmp_path) as log:
        path = inside(lab, "h1", lambda: api_socket("weave"))
        assert f"api={path}" in log.read_text().replace('"', "")
        report = json.loads(weave(lab, "report").stdout)
        assert report["Router"]["HTTPAddress"] == path
    assert weave(lab, "reset", "--force", "--state-dir", str(tmp_path / "state")).returncode == 0
    assert our_devices(lab, "h1") == set()


def test_a_user_gets_at_nothing_of_a_routers(lab: Lab, tmp_path: Path) -> None:
    """F13, F4: neither socket nor claim, nor the directory they are in; and so cannot stop it."""
    with running(lab, tmp_path):
        sock, claim = inside(lab, "h1", lambda: (api_socket("weave"), claim_file("weave")))
        assert (Path(sock).stat().st_uid, Path(sock).stat().st_mode & 0o7777) == (0, 0o600)
        for words in (
            ["status"],
            ["stop"],
            ["connect", "10.99.1.2"],
            ["attach", "10.2.1.1/24", "1"],
        ):
            done = lab.exec("h1", [*AS_A_USER, *WEAVE, *words], check=False)
            assert f"no permission to use {sock}" in the_line(done, PERMISSION)
        done = lab.exec("h1", [*AS_A_USER, *WEAVE, "version"], check=False)
        assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (0, 1, 1)
        for attempt in (
            f"os.open({claim!r}, os.O_RDONLY)",
            f"os.unlink({claim!r})",
            f"os.unlink({sock!r})",
            f"os.open({sock + 'x'!r}, os.O_CREAT)",
            f"socket.socket(socket.AF_UNIX).connect({sock!r})",
        ):
            code = f"import os, socket; {attempt}"
            done = lab.exec("h1", [*AS_A_USER, sys.executable, "-I", "-c", code], check=False)
            assert "PermissionError" in done.stderr
        second = weave(lab, "launch", "--state-dir", str(tmp_path / "other"), "--port", "6790")
        assert "already running on bridge weave" in the_line(second, FAILED)
    assert not Path(sock).exists()
    assert not Path(claim).exists()


@pytest.mark.parametrize(("kind", "does"), [("TCP", TCP), ("UDP", UDP)])
def test_who_has_the_routers_port_is_named(lab: Lab, tmp_path: Path, kind: str, does: str) -> None:
    """F13"""
    with user(lab, does.format(6783)) as pid:
        line = the_line(weave(lab, "launch", "--state-dir", str(tmp_path / "state")), FAILED)
        doctor = weave(lab, "doctor", "--no-fastdp").stdout
    assert f"{kind} port 6783 is in use by python" in line
    assert f"(pid {pid}, user 65534): stop it or choose --port" in line
    assert f"(pid {pid}, user 65534)" in doctor
    assert our_devices(lab, "h1") == set()


def test_somebody_elses_api_port_is_said_to_be_somebody_elses(lab: Lab, tmp_path: Path) -> None:
    """t41: Weave Net's router has it, say. Nothing of ours runs, and nothing is begun."""
    state = tmp_path / "state"
    launch = ("launch", "--http-addr", "127.0.0.1:6784", "--state-dir", str(state))
    with user(lab, TCP.format(6784)) as pid:
        line = the_line(weave(lab, *launch), FAILED)
        assert "another program already listens on 127.0.0.1:6784: python" in line
        assert f"(pid {pid}, user 65534)" in line
        assert "running" not in line
        assert not state.exists()
        assert weave(lab, "stop").stderr == "weave-py is not running.\n"


@pytest.mark.parametrize("read_only", [True, False])
def test_loopback_is_for_every_user_perhaps_to_read(
    lab: Lab, tmp_path: Path, read_only: bool
) -> None:
    """F13: what is opened to everybody need not be a switch for everybody."""
    words = ["--http-addr", "127.0.0.1:6784", *["--http-read-only"] * read_only]
    there = ("--http-addr", "127.0.0.1:6784")
    with running(lab, tmp_path, *words):
        done = lab.exec("h1", [*AS_A_USER, *WEAVE, "status", *there], check=False)
        assert "Service: router" in done.stdout
        done = lab.exec("h1", [*AS_A_USER, *WEAVE, "connect", "10.99.1.9", *there], check=False)
        assert done.returncode == (FAILED if read_only else 0), done.stderr
        assert weave(lab, "status", "targets").stdout == ("" if read_only else "10.99.1.9\n")
        # In the environment it is the router's setting: commands take the socket all the same.
        setting = {"WEAVE_HTTP_ADDR": "127.0.0.1:6784"}
        assert weave(lab, "connect", "10.99.1.8", extra=setting).returncode == 0
