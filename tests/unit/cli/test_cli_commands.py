"""What each command sends, prints and exits with."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import types
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.kit.commands import Cli, Router
from tests.kit.lying_server import lying_server
from tests.unit.cli.conftest import FakeRouter
from weave_py import __version__
from weave_py.host.locks import claim_bridge
from weave_py.host.run_directory import api_socket
from weave_py.model.errors import ConfigError, HostError, StateError

COMMANDS = [
    ("status",),
    ("status", "peers"),
    ("report",),
    ("version",),
    ("connect", "10.1.1.1"),
    ("forget", "10.1.1.1"),
    ("attach", "10.2.1.1/24", "c"),
    ("detach", "c"),
    ("expose", "10.2.1.1/24"),
    ("hide",),
    ("stop",),
    ("reset",),
    ("reset", "--force"),
]
"""All that ask a router."""


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
        assert "one runs on bridge wv-test-else: it is starting or ending" in err
        assert "--http-addr" in err
        monkeypatch.setenv("WEAVE_HTTP_ADDR", "off")
        assert "it is starting or ending" in cli(*words)[2]
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
        monkeypatch.setattr(
            "weave_py.workloads.netns.resolve_namespace", lambda target: f"ns:{target}"
        )
        for name in ("attach", "detach", "expose", "hide"):
            monkeypatch.setattr(f"weave_py.workloads.attach.{name}", self._recorder(name))

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
    pair, six = ["10.2.1.1/24", "10.2.2.1/24"], ["fd00::1/64"]
    assert host.calls == [
        ("attach", "wv0", 1400, "ns:c1", pair, ("multicast_route", True), ("force", False)),
        ("attach", "wv0", 1400, "ns:c1", six, ("multicast_route", False), ("force", False)),
        ("detach", "wv0", "ns:c1", []),
        ("expose", "wv0", ["10.2.1.9/24"], ("peers", set()), ("force", False)),
        ("hide", "wv0", ["10.2.1.9/24"]),
    ]


def test_insisting(cli: Cli, fake_router: Router, host: Host) -> None:
    """t18"""
    assert cli("attach", "--force", "10.2.1.1/24", "c1")[0] == 0
    assert cli("expose", "--force", "10.2.1.1/24")[0] == 0
    assert [call[-1] for call in host.calls] == [("force", True)] * 2


def test_where_peers_are_is_to_stay_reachable(cli: Cli, fake_router: Router, host: Host) -> None:
    """t18: connections that stand, and direct paths; not what is merely tried."""
    report = json.loads(fake_router.answers["GET", "/report"][1])
    report["Router"]["Connections"] = [
        {"State": "established", "Address": "10.66.0.2:6783"},
        {"State": "established", "Address": "[fe80::1%eth0]:6783"},
        {"State": "retrying", "Address": "172.17.0.1:6783"},
        {"State": "established", "Address": "somewhere"},
    ]
    report["Router"]["Paths"] = [
        {"Kind": "fastdp", "Address": "[fd66::2]:6783"},
        {"Kind": "relay", "Address": "10.66.0.9:6783"},
    ]
    fake_router.answers["GET", "/report"] = (200, json.dumps(report))
    assert cli("expose", "10.2.1.1/24")[0] == 0
    peers = {ip_address(each) for each in ("10.66.0.2", "fe80::1", "fd66::2")}
    assert host.calls == [("expose", "wv0", ["10.2.1.1/24"], ("peers", peers), ("force", False))]


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
    monkeypatch.setattr("weave_py.workloads.attach.hide", lambda *_: [])
    monkeypatch.setattr("weave_py.workloads.attach.detach", lambda *_: ["10.2.1.1/24"])
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


@pytest.mark.parametrize(
    "words",
    [("attach", "10.2.1.1/24", "c1"), ("detach", "c1"), ("expose", "10.2.1.9/24"), ("hide",)],
)
@pytest.mark.parametrize(
    "claim", [{"Bridge": "docker0", "MTU": 1400}, {"Bridge": "wv0", "MTU": "1"}, {"MTU": 10**9}]
)
def test_no_bridge_is_taken_from_an_answer(
    cli: Cli, fake_router: Router, host: Host, words: tuple[str, ...], claim: dict[str, object]
) -> None:
    """F4: the bridge to plug into is the one that we were told of."""
    fake_router.answers["GET", "/report"] = (200, json.dumps({"Router": claim}))
    status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert host.calls == []


@pytest.mark.skipif(os.geteuid() != 0, reason="has another user listen")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_another_users_server_is_not_believed(
    cli: Cli, host: Host, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    """F4: a user listens where a router might, and answers as one. He is not even asked."""
    with lying_server(kind, tmp_path) as (place, asked):
        status, out, err = cli(*words, "--http-addr", place)
        assert asked() == ""
    assert (status, err.count("\n")) == (1, 1)
    assert f"what listens on {place} belongs to user 65534" in err
    assert host.calls == []
    assert out in ("", f"weave-py {__version__}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="has another user listen")
def test_who_has_not_accepted_is_not_taken_for_root(cli: Cli, tmp_path: Path) -> None:
    """F4: of a connection that waits to be accepted the kernel names no owner, but user 0."""
    with lying_server("tcp", tmp_path, accepts=False) as (place, _):
        status, _, err = cli("stop", "--http-addr", place)
    assert (status, err) == (1, f"weave-py: the router on {place} does not answer\n")


def test_the_routers_own_socket_comes_first(
    cli: Cli, fake_router: Router, run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the environment is the router's setting, and asked if its socket is not there;
    a flag is meant."""
    own = FakeRouter(Path(api_socket("wv0")))
    try:
        assert cli("status", "targets") == (0, "10.1.1.1\n", "")
        assert (len(own.requests), len(fake_router.requests)) == (1, 0)
        assert cli("status", "targets", "--http-addr", fake_router.address)[0] == 0
        assert cli("status", "targets", "--bridge", "wv1")[0] == 0
        assert (len(own.requests), len(fake_router.requests)) == (1, 2)
        monkeypatch.setenv("WEAVE_HTTP_ADDR", "off")
        assert cli("status", "targets")[0] == 0
        assert cli("status", "targets", "--bridge", "wv1")[0] == 3
    finally:
        own.close()
    assert cli("status", "targets")[0] == 3
    assert len(own.requests) == 2
