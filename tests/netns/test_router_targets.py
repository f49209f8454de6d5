"""Are targets kept, through `connect`, `forget`, and every way in which a router ends?

Nobody discovers anybody here: who is connected with whom is what was asked for, and no more.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.inside import inside
from tests.kit.own_hosts_daemon import HOSTS_FILE
from tests.kit.routers import established, events, now, the_line, wait_established
from tests.kit.waiting import until
from weave_py.host.state.directory import StateDirectory
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

H1, H2, H3, H4 = (f"10.99.1.{number}" for number in (1, 2, 3, 4))
LONGEST_RETRY = 60.0
NO_SUCH_HOST = "no-such-host.invalid"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """h2, h3 and h4 run and call nobody; h1 is for the tests to start."""
    options = LaunchOptions(discovery=False)
    with Lab(build("full", 4)) as lab, LabMesh(lab, tmp_path_factory.mktemp("t"), options) as mesh:
        for name in ("h2", "h3", "h4"):
            mesh[name].launch([])
        for name in ("h2", "h3", "h4"):
            mesh[name].wait_ready()
        yield mesh


@pytest.fixture
def caller(hosts: LabMesh) -> Iterator[Host]:
    """h1, with nothing remembered."""
    host = hosts["h1"]
    yield host
    host.stop()
    for path in host.state_dir.glob("targets.json*"):
        path.unlink()


def start(host: Host, peers: Sequence[str]) -> None:
    host.launch(peers)
    host.wait_ready()


def targets(host: Host) -> list[str]:
    return host.cli("status", "targets").stdout.splitlines()


def test_connect_and_forget_while_it_runs(caller: Host) -> None:
    start(caller, [H2])
    wait_established(caller, ["h2"])
    caller.cli("connect", H3, H4)
    wait_established(caller, ["h2", "h3", "h4"])
    assert targets(caller) == [H2, H3, H4]
    assert caller.cli("forget", H3, H2).stderr == ""
    assert targets(caller) == [H4]
    assert "no such target: " + H3 in caller.cli("forget", H3).stderr
    assert established(caller) == ["h2", "h3", "h4"]  # connections stay


def test_a_forgotten_target_is_not_called_again(hosts: LabMesh, caller: Host) -> None:
    start(caller, [H2, H3])
    wait_established(caller, ["h2", "h3"])
    caller.cli("forget", H2)
    for name in ("h2", "h3"):
        hosts[name].kill()
        hosts[name].launch([])
    wait_established(caller, ["h3"])  # was called again, though it was killed later than h2
    rows = caller.cli("status", "connections").stdout.splitlines()
    assert not any(H2 in row for row in rows)
    for name in ("h2", "h3"):
        hosts[name].wait_ready()


def test_replace_makes_these_the_only_ones(caller: Host) -> None:
    start(caller, [H2, H3])
    caller.cli("connect", "--replace", H4)
    wait_established(caller, ["h2", "h3", "h4"])
    assert targets(caller) == [H4]
    caller.cli("connect", "--replace")
    assert targets(caller) == []


def test_good_targets_are_kept_when_others_make_no_sense(caller: Host) -> None:
    start(caller, [])
    done = caller.cli("connect", H2, "10.99.1.3:99999", check=False)
    assert "10.99.1.3:99999" in the_line(done, 2)
    assert targets(caller) == [H2]


@pytest.mark.parametrize("ends", [Host.kill, Host.stop], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("again", [[H2], []], ids=["the same peers", "no peers"])
def test_targets_outlive_the_router(
    caller: Host, ends: Callable[[Host], object], again: list[str]
) -> None:
    start(caller, [H2])
    name = caller.report()["Router"]["Name"]
    caller.cli("connect", H3)
    caller.cli("forget", H2)
    ends(caller)

    start(caller, again)
    assert targets(caller) == [H3]
    wait_established(caller, ["h3"])
    assert caller.report()["Router"]["Name"] == name


def test_what_was_acknowledged_is_kept_whatever_happens(caller: Host) -> None:
    start(caller, [H2])
    pid = caller.pid
    assert pid is not None

    def connect_and_kill() -> int:
        api = http.client.HTTPConnection("127.0.0.1", 6784, timeout=10)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with closing(api):
            api.request("POST", "/connect", f"peer={H3}&peer={H4}", headers)
            status = api.getresponse().status
            os.kill(pid, signal.SIGKILL)
        return status

    assert inside(caller.lab, caller.name, connect_and_kill) == 200
    caller.kill()
    start(caller, [])
    assert targets(caller) == [H2, H3, H4]


def test_other_peers_at_launch_replace_the_targets(caller: Host) -> None:
    start(caller, [H2])
    caller.cli("connect", H3)
    caller.stop()
    start(caller, [H4])
    assert targets(caller) == [H4]
    wait_established(caller, ["h4"])
    caller.stop()
    start(caller, [])
    assert targets(caller) == [H4]


def test_resume_takes_the_last_targets(caller: Host) -> None:
    start(caller, [H2])
    caller.cli("connect", "--replace", H3)
    caller.stop()
    start(caller, ["--resume"])
    assert targets(caller) == [H3]


def test_a_name_that_does_not_resolve_is_told_to_whoever_typed_it(caller: Host) -> None:
    start(caller, [H2])
    line = the_line(caller.cli("connect", NO_SUCH_HOST, H3, check=False), 1)
    assert f"cannot resolve '{NO_SUCH_HOST}'" in line
    assert "stays a target" in line
    assert targets(caller) == [H2, NO_SUCH_HOST, H3]
    wait_established(caller, ["h2", "h3"])


def test_a_router_starts_before_its_name_server(caller: Host) -> None:
    """(t04) A peer's name that cannot be resolved when the router starts stopped it."""
    start(caller, [NO_SUCH_HOST, H2])
    wait_established(caller, ["h2"])
    assert targets(caller) == [NO_SUCH_HOST, H2]
    warned = until(lambda: events(caller, "target not found"), 10, "a warning")
    assert warned[0].level == "WARNING"
    assert NO_SUCH_HOST in warned[0].text
    rows = caller.cli("status", "connections").stdout.splitlines()
    assert any(NO_SUCH_HOST in row and "retry: in " in row for row in rows)


def test_a_name_that_resolves_later_is_reached_then(
    hosts: LabMesh, caller: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """(t04) And the same peer by its address and by its name is one neighbour (t07)."""
    names = tmp_path / "hosts"
    names.write_text("127.0.0.1 localhost\n")
    monkeypatch.setenv(HOSTS_FILE, str(names))
    monkeypatch.setattr(
        caller, "options", replace(caller.options, program="tests.kit.own_hosts_daemon")
    )
    start(caller, ["late.test", H3])
    wait_established(caller, ["h3"])
    until(lambda: events(caller, "target not found"), 10, "late.test is missed")
    with names.open("a") as file:
        file.write(f"{H2} late.test\n{H3} other.test\n")
    wait_established(caller, ["h2", "h3"], LONGEST_RETRY)
    caller.cli("connect", "other.test", "late.test", H2)
    hosts["h4"].cli("connect", "10.99.1.1")
    wait_established(caller, ["h2", "h3", "h4"])  # whoever else was called has answered by now
    hosts["h4"].cli("forget", "10.99.1.1")
    assert targets(caller) == ["late.test", H3, "other.test", H2]
    rows = caller.cli("status", "connections").stdout.splitlines()
    assert len(rows) == 3


def test_a_peer_that_is_gone_for_good_is_forgotten(hosts: LabMesh, caller: Host) -> None:
    """(t30)"""
    start(caller, [H2, H3])
    wait_established(caller, ["h2", "h3"])
    hosts["h3"].kill()
    try:
        until(lambda: established(caller) == ["h2"], 5, "h1 misses h3")

        def is_gone() -> bool:  # once the router has noticed that nobody reaches it
            caller.cli("forget", H3)
            return "(h3)" not in caller.cli("status", "peers").stdout

        until(is_gone, 5, "h3 is forgotten")
    finally:
        hosts["h3"].launch([])
        hosts["h3"].wait_ready()


def test_a_copied_state_directory(hosts: LabMesh, caller: Host) -> None:
    """(t06) h1 is cloned with its state; the clone runs on h4's host, and is refused."""
    start(caller, [H2, H3])
    wait_established(caller, ["h2", "h3"])
    clone = hosts["h4"]
    clone.stop()
    own = clone.state_dir.with_name("own")
    clone.state_dir.rename(own)
    try:
        shutil.copytree(caller.state_dir, clone.state_dir)
        since = now()
        start(clone, [H2, H3])
        until(lambda: events(clone, "another router runs with our identity"), 10, "it says why")
        assert established(caller) == ["h2", "h3"]
        assert established(clone) == []
        assert not [e for e in events(caller, "connection ended") if e.at >= since]
        clone.stop()
    finally:
        clone.stop()
        shutil.rmtree(clone.state_dir, ignore_errors=True)
        own.rename(clone.state_dir)
        clone.launch([])
        clone.wait_ready()
    assert established(caller) == ["h2", "h3"]


def test_a_name_that_resolves_no_longer_is_tried_again_and_again(caller: Host) -> None:
    # As if it had resolved when it was given.
    remembered = {"launched": [], "targets": [NO_SUCH_HOST, H2]}
    StateDirectory(caller.state_dir).save("targets", remembered)
    start(caller, [])
    wait_established(caller, ["h2"])

    def complaint() -> list[str]:
        rows = caller.cli("status", "connections").stdout.splitlines()
        return [row for row in rows if NO_SUCH_HOST in row and "failed" in row]

    (row,) = until(complaint, 10, "the failure in status")
    assert f"cannot resolve '{NO_SUCH_HOST}'" in row
    assert "retry: in " in row
    assert targets(caller) == [NO_SUCH_HOST, H2]
    assert caller.running


def test_a_connection_that_breaks_is_made_again(hosts: LabMesh, caller: Host) -> None:
    start(caller, [H2])
    wait_established(caller, ["h2"])
    hosts["h2"].kill()
    until(lambda: established(caller) == [], 5, "h1 misses h2")
    hosts["h2"].launch([])
    wait_established(caller, ["h2"])
    hosts["h2"].wait_ready()
