"""Do failing commands say what went wrong, in one line?"""

from __future__ import annotations

import shutil
import sys

import pytest

from weave_py.lab import commands
from weave_py.model.errors import HostError


def test_output_and_input_are_text() -> None:
    assert commands.run(["cat"], stdin="über\n").stdout == "über\n"


def test_the_first_line_of_an_error_is_quoted() -> None:
    with pytest.raises(HostError, match=r"^`sh -c .*` failed \(3\): first$"):
        commands.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"])
    assert commands.run(["sh", "-c", "exit 3"], check=False).returncode == 3


def test_a_command_that_is_not_there_or_never_ends() -> None:
    with pytest.raises(HostError, match="cannot be started: No such file"):
        commands.run(["/nonexistent/ip"])
    with pytest.raises(HostError, match=r"did not end within 0\.05 s"):
        commands.run(["sleep", "60"], timeout=0.05)


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool, path: None)
    with pytest.raises(HostError, match=r"ip, ping not found.*apt install iproute2 iputils-ping"):
        commands.require("ip", "ping")


def test_the_users_own_settings_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAVE_PEERS", "192.0.2.1")
    monkeypatch.setenv("PATH", "/usr/bin")
    found = commands.environment({"WEAVE_PASSWORD": "secret"})
    assert "WEAVE_PEERS" not in found
    assert found["WEAVE_PASSWORD"] == "secret"
    assert found["PATH"] == "/usr/bin:/usr/sbin:/sbin"


def test_our_package_is_importable_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    program = "import os; os.chdir('/'); import weave_py; print(weave_py.__name__)"
    assert commands.run([sys.executable, "-c", program]).stdout == "weave_py\n"
