"""Is the user told the one thing that helps?"""

from __future__ import annotations

import os
import subprocess
import sys
from errno import EACCES, ENOENT

import pytest

from weave_py.lab import commands, unprivileged
from weave_py.lab.unprivileged import Refusal, advice
from weave_py.model.errors import HostError


def test_nothing_refused_nothing_advised() -> None:
    assert advice(Refusal()) is None


def test_a_missing_tun_module_is_to_be_loaded() -> None:
    assert "sudo modprobe tun" in str(advice(Refusal(tun_error=os.strerror(ENOENT))))


def test_a_closed_tun_device_needs_root_or_chmod() -> None:
    text = str(advice(Refusal(tun_error=os.strerror(EACCES))))
    assert "Permission denied" in text
    assert "sudo ./scripts/demo" in text
    assert "sudo chmod 0666 /dev/net/tun" in text


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("kernel.unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user.max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"),
    ],
)
def test_a_forbidding_sysctl_is_named(name: str, value: str, command: str) -> None:
    refused = Refusal(sysctls={name: value}, probe_error="unshare failed")
    assert command in str(advice(refused))
    assert advice(Refusal(sysctls={name: value})) is None  # it did not matter


def test_any_other_refusal_is_quoted() -> None:
    allowing = {"kernel.unprivileged_userns_clone": "1", "user.max_user_namespaces": "96365"}
    text = str(advice(Refusal(sysctls=allowing, probe_error="mount: permission denied")))
    assert "(mount: permission denied)" in text
    assert "sudo ./scripts/demo" in text


def test_run_again_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unprivileged, "TUN", "/nonexistent/tun")
    monkeypatch.setattr(commands, "require", lambda *tools: None)
    with pytest.raises(HostError, match="does not exist"):
        unprivileged.run_again(["true"])


def test_a_process_without_capabilities_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unprivileged, "_effective_capabilities", lambda: 0)
    assert unprivileged.missing_privilege() == "not root (CAP_NET_ADMIN is missing)"
    monkeypatch.setattr(unprivileged, "_effective_capabilities", lambda: 1 << 12)
    assert unprivileged.missing_privilege() == "not root (CAP_SYS_ADMIN is missing)"
    monkeypatch.setattr(unprivileged, "_effective_capabilities", lambda: 1 << 12 | 1 << 21)
    monkeypatch.setattr(unprivileged, "TUN", "/nonexistent/tun")
    assert "cannot open /nonexistent/tun" in str(unprivileged.missing_privilege())


def test_who_was_not_started_again_has_no_lifeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(unprivileged.LIFELINE, raising=False)
    assert unprivileged.hold_lifeline() is None


_INSIDE = """
import signal
from weave_py.lab import commands, unprivileged
print(unprivileged.hold_lifeline(), flush=True)
signal.pause()
"""


def test_the_one_inside_ends_when_the_lifeline_does() -> None:
    reading, writing = os.pipe()
    inside = subprocess.Popen(
        [sys.executable, "-c", _INSIDE],
        pass_fds=[reading],
        stdout=subprocess.PIPE,
        text=True,
        env=commands.environment({unprivileged.LIFELINE: str(reading)}),
    )
    with inside:
        os.close(reading)
        os.write(writing, b"4711\n")
        assert inside.stdout is not None
        assert inside.stdout.readline() == "4711\n"
        os.close(writing)
        assert inside.wait(10) == -15
