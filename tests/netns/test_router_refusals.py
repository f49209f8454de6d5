"""Does every mistake get one line that says what to do, a status, and does it cost nothing?

On h1 a router runs and c1 is attached; on h2 none runs, and every launch there fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.kit.inside import inside, tcp_listener, udp_socket
from tests.kit.routers import our_devices, the_line
from tests.kit.waiting import until
from weave_py.host.run_directory import api_socket
from weave_py.lab.hosts import Host
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

FAILED, USAGE, NOT_RUNNING, PERMISSION, CONFIG = 1, 2, 3, 4, 78
WEAVE = (sys.executable, "-m", "weave_py")
AS_A_USER = ("setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all")
WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(build("full", 3)) as found:
        yield found


@pytest.fixture(scope="module")
def mesh(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """Routers on h1 and h3."""
    with LabMesh(lab, tmp_path_factory.mktemp("mesh")) as found:
        for name in ("h1", "h3"):
            found[name].launch([] if name == "h1" else ["10.99.1.1"])
        for name in ("h1", "h3"):
            found[name].wait_ready()
            found.attach_one(found[name])
        found.wait_reachable(20)
        yield found


@pytest.fixture(scope="module")
def h1(mesh: LabMesh) -> Host:
    return mesh["h1"]


def weave(lab: Lab, host: str, *words: str, extra: Mapping[str, str] | None = None) -> Done:
    return lab.exec(host, [*WEAVE, *words], check=False, extra=extra)


def refused_launch(
    lab: Lab, state: Path, status: int, *words: str, extra: Mapping[str, str] | None = None
) -> str:
    """The line with which a launch on h2 is refused; nothing is left of it."""
    done = weave(lab, "h2", "launch", "--state-dir", str(state), *words, extra=extra)
    assert our_devices(lab, "h2") == set()
    return the_line(done, status)


def content(directory: Path) -> dict[str, bytes]:
    """All that a state directory keeps."""
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*.json*"))}


# --- launch


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--no-such-flag"], USAGE, ["--no-such-flag", "weave-py launch --help"]),
        (["--mtu", "100"], CONFIG, ["--mtu = '100' (from the command line)", "576"]),
        (["--mtu", "large"], CONFIG, ["--mtu = 'large'", "576"]),
        (["--port", "70000"], CONFIG, ["--port = '70000'", "1 to 65535"]),
        (["--host", "h2.example"], CONFIG, ["--host = 'h2.example'", "numeric"]),
        (["--host", "192.0.2.1"], FAILED, ["192.0.2.1", "no interface of this host"]),
        (["--http-addr", "0.0.0.0:6784"], CONFIG, ["0.0.0.0:6784", "loopback"]),
        (["--bridge", "lo"], FAILED, ["lo", "not a bridge", "--bridge"]),
        (["--bridge", "a/b"], CONFIG, ["--bridge = 'a/b'", "interface name"]),
        (["--trusted-subnets", "10.0.0.1/8"], CONFIG, ["10.0.0.1/8", "10.0.0.0/8"]),
        (["--log-level", "loud"], CONFIG, ["--log-level = 'loud'", "debug"]),
        (["--password-file", "/no/such/file"], CONFIG, ["/no/such/file", "No such file"]),
        (["--password-file", "/proc/self"], CONFIG, ["/proc/self", "directory"]),
        (["--password-file", "/dev/null"], CONFIG, ["/dev/null", "empty"]),
        (
            ["--port", "6784", "--http-addr", "[::1]:6784"],
            CONFIG,
            ["--port and --http-addr are the same port, 6784"],
        ),
        (["--http-addr", "/etc"], CONFIG, ["--http-addr = '/etc'", "not a socket"]),
        (["10.99.1.1:99999"], USAGE, ["10.99.1.1:99999"]),
        (["255.255.255.255"], USAGE, ["255.255.255.255", "many hosts"]),
        (["--resume", "10.99.1.1"], CONFIG, ["--resume", "not both"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) < 3 else "",
)
def test_a_launch_that_makes_no_sense(
    lab: Lab, tmp_path: Path, words: list[str], status: int, said: list[str]
) -> None:
    line = refused_launch(lab, tmp_path / "state", status, *words)
    for part in said:
        assert part in line


def test_the_environment_is_checked_like_the_command_line(lab: Lab, tmp_path: Path) -> None:
    line = refused_launch(lab, tmp_path, CONFIG, extra={"WEAVE_MTU": "100"})
    assert "--mtu = '100' (from WEAVE_MTU)" in line
    assert "WEAVE_PASSWORD is empty" in refused_launch(
        lab, tmp_path, CONFIG, extra={"WEAVE_PASSWORD": ""}
    )


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
def test_the_port_is_taken(lab: Lab, tmp_path: Path, kind: str) -> None:
    taken = tcp_listener if kind == "TCP" else udp_socket
    with taken(lab, "h2", "0.0.0.0", 6783):
        line = refused_launch(lab, tmp_path, FAILED)
    assert f"{kind} port 6783 is in use by " in line
    assert "--port" in line


def test_without_the_capability(lab: Lab, tmp_path: Path) -> None:
    words = [*WITHOUT_NET_ADMIN, *WEAVE, "launch", "--state-dir", str(tmp_path / "state")]
    line = the_line(lab.exec("h2", words, check=False), PERMISSION)
    assert "CAP_NET_ADMIN" in line
    assert "root" in line
    assert not (tmp_path / "state").exists()


@pytest.fixture(scope="module")
def used_state(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a router that ran on h2 and had targets."""
    host = Host(lab, "h2", tmp_path_factory.mktemp("used"))
    host.launch(["192.0.2.1"])
    try:
        host.wait_ready()
    finally:
        host.stop()
    files = {f"{name}.json" for name in ("epoch", "identity", "targets")}
    assert set(content(host.state_dir)) == files | {f"{name}.bak" for name in files}
    return host.state_dir


def test_secrets_that_others_could_read(lab: Lab, used_state: Path) -> None:
    good = content(used_state)
    for name in ("identity.json", "identity.json.bak"):
        path = used_state / name
        path.chmod(0o644)
        try:
            line = refused_launch(lab, used_state, CONFIG)
        finally:
            path.chmod(0o600)
        assert f"{path} holds secrets and others can access it: chmod 600 {path}" in line
    assert content(used_state) == good


def test_state_of_a_newer_version(lab: Lab, used_state: Path) -> None:
    path = used_state / "targets.json"
    good = content(used_state)
    path.write_bytes(good["targets.json"].replace(b'"format":1', b'"format":2'))
    newer = content(used_state)
    try:
        assert "a newer weave-py wrote it" in refused_launch(lab, used_state, CONFIG)
        assert content(used_state) == newer
    finally:
        path.write_bytes(good["targets.json"])


def test_state_that_others_could_change(lab: Lab, used_state: Path) -> None:
    used_state.chmod(0o777)
    try:
        line = refused_launch(lab, used_state, CONFIG)
    finally:
        used_state.chmod(0o700)
    assert f"chmod 700 {used_state}" in line


# --- a second router


def test_a_second_router(h1: Host, lab: Lab, tmp_path: Path) -> None:
    before = content(h1.state_dir)
    line = the_line(weave(lab, "h1", "launch", "--state-dir", str(tmp_path)), FAILED)
    assert "already running" in line
    assert "weave-py stop" in line
    elsewhere = ["--http-addr", "off", "--port", "6790", "--state-dir", str(tmp_path)]
    line = the_line(weave(lab, "h1", "launch", *elsewhere), FAILED)
    assert "already running on bridge weave" in line
    assert "--bridge" in line
    # h2 is another host, but the directory is the same.
    line = refused_launch(lab, h1.state_dir, CONFIG)
    assert f"another weave-py router (pid {h1.pid}) uses {h1.state_dir}" in line
    assert content(h1.state_dir) == before
    assert h1.running
    assert ping(lab, "c1", "10.32.0.3").reached


# --- nothing runs


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "paths"],
        ["status", "--json"],
        ["report"],
        ["connect", "10.99.1.1"],
        ["forget", "10.99.1.1"],
        ["attach", "10.32.0.2/24", "c2"],
        ["detach", "c2"],
        ["expose", "10.32.0.2/24"],
        ["hide"],
    ],
    ids=" ".join,
)
def test_no_router_runs(lab: Lab, words: Sequence[str]) -> None:
    line = the_line(weave(lab, "h2", *words), NOT_RUNNING)
    assert "weave-py launch" in line


def test_stopping_what_does_not_run_is_no_mistake(lab: Lab) -> None:
    done = weave(lab, "h2", "stop")
    assert (done.returncode, done.stdout) == (0, "")
    line = the_line(weave(lab, "h2", "reset", "--state-dir", "/no/such/directory"), NOT_RUNNING)
    assert "weave-py reset --force" in line


# --- workloads


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["attach", "10.32.0.300/24", "TARGET"], USAGE, ["10.32.0.300/24", "10.2.1.1/24"]),
        (["attach", "10.32.0.9", "TARGET"], USAGE, ["'10.32.0.9'", "prefix length"]),
        (["attach", "10.32.0.9/33", "TARGET"], USAGE, ["10.32.0.9/33"]),
        (["attach", "224.0.0.1/24", "TARGET"], USAGE, ["224.0.0.1/24", "unicast"]),
        (["attach", "10.32.0.255/24", "TARGET"], USAGE, ["10.32.0.255/24", "broadcast"]),
        (["expose", "10.32.0.0/24"], USAGE, ["10.32.0.0/24", "network"]),
        (["connect", "10.99.1.1:99999"], USAGE, ["10.99.1.1:99999"]),
        (["attach", "TARGET"], USAGE, ["no address given"]),
        (["attach"], USAGE, ["weave-py attach --help"]),
        (["attach", "10.32.0.9/24", "/run/netns/no-such"], FAILED, ["no such namespace"]),
        (["attach", "10.32.0.9/24", "no-such-container"], FAILED, ["no-such-container"]),
        (["attach", "10.32.0.9/24", "999999999"], FAILED, ["no such namespace: 999999999"]),
        (["attach", "10.32.0.9/24", "/etc/passwd"], FAILED, ["not a network namespace"]),
        (["attach", "10.32.0.3/24", "TARGET"], FAILED, ["10.32.0.3 is already in use", "MAC"]),
        (["attach", "10.32.0.9/24", "10.32.0.3/24", "TARGET"], FAILED, ["already in use"]),
        (["detach", "OTHER"], FAILED, ["not attached to bridge weave"]),
        (["expose", "nonsense"], USAGE, ["'nonsense'", "10.2.1.1/24"]),
        (["expose", "10.32.0.3/24"], FAILED, ["10.32.0.3 is already in use"]),
        (["expose", "10.99.1.77/25"], FAILED, ["overlaps the route to 10.99.1.0/24", "--force"]),
        (["hide", "10.32.0.1"], USAGE, ["10.32.0.1"]),
        (["status", "nonsense"], USAGE, ["nonsense", "connections"]),
        (["nonsense"], USAGE, ["unknown command 'nonsense'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_done(
    h1: Host, lab: Lab, words: list[str], status: int, said: list[str]
) -> None:
    places = {"TARGET": str(lab.path("c1")), "OTHER": str(lab.path("c2"))}
    before = everything(lab)
    line = the_line(weave(lab, "h1", *(places.get(word, word) for word in words)), status)
    for part in said:
        assert part in line
    assert everything(lab) == before
    assert h1.running


def test_a_new_container_with_a_taken_address_stays_unplugged(h1: Host, lab: Lab) -> None:
    before = everything(lab)
    done = weave(lab, "h1", "attach", "10.32.0.3/24", str(lab.path("c2")))
    assert "already in use" in the_line(done, FAILED)
    assert everything(lab) == before
    assert our_devices(lab, "c2") == set()


def test_attaching_without_the_capability(h1: Host, lab: Lab) -> None:
    before = everything(lab)
    words = [*WITHOUT_NET_ADMIN, *WEAVE, "attach", "10.32.0.9/24", str(lab.path("c2"))]
    line = the_line(lab.exec("h1", words, check=False), PERMISSION)
    assert "CAP_NET_ADMIN" in line
    assert everything(lab) == before


@pytest.mark.parametrize("words", [["attach", "10.32.0.9/24", "TARGET"], ["detach", "TARGET"]])
def test_attaching_as_a_user(h1: Host, lab: Lab, words: list[str]) -> None:
    before = everything(lab)
    known = [str(lab.path("c1")) if word == "TARGET" else word for word in words]
    done = lab.exec("h1", [*AS_A_USER, *WEAVE, *known], check=False)
    assert "run as root" in the_line(done, PERMISSION)
    assert everything(lab) == before


# --- reset, and routers that do not answer


def test_reset_without_rights_stops_nothing(h1: Host, lab: Lab) -> None:
    before = everything(lab)
    reset = [*WEAVE, "reset", "--state-dir", str(h1.state_dir)]
    for prefix in (WITHOUT_NET_ADMIN, AS_A_USER):
        line = the_line(lab.exec("h1", [*prefix, *reset], check=False), PERMISSION)
        assert line.endswith("run as root (sudo)")
    assert h1.running
    assert everything(lab) == before


def test_a_router_that_does_not_answer_keeps_its_bridge(lab: Lab, tmp_path: Path) -> None:
    """Somebody has removed its socket."""
    words = [*WEAVE, "launch", "--state-dir", str(tmp_path / "state")]
    with (tmp_path / "log").open("wb") as log:
        router = lab.popen("h2", words, log=log)
    try:
        until(lambda: "router started" in (tmp_path / "log").read_text(), 10, "the router runs")
        devices = our_devices(lab, "h2")
        os.unlink(inside(lab, "h2", lambda: api_socket("weave")))
        for given in (["reset"], ["reset", "--force"]):
            line = the_line(weave(lab, "h2", *given), FAILED)
            assert "a weave-py router runs on bridge weave and does not answer" in line
        for given in (["stop"], ["status"], ["hide"]):
            line = the_line(weave(lab, "h2", *given), NOT_RUNNING)
            assert "one runs on bridge weave: it is starting or ending" in line
        assert our_devices(lab, "h2") == devices
        assert router.poll() is None
        assert weave(lab, "h2", "doctor").returncode == 0
    finally:
        router.terminate()
        router.wait(10)
    assert our_devices(lab, "h2") == set()


def test_a_port_that_doctor_finds_taken(lab: Lab) -> None:
    with tcp_listener(lab, "h2", "0.0.0.0", 6783):
        done = weave(lab, "h2", "doctor")
    assert done.returncode == FAILED
    assert "6783 is in use by python" in done.stdout or "pytest" in done.stdout


def everything(lab: Lab) -> list[str]:
    """Devices and addresses on h1 and in c1."""
    shown = [lab.exec(name, ["ip", "-o", "addr"]).stdout for name in ("h1", "c1")]
    return sorted(line.split(" scope ")[0] for text in shown for line in text.splitlines())
