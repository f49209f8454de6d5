"""What does `launch` make of its words before there is a router?"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from tests.kit.commands import Cli
from weave_py.config.resolve import Config


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
