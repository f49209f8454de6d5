"""Does `reset` delete all that is ours, nothing else, and only if it may?"""

from __future__ import annotations

import json
import threading
import types
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from tests.kit.commands import Cli, Router
from weave_py.host.locks import claim_bridge
from weave_py.host.run_directory import api_socket
from weave_py.host.state.directory import StateDirectory


class Kernel:
    """Stands for Netlink, as a context manager, and remembers what was deleted."""

    def __init__(self, ports: list[str], exists: bool = True) -> None:
        self._ports, self.exists, self.deleted = ports, exists, list[str]()
        self.is_ours = True

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def link_exists(self, ifname: str) -> bool:
        return self.exists

    def is_our_bridge(self, name: str) -> bool:
        return self.exists and self.is_ours

    def our_ports(self, bridge: str) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(ifname=name) for name in self._ports]

    def delete_link(self, ifname: str) -> None:
        self.deleted.append(ifname)

    def delete_bridge(self, name: str) -> None:
        self.deleted.append(f"bridge {name}")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(["vethwepl1a"])
    monkeypatch.setattr("weave_py.host.netlink.Netlink", lambda: kernel)
    monkeypatch.setattr("weave_py.host.privileges.may_administer", lambda: True)
    monkeypatch.setattr("fastdp.cleanup.remove", lambda bridge: None)
    rules = "weave_py.host.firewall.keeper.remove"
    monkeypatch.setattr(rules, lambda bridge: kernel.deleted.append(f"rules of {bridge}"))
    return kernel


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    wiped: list[Path] = []

    class State:
        def __init__(self, path: Path) -> None:
            self.wipe: Callable[[], None] = lambda: wiped.append(path)
            self.lock = nullcontext
            self.holds_state = True

    monkeypatch.setattr("weave_py.host.state.directory.StateDirectory", State)
    return wiped


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """One in which a router was."""
    (tmp_path / "identity.json").touch()
    return tmp_path


def test_reset_takes_what_it_was_told_of_if_the_running_router_uses_that(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    runs_with(fake_router, state_dir)
    assert cli("reset", "--state-dir", str(state_dir)) == (
        0,
        f"deleted bridge wv0 and the state in {state_dir}, identity included\n",
        "",
    )
    assert kernel.deleted == ["vethwepl1a", "bridge wv0", "rules of wv0"]
    assert wiped == [state_dir]
    assert cli("status")[0] == 3


def runs_with(router: Router, state_dir: Path) -> None:
    report = json.loads(router.answers["GET", "/report"][1])
    report["Router"]["StateDir"] = str(state_dir)
    router.answers["GET", "/report"] = (200, json.dumps(report))


@pytest.mark.usefixtures("no_router")
def test_reset_of_what_does_not_run_needs_force(
    cli: Cli, kernel: Kernel, wiped: list[Path], state_dir: Path, run_directory: Path
) -> None:
    Path(api_socket("b2")).touch()  # left by a router that was killed
    status, _, err = cli("reset", "--state-dir", str(state_dir))
    assert status == 3
    assert "--force" in err
    assert kernel.deleted == []
    assert wiped == []
    assert cli("reset", "--force", "--bridge", "b2", "--state-dir", str(state_dir))[0] == 0
    assert kernel.deleted == ["vethwepl1a", "bridge b2", "rules of b2"]
    assert wiped == [state_dir]
    assert list(run_directory.iterdir()) == []


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
def test_reset_takes_only_what_was_plugged_into_a_foreign_bridge(
    cli: Cli, kernel: Kernel, tmp_path: Path
) -> None:
    """F15"""
    kernel.is_ours = False
    words = ("reset", "--force", "--bridge", "b2", "--state-dir", str(tmp_path / "none"))
    assert cli(*words) == (0, "deleted 1 attachment to bridge b2\n", "")
    assert kernel.deleted == ["vethwepl1a", "rules of b2"]


@pytest.mark.usefixtures("no_router")
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_reset_leaves_the_bridge_of_a_router_that_does_not_answer(
    cli: Cli, kernel: Kernel, wiped: list[Path], state_dir: Path, force: list[str]
) -> None:
    words = ("reset", "--bridge", "wv-test-reset", "--state-dir", str(state_dir), *force)
    with claim_bridge("wv-test-reset"):
        status, out, err = cli(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "a weave-py router runs on bridge wv-test-reset and does not answer" in err
    assert kernel.deleted == []
    assert wiped == []


def test_reset_stops_no_router_for_the_bridge_of_another(
    cli: Cli, fake_router: Router, kernel: Kernel, wiped: list[Path], state_dir: Path
) -> None:
    runs_with(fake_router, state_dir)
    with claim_bridge("wv-test-reset"):
        status, _, err = cli("reset", "--bridge", "wv-test-reset")
    assert status == 1
    assert f"the router that runs uses bridge 'wv0' and the state in '{state_dir}'" in err
    assert [method for method, *_ in fake_router.requests] == ["GET"]
    assert wiped == []


def test_reset_stops_no_router_for_the_state_of_another(
    cli: Cli, fake_router: Router, kernel: Kernel, tmp_path: Path, state_dir: Path
) -> None:
    runs_with(fake_router, tmp_path / "other")
    with StateDirectory(state_dir).lock():
        status, _, err = cli("reset", "--state-dir", str(state_dir))
    assert status == 1
    assert f"the router that runs uses bridge 'wv0' and the state in '{tmp_path / 'other'}'" in err
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
    assert cli("reset", "--state-dir", str(state_dir))[0] == 0
    timer.join()
    assert kernel.deleted == ["vethwepl1a", "bridge wv0", "rules of wv0"]


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
    words = ("reset", "--state-dir", str(state_dir))
    status, out, err = cli(*words)
    assert (status, out) == (4, "")
    assert err == (
        f"weave-py: no permission to delete the state in {state_dir}: run as root (sudo)\n"
    )
    monkeypatch.setattr("weave_py.host.privileges.may_administer", lambda: False)
    status, _, err = cli(*words)
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


@pytest.mark.parametrize(
    "claim",
    [
        {"StateDir": "VICTIM"},
        {"StateDir": "VICTIM", "Bridge": "docker0"},
        {"Bridge": "docker0"},
        {"Bridge": ["wv0"]},
        {"StateDir": None},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_reset_deletes_nothing_that_an_answer_names(
    cli: Cli,
    fake_router: Router,
    kernel: Kernel,
    tmp_path: Path,
    claim: dict[str, object],
    force: list[str],
) -> None:
    """F4: whoever answers may say what he likes; what is configured and what he names stay."""
    victim, configured = tmp_path / "etc", tmp_path / "state"
    for directory in (victim, configured):
        directory.mkdir(mode=0o700)
        (directory / "targets.json").write_text("precious")
    claim = {key: str(victim) if value == "VICTIM" else value for key, value in claim.items()}
    fake_router.answers["GET", "/report"] = (200, json.dumps({"Router": claim}))
    status, out, err = cli("reset", "--state-dir", str(configured), *force)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "say with --bridge and --state-dir what to delete" in err
    assert [method for method, *_ in fake_router.requests] == ["GET"]
    assert kernel.deleted == []
    assert {path.parent for path in tmp_path.rglob("*.json")} == {victim, configured}
