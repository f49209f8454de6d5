"""Can a command of the host's firewall stall or flood us? (t08)"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.host.firewall import tool
from weave_py.model.errors import HostError


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`fw`, a script to be written."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "fw"


def write(command: Path, script: str) -> None:
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_what_it_prints(command: Path) -> None:
    write(command, 'cat; echo "$1"; echo noise >&2')
    assert tool.run(["fw", "-S"], "in\n") == "in\n-S\n"


def test_what_it_complains_of(command: Path) -> None:
    write(command, "echo >&2; echo 'no such chain' >&2; exit 1")
    with pytest.raises(HostError, match=r"^fw: no such chain$"):
        tool.run(["fw"])
    write(command, "exit 3")
    with pytest.raises(HostError, match=r"^fw: exit status 3$"):
        tool.run(["fw"], "x" * 60_000)  # that nobody reads


def test_one_that_is_missing(command: Path) -> None:
    with pytest.raises(HostError, match=r"^fw is missing$"):
        tool.run(["fw"])


@pytest.mark.parametrize("script", ["exec sleep 60", "exec >&- 2>&-; exec sleep 60"])
def test_one_that_hangs_is_ended(
    command: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "SECONDS", 0.2)
    write(command, script)
    with pytest.raises(HostError, match=r"^fw did not end within 0\.2 s$"):
        tool.run(["fw"])


def test_one_that_prints_for_ever_is_ended(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "MOST_BYTES", 1 << 20)
    write(command, "exec cat /dev/zero")
    with pytest.raises(HostError, match=r"^fw prints more than 1 MiB$"):
        tool.run(["fw"])
