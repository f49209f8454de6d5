"""What is left behind when routers end, one way or another? What was asked for, and no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.kit.dispositions import ignoring
from tests.kit.routers import BRIDGE, our_devices, the_line
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

SECONDS_TO_END = 3.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """h2 runs with c2 attached; h1 is for the tests to start."""
    options = LaunchOptions(password="start and stop")
    with Lab(build("full", 2)) as lab, LabMesh(lab, tmp_path_factory.mktemp("p"), options) as mesh:
        mesh["h2"].launch([])
        mesh["h2"].wait_ready()
        mesh.attach_one(mesh["h2"])
        yield mesh


@pytest.fixture
def h1(pair: LabMesh) -> Iterator[Host]:
    """Runs and has a port for h2. Afterwards everything of it is gone."""
    host = pair["h1"]
    host.launch(["10.99.1.2"])
    host.wait_ready()
    until(lambda: taps(pair), 10, "a TAP for h2")
    yield host
    if host.running:
        host.cli("reset")
    else:
        host.cli("reset", "--force", "--state-dir", str(host.state_dir))
    host.stop()
    assert our_devices(pair.lab, "h1") == set()


def taps(mesh: LabMesh) -> set[str]:
    return {name for name in our_devices(mesh.lab, "h1") if name.startswith("wvt")}


def wait_ended(host: Host) -> None:
    until(lambda: not host.running, SECONDS_TO_END, "the router has ended")


def attach(mesh: LabMesh) -> None:
    mesh.attach_one(mesh["h1"])
    mesh.wait_reachable(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_all_it_made_is_gone(
    pair: LabMesh, h1: Host, number: signal.Signals
) -> None:
    pid = h1.pid
    assert pid is not None
    os.kill(pid, number)
    wait_ended(h1)
    assert h1.stop() == 0  # the status it ended with
    assert our_devices(pair.lab, "h1") == set()
    assert "Traceback" not in h1.log_path.read_text()


def test_who_is_to_outlive_a_terminal_does_and_ends_by_sigterm_only(
    pair: LabMesh, h1: Host
) -> None:
    """Under `nohup`, or by a script's `&`, the router is started so that it
    ignores what terminals send. It never ignores SIGTERM, whatever its parent did."""
    h1.stop()
    with ignoring(signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        h1.launch(["10.99.1.2"])
    h1.wait_ready()
    pid = h1.pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGINT)
    until(lambda: taps(pair), 10, "a TAP for h2")
    assert h1.running
    assert h1.stop() == 0
    assert our_devices(pair.lab, "h1") == set()


def test_stop_ends_it_and_keeps_its_state(pair: LabMesh, h1: Host) -> None:
    name = h1.report()["Router"]["Name"]
    done = h1.cli("stop")
    assert (done.stdout, done.stderr) == ("", "")
    wait_ended(h1)
    assert our_devices(pair.lab, "h1") == set()
    h1.launch([])
    h1.wait_ready()
    assert h1.report()["Router"]["Name"] == name
    assert h1.cli("status", "targets").stdout == "10.99.1.2\n"


@pytest.mark.parametrize("ends", ["SIGTERM", "SIGKILL", "stop"])
def test_the_bridge_stays_for_a_container_and_is_adopted(
    pair: LabMesh, h1: Host, ends: str
) -> None:
    attach(pair)
    h1.cli("expose", "10.32.0.101/24")
    bridge = pair.lab.exec("h1", ["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout
    match ends:
        case "SIGTERM":
            h1.stop()
        case "SIGKILL":
            h1.kill()
        case _:
            h1.cli("stop")
    until(lambda: not taps(pair), SECONDS_TO_END, "no TAP any more")
    left = our_devices(pair.lab, "h1")
    assert {name[:8] for name in left} == {BRIDGE, "vethwepl"}
    # Local traffic never needed the router.
    assert ping(pair.lab, "c1", "10.32.0.101").reached
    wait_ended(h1)

    h1.launch([])
    h1.wait_ready()
    pair.wait_reachable(10)
    assert pair.lab.exec("h1", ["cat", f"/sys/class/net/{BRIDGE}/ifindex"]).stdout == bridge
    assert ping(pair.lab, "c2", "10.32.0.101").reached


def test_the_bridge_stays_for_an_exposed_host(pair: LabMesh, h1: Host) -> None:
    h1.cli("expose", "10.32.0.101/24")
    h1.stop()
    assert our_devices(pair.lab, "h1") == {BRIDGE}


def test_reset_leaves_no_trace(pair: LabMesh, h1: Host) -> None:
    attach(pair)
    h1.cli("expose", "10.32.0.101/24")
    name = h1.report()["Router"]["Name"]
    h1.cli("reset")
    wait_ended(h1)
    check_no_trace(pair, h1)

    h1.launch(["10.99.1.2"])
    h1.wait_ready()
    assert h1.report()["Router"]["Name"] != name


def test_reset_by_force_cleans_up_after_a_crash(pair: LabMesh, h1: Host) -> None:
    attach(pair)
    h1.kill()
    words = ["reset", "--state-dir", str(h1.state_dir)]
    assert "--force" in the_line(h1.cli(*words, check=False), 3)
    assert BRIDGE in our_devices(pair.lab, "h1")
    h1.cli(*words, "--force")
    check_no_trace(pair, h1)
    h1.cli(*words, "--force")  # again


def check_no_trace(mesh: LabMesh, host: Host) -> None:
    assert our_devices(mesh.lab, "h1") == set()
    assert our_devices(mesh.lab, "c1") == set()
    # The lock stays: two routers that lock two files of that name would not see each other.
    assert {path.name for path in host.state_dir.iterdir()} <= {"lock"}
