"""What each command sends, prints and exits with."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from weave_py.config import Config
from weave_py.model.errors import ConfigError, HostError, StateError

Cli = Callable[..., tuple[int, str, str]]


class Router(Protocol):
    """The stand-in of conftest.py."""

    answers: dict[tuple[str, str], tuple[int, str]]
    requests: list[tuple[str, str, str]]
    stops: bool
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
    assert cli("forget", "a") == (0, "", "")
    assert fake_router.requests == [
        ("POST", "/connect", "peer=10.1.1.1&peer=%5B%3A%3A1%5D%3A7000"),
        ("POST", "/connect", "replace=true"),
        ("POST", "/forget", "peer=a"),
    ]
    assert cli("connect")[0] == cli("forget")[0] == 2


def test_what_the_router_refuses_is_said_on_one_line(cli: Cli, fake_router: Router) -> None:
    fake_router.answers["POST", "/connect"] = (400, "bad: x\nbad: y\n")
    assert cli("connect", "x", "y") == (1, "", "weave-py: bad: x; bad: y\n")


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
    ],
)
def test_addresses_that_cannot_be_used(
    cli: Cli, fake_router: Router, host: Host, words: tuple[str, ...], hint: str
) -> None:
    status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err
    assert host.calls == fake_router.requests == []


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
        self._ports, self._exists, self.deleted = ports, exists, list[str]()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def link_exists(self, ifname: str) -> bool:
        return self._exists

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
    return kernel


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    wiped: list[Path] = []

    class State:
        def __init__(self, path: Path) -> None:
            self.wipe: Callable[[], None] = lambda: wiped.append(path)

    monkeypatch.setattr("weave_py.host.state.StateDirectory", State)
    return wiped


def test_reset_takes_what_the_running_router_used(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], tmp_path: Path
) -> None:
    report = json.loads(fake_router.answers["GET", "/report"][1])
    report["Router"]["StateDir"] = str(tmp_path)
    fake_router.answers["GET", "/report"] = (200, json.dumps(report))
    status, out, err = cli("reset")
    assert (status, err) == (0, "")
    assert "identity included" in out
    assert kernel.deleted == ["wvt1", "vethwepl1a", "bridge wv0"]
    assert wiped == [tmp_path]
    assert cli("status")[0] == 3


@pytest.mark.usefixtures("no_router")
def test_reset_of_what_does_not_run_needs_force(
    cli: Cli, kernel: Kernel, wiped: list[Path], tmp_path: Path
) -> None:
    status, _, err = cli("reset", "--state-dir", str(tmp_path))
    assert status == 1
    assert "--force" in err
    assert kernel.deleted == []
    assert wiped == []
    assert cli("reset", "--force", "--bridge", "b2", "--state-dir", str(tmp_path))[0] == 0
    assert kernel.deleted == ["wvt1", "vethwepl1a", "bridge b2"]
    assert wiped == [tmp_path]


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
