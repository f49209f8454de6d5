"""What each command sends, prints and exits with."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import types
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Protocol

import pytest

from weave_py.config import Config
from weave_py.host.locks import claim_bridge
from weave_py.host.state import StateDirectory
from weave_py.model.errors import ConfigError, HostError, StateError

Cli = Callable[..., tuple[int, str, str]]


class Router(Protocol):
    """The stand-in of conftest.py."""

    answers: dict[tuple[str, str], tuple[int, str]]
    requests: list[tuple[str, str, str]]
    stops: bool
    server: str
    address: str


def test_status_has_an_empty_line_before_and_after(cli: Cli, fake_router: Router) -> None:
    body = fake_router.answers["GET", "/status"][1]
    assert cli("status") == (0, f"\n{body}\n", "")


def test_a_router_that_is_starting_is_shown_and_fails(cli: Cli, fake_router: Router) -> None:
    body = fake_router.answers["GET", "/status"][1]
    fake_router.answers["GET", "/status"] = (503, body)
    assert cli("status") == (1, f"\n{body}\n", "")
    fake_router.answers["GET", "/status"] = (503, "the router is busy: try again\n")
    assert cli("status") == (1, "", "weave-py: the router is busy: try again\n")


def test_a_part_is_printed_as_it_is(cli: Cli, fake_router: Router) -> None:
    assert cli("status", "targets") == (0, "10.1.1.1\n", "")


def test_over_a_unix_socket(cli: Cli, unix_router: Router) -> None:
    assert cli("status", "targets", "--http-addr", unix_router.address) == (0, "10.1.1.1\n", "")


def test_json_of_all_and_of_a_part(cli: Cli, fake_router: Router) -> None:
    assert json.loads(cli("status", "--json")[1]) == json.loads(cli("report")[1])
    assert json.loads(cli("status", "targets", "-j")[1]) == ["10.1.1.1"]


def test_an_unknown_part_is_a_usage_error(cli: Cli, fake_router: Router) -> None:
    status, out, err = cli("status", "dns")
    assert (status, out) == (2, "")
    assert "Invalid 'weave-py status' sub-command: dns" in err
    assert fake_router.requests == []


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "peers"),
        ("report",),
        ("connect", "a"),
        ("forget", "a"),
        ("attach", "10.2.1.1/24", "c"),
        ("detach", "c"),
        ("expose", "10.2.1.1/24"),
        ("hide",),
    ],
)
@pytest.mark.usefixtures("no_router")
def test_without_a_router_the_exit_status_is_3(cli: Cli, words: tuple[str, ...]) -> None:
    status, out, err = cli(*words)
    assert (status, out) == (3, "")
    assert err == "weave-py: the router is not running here: start it with 'weave-py launch'\n"


def test_connect_and_forget(cli: Cli, fake_router: Router) -> None:
    assert cli("connect", "10.1.1.1", "[::1]:7000") == (0, "", "")
    assert cli("connect", "--replace") == (0, "", "")
    assert cli("forget", "10.1.1.1") == (0, "", "")
    assert fake_router.requests == [
        ("POST", "/connect", "peer=10.1.1.1&peer=%5B%3A%3A1%5D%3A7000"),
        ("POST", "/connect", "replace=true"),
        ("GET", "/status/targets", ""),
        ("POST", "/forget", "peer=10.1.1.1"),
    ]
    assert cli("connect")[0] == cli("forget")[0] == 2


def test_what_the_router_refuses_is_said_on_one_line(cli: Cli, fake_router: Router) -> None:
    fake_router.answers["POST", "/connect"] = (400, "bad: x\nbad: y\n")
    assert cli("connect", "x", "y") == (1, "", "weave-py: bad: x; bad: y\n")


def test_a_peer_that_makes_no_sense_is_a_usage_error(cli: Cli, fake_router: Router) -> None:
    fake_router.answers["POST", "/connect"] = (400, "bad: x:y\n")
    status, _, err = cli("connect", "10.1.1.1", "x:y")
    assert (status, err.count("\n")) == (2, 1)
    assert "bad: x:y" in err
    assert len(fake_router.requests) == 1  # the good one is kept


@pytest.mark.parametrize("command", ["connect", "forget"])
def test_a_peer_that_cannot_be_sent(cli: Cli, fake_router: Router, command: str) -> None:
    status, _, err = cli(command, "10.1.1.1", "\udcff")
    assert (status, err.count("\n")) == (2, 1)
    assert "'\\udcff' is not a peer" in err
    assert fake_router.requests == []


def test_forgetting_what_is_no_target_is_said(cli: Cli, fake_router: Router) -> None:
    status, out, err = cli("forget", "10.1.1.1", "x", "y")
    assert (status, out) == (0, "")
    assert err == "weave-py: no such target: x, y: see 'weave-py status targets'\n"
    assert fake_router.requests[-1] == ("POST", "/forget", "peer=10.1.1.1&peer=x&peer=y")


def test_version(cli: Cli, fake_router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = cli("version")
    assert (status, out.splitlines()[1:]) == (0, ["router 9.9.9"])
    monkeypatch.setenv("WEAVE_HTTP_ADDR", "/nonexistent/socket")
    assert cli("version") == (0, out.splitlines()[0] + "\n", "")


def test_what_answers_may_not_be_a_router(cli: Cli, fake_router: Router) -> None:
    fake_router.answers["GET", "/report"] = (200, "<html>")
    status, _, err = cli("report")
    assert status == 1
    assert "is not a weave-py router" in err


@pytest.mark.parametrize(
    "words",
    [
        ("stop",),
        ("connect", "10.1.1.1"),
        ("forget", "10.1.1.1"),
        ("status",),
        ("status", "peers"),
        ("report",),
        ("version",),
        ("reset", "--force"),
    ],
)
def test_another_server_is_recognised(
    cli: Cli, fake_router: Router, words: tuple[str, ...]
) -> None:
    fake_router.server = "SimpleHTTP/0.6 Python/3.11"
    status, _, err = cli(*words)
    assert status == 1
    assert err == f"weave-py: what answers on {fake_router.address} is not a weave-py router\n"


def test_what_answers_may_not_even_speak_http(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            one, _ = server.accept()
            with one:
                one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                one.recv(4096)

        thread = threading.Thread(target=greet)
        thread.start()
        place = f"127.0.0.1:{server.getsockname()[1]}"
        status, _, err = cli("stop", "--http-addr", place)
        thread.join()
    assert (status, err) == (1, f"weave-py: what answers on {place} is not a weave-py router\n")


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("words", [("stop",), ("status",), ("connect", "10.1.1.1"), ("hide",)])
def test_a_router_whose_api_is_elsewhere(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WEAVE_BRIDGE", "wv-test-else")
    with claim_bridge("wv-test-else"):
        status, out, err = cli(*words)
        assert (status, out, err.count("\n")) == (3, "", 1)
        assert "one runs on bridge wv-test-else: its control API is off or elsewhere" in err
        assert "--http-addr" in err
        monkeypatch.setenv("WEAVE_HTTP_ADDR", "off")
        assert "its control API is off or elsewhere" in cli(*words)[2]
    assert cli("stop") == (0, "", "weave-py is not running.\n")


def test_stop_waits_until_nothing_listens(cli: Cli, fake_router: Router) -> None:
    assert cli("stop") == (0, "", "")
    assert cli("status")[0] == 3


def test_stop_gives_up_on_a_router_that_goes_on(
    cli: Cli, fake_router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave_py.cli.control.STOP_SECONDS", 0.1)
    fake_router.stops = False
    status, _, err = cli("stop")
    assert status == 1
    assert "still runs" in err


@pytest.mark.usefixtures("no_router")
def test_stopping_what_does_not_run_is_fine(cli: Cli) -> None:
    assert cli("stop") == (0, "", "weave-py is not running.\n")


class Host:
    """Stands for `weave_py.host`: records what is asked of the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.failure: Exception | None = None
        monkeypatch.setattr("weave_py.host.netns.resolve_namespace", lambda target: f"ns:{target}")
        for name in ("attach", "detach", "expose", "hide"):
            monkeypatch.setattr(f"weave_py.host.attach.{name}", self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., list[str]]:
        def record(*words: Any, **more: Any) -> list[str]:
            if self.failure is not None:
                raise self.failure
            self.calls.append((name, *words, *more.items()))
            return list(words[-1]) or ["10.2.9.9/24"]

        return record


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_attaching_and_exposing(cli: Cli, fake_router: Router, host: Host) -> None:
    assert cli("attach", "ip:10.2.1.1/24", "10.2.2.1/24", "c1") == (0, "10.2.1.1 10.2.2.1\n", "")
    assert cli("attach", "--no-multicast-route", "fd00::1/64", "c1") == (0, "fd00::1\n", "")
    assert cli("detach", "c1") == (0, "10.2.9.9\n", "")
    assert cli("expose", "10.2.1.9/24") == (0, "10.2.1.9\n", "")
    assert cli("hide", "10.2.1.9/24") == (0, "10.2.1.9\n", "")
    pair = ["10.2.1.1/24", "10.2.2.1/24"]
    assert host.calls == [
        ("attach", "wv0", 1400, "ns:c1", pair, ("multicast_route", True)),
        ("attach", "wv0", 1400, "ns:c1", ["fd00::1/64"], ("multicast_route", False)),
        ("detach", "wv0", "ns:c1", []),
        ("expose", "wv0", ["10.2.1.9/24"]),
        ("hide", "wv0", ["10.2.1.9/24"]),
    ]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("attach", "c1"), "no address given"),
        (("attach", "net:10.2.0.0/16", "c1"), "not handed out yet"),
        (("attach", "net:default", "c1"), "not handed out yet"),
        (("attach", "10.2.1.1", "c1"), "prefix length"),
        (("expose", "10.2.1.300/24"), "prefix length"),
        (("hide", "c1"), "prefix length"),
        (("expose",), "Missing argument"),
        (("attach", "224.0.0.1/24", "c1"), "unicast"),
        (("expose", "127.0.0.1/8"), "unicast"),
        (("expose", "0.0.0.0/0"), "unicast"),
        (("attach", "ff02::1/64", "c1"), "unicast"),
        (("attach", "10.2.1.0/24", "c1"), "that of the network 10.2.1.0/24"),
        (("expose", "10.2.1.255/24"), "the broadcast address of 10.2.1.0/24"),
        (("expose", "10.2.1.3/30"), "broadcast"),
        (("expose", "fd00::/64"), "that of the network"),
    ],
)
def test_addresses_that_cannot_be_used(
    cli: Cli, fake_router: Router, host: Host, words: tuple[str, ...], hint: str
) -> None:
    status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err
    assert host.calls == fake_router.requests == []


@pytest.mark.parametrize("cidr", ["10.2.1.0/31", "10.2.1.1/31", "10.2.1.0/32", "fd00::/127"])
def test_addresses_of_small_networks(cli: Cli, fake_router: Router, host: Host, cidr: str) -> None:
    assert cli("expose", cidr)[0] == 0
    assert cli("hide", "10.2.1.0/24")[0] == 0  # what there may have been is taken away


def test_taking_away_what_is_not_there_is_said(
    cli: Cli, fake_router: Router, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave_py.host.attach.hide", lambda *_: [])
    monkeypatch.setattr("weave_py.host.attach.detach", lambda *_: ["10.2.1.1/24"])
    assert cli("hide", "10.2.1.1/24") == (
        0,
        "",
        "weave-py: not there: 10.2.1.1/24: see 'ip address'\n",
    )
    assert cli("hide")[::2] == (
        0,
        "weave-py: there was no address to take away: see 'ip address'\n",
    )
    assert cli("detach", "10.2.1.1/24", "10.2.1.2/24", "c1") == (
        0,
        "10.2.1.1\n",
        "weave-py: not there: 10.2.1.2/24: see 'ip address'\n",
    )


def _refused() -> HostError:
    try:
        raise PermissionError(1, "no")
    except PermissionError:
        try:
            raise HostError("needs CAP_NET_ADMIN: run as root") from None
        except HostError as error:
            return error


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (HostError("address in use"), 1),
        (_refused(), 4),
        (StateError("damaged"), 78),
        (ConfigError("bad bridge"), 78),
    ],
)
def test_failures_have_their_exit_status_and_one_line(
    cli: Cli, fake_router: Router, host: Host, failure: Exception, status: int
) -> None:
    host.failure = failure
    assert cli("expose", "10.2.1.9/24") == (status, "", f"weave-py: {failure}\n")


class Kernel:
    """Stands for Netlink, as a context manager, and remembers what was deleted."""

    def __init__(self, ports: list[str], exists: bool = True) -> None:
        self._ports, self.exists, self.deleted = ports, exists, list[str]()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def link_exists(self, ifname: str) -> bool:
        return self.exists

    def is_our_bridge(self, name: str) -> bool:
        return self.exists

    def ports(self, bridge: str) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(ifname=name) for name in self._ports]

    def delete_link(self, ifname: str) -> None:
        self.deleted.append(ifname)

    def delete_bridge(self, name: str) -> None:
        self.deleted.append(f"bridge {name}")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(["wvt1", "vethwepl1a", "eth7"])
    monkeypatch.setattr("weave_py.host.netlink.Netlink", lambda: kernel)
    monkeypatch.setattr("weave_py.host.privileges.may_administer", lambda: True)
    monkeypatch.setattr("fastdp.traces.remove", lambda bridge: None)
    return kernel


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    wiped: list[Path] = []

    class State:
        def __init__(self, path: Path) -> None:
            self.wipe: Callable[[], None] = lambda: wiped.append(path)
            self.lock = nullcontext

    monkeypatch.setattr("weave_py.host.state.StateDirectory", State)
    return wiped


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """One in which a router was."""
    (tmp_path / "identity.json").touch()
    return tmp_path


def test_reset_takes_what_the_running_router_used(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    runs_with(fake_router, state_dir)
    assert cli("reset") == (
        0,
        f"deleted bridge wv0 and the state in {state_dir}, identity included\n",
        "",
    )
    assert kernel.deleted == ["wvt1", "vethwepl1a", "bridge wv0"]
    assert wiped == [state_dir]
    assert cli("status")[0] == 3


def runs_with(router: Router, state_dir: Path) -> None:
    report = json.loads(router.answers["GET", "/report"][1])
    report["Router"]["StateDir"] = str(state_dir)
    router.answers["GET", "/report"] = (200, json.dumps(report))


@pytest.mark.usefixtures("no_router")
def test_reset_of_what_does_not_run_needs_force(
    cli: Cli, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    status, _, err = cli("reset", "--state-dir", str(state_dir))
    assert status == 3
    assert "--force" in err
    assert kernel.deleted == []
    assert wiped == []
    assert cli("reset", "--force", "--bridge", "b2", "--state-dir", str(state_dir))[0] == 0
    assert kernel.deleted == ["wvt1", "vethwepl1a", "bridge b2"]
    assert wiped == [state_dir]


@pytest.mark.usefixtures("no_router")
def test_reset_tells_only_of_what_there_was(
    cli: Cli, kernel: Kernel, wiped: list[Path], tmp_path: Path
) -> None:
    words = ("reset", "--force", "--bridge", "b2", "--state-dir", str(tmp_path))
    assert cli(*words) == (0, "deleted bridge b2\n", "")
    kernel.exists = False
    assert cli(*words) == (0, "there was nothing to delete\n", "")
    assert wiped == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "targets.json.bak").touch()
    assert cli(*words) == (0, f"deleted the state in {tmp_path}, identity included\n", "")


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_reset_leaves_the_bridge_of_a_router_that_does_not_answer(
    cli: Cli, kernel: Kernel, wiped: list[Path], state_dir: Path, force: list[str]
) -> None:
    words = ("reset", "--bridge", "wv-test-reset", "--state-dir", str(state_dir), *force)
    with claim_bridge("wv-test-reset"):
        status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "another weave-py router runs on bridge wv-test-reset" in err
    assert kernel.deleted == []
    assert wiped == []


def test_reset_stops_no_router_for_the_bridge_of_another(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    runs_with(fake_router, state_dir)
    with claim_bridge("wv-test-reset"):
        status, _, err = cli("reset", "--bridge", "wv-test-reset")
    assert status == 1
    assert "another weave-py router" in err
    assert [method for method, *_ in fake_router.requests] == ["GET"]
    assert wiped == []


def test_reset_stops_no_router_for_the_state_of_another(
    cli: Cli, fake_router: Router, kernel: Kernel, tmp_path: Path, state_dir: Path
) -> None:
    runs_with(fake_router, tmp_path / "other")
    with StateDirectory(state_dir).lock():
        status, _, err = cli("reset", "--state-dir", str(state_dir))
    assert status == 78
    assert "another weave-py router (pid" in err
    assert [method for method, *_ in fake_router.requests] == ["GET"]
    assert kernel.deleted == []


def test_reset_waits_until_the_router_let_go_of_its_bridge(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    runs_with(fake_router, state_dir)
    claim = ExitStack()
    claim.enter_context(claim_bridge("wv0"))
    timer = threading.Timer(0.5, claim.close)
    timer.start()
    assert cli("reset")[0] == 0
    timer.join()
    assert kernel.deleted == ["wvt1", "vethwepl1a", "bridge wv0"]


def test_who_may_not_reset_stops_no_router(
    cli: Cli,
    fake_router: Router,
    kernel: Kernel,
    wiped: list[Path],
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs_with(fake_router, state_dir)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    status, out, err = cli("reset")
    assert (status, out) == (4, "")
    assert err == (
        f"weave-py: no permission to delete the state in {state_dir}: run as root (sudo)\n"
    )
    monkeypatch.setattr("weave_py.host.privileges.may_administer", lambda: False)
    status, _, err = cli("reset")
    assert status == 4
    assert err.endswith("CAP_NET_ADMIN: run as root (sudo)\n")
    assert {method for method, *_ in fake_router.requests} == {"GET"}
    assert kernel.deleted == []
    assert wiped == []


@pytest.mark.usefixtures("no_router")
def test_reset_of_a_directory_that_is_not_its_own(cli: Cli, kernel: Kernel) -> None:
    for path in ("/", "/etc", ""):
        status, _, err = cli("reset", "--force", "--state-dir", path)
        assert (status, err.count("\n")) == (78, 1)
        assert "--state-dir" in err
    assert kernel.deleted == []


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Replaces the daemon; the configs it was run with."""
    configs: list[Config] = []

    def run(config: Config) -> int:
        configs.append(config)
        return 0

    daemon = types.ModuleType("weave_py.runtime.daemon")
    daemon.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weave_py.runtime.daemon", daemon)
    return configs


@pytest.mark.usefixtures("no_router")
def test_launch_resolves_flags_and_environment(
    cli: Cli, launched: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_PASSWORD", "hunter2")
    monkeypatch.setenv("WEAVE_NO_FASTDP", "1")
    monkeypatch.setenv("WEAVE_PORT", "7000")
    assert cli("launch", "--port", "7001", "--no-discovery", "10.1.1.1") == (0, "", "")
    (config,) = launched
    assert (config.port, config.password, config.fastdp, config.discovery) == (
        7001,
        "hunter2",
        False,
        False,
    )
    assert [peer.text for peer in config.peers] == ["10.1.1.1"]
    assert "WEAVE_PASSWORD" not in os.environ


@pytest.mark.usefixtures("no_router")
def test_a_password_on_the_command_line_is_warned_about(cli: Cli, launched: list[Config]) -> None:
    status, out, err = cli("launch", "--password", "hunter2")
    assert (status, out) == (0, "")
    assert "process list" in err
    assert "hunter2" not in err
    assert launched[0].password == "hunter2"


@pytest.mark.usefixtures("no_router")
def test_a_password_file_for_all_to_read_is_warned_about(
    cli: Cli, launched: list[Config], tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("hunter2")
    path.chmod(0o644)
    warned = f"weave-py: warning: others can read the password file: chmod 600 {path}\n"
    assert cli("launch", "--password-file", str(path)) == (0, "", warned)
    path.chmod(0o600)
    assert cli("launch", "--password-file", str(path)) == (0, "", "")
    assert [config.password for config in launched] == ["hunter2", "hunter2"]


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("peer", ["10.1.1.1:99999", "0.0.0.0", "fe80::1", "\udcff"])
def test_a_peer_that_makes_no_sense_stops_a_launch(
    cli: Cli, launched: list[Config], peer: str
) -> None:
    status, _, err = cli("launch", "10.1.1.1", peer)
    assert (status, err.count("\n")) == (2, 1)
    assert "not a peer address" in err
    assert launched == []


@pytest.mark.usefixtures("no_router")
def test_a_bad_setting_is_78_and_a_bad_flag_2(cli: Cli, launched: list[Config]) -> None:
    status, _, err = cli("launch", "--mtu", "9")
    assert (status, err.count("\n")) == (78, 1)
    assert cli("launch", "--mut", "9")[0] == 2
    assert launched == []


def test_a_second_router_is_refused(cli: Cli, fake_router: Router, launched: list[Config]) -> None:
    status, _, err = cli("launch")
    assert status == 1
    assert "already running" in err
    assert launched == []


def test_demo_passes_on_what_it_was_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []

    def run_demo(**words: object) -> int:
        told.append(words)
        return 1

    demo = types.ModuleType("weave_py.lab.demo")
    demo.run_demo = run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weave_py.lab.demo", demo)
    assert cli("demo", "--hosts", "4", "--topology", "ring", "--once")[0] == 1
    assert told == [
        {"hosts": 4, "topology": "ring", "once": True, "password": None, "keep_logs": False}
    ]
    assert cli("demo", "--topology", "knot")[0] == 2
