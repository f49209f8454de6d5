"""Does the demo refuse in one line what it cannot show?"""

from __future__ import annotations

import pytest

from weave_py.lab import demo, unprivileged


def test_a_wrong_topology_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(2, "ring", True, None, False) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "weave-py demo: hosts: a ring has 3 to 64 hosts, not 2\n"


def test_without_privileges_it_starts_again_with_the_same_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def run_again(argv: list[str], extra: dict[str, str]) -> int:
        started.append((argv[3:], extra))
        return 42

    monkeypatch.setattr(unprivileged, "missing_privilege", lambda: "not root")
    monkeypatch.setattr(unprivileged, "run_again", run_again)
    assert demo.run_demo(4, "star", True, "pssst", False) == 42
    assert demo.run_demo(3, "chain", False, None, True) == 42
    assert demo.run_demo(2, "full", True, None, True, "docker") == 42
    assert started == [
        (
            ["--hosts", "4", "--topology", "star", "--once"],
            {"WEAVE_PASSWORD": "pssst", "TMPDIR": "/run"},
        ),
        (["--hosts", "3", "--topology", "chain", "--keep-logs"], {}),
        (
            ["--hosts", "2", "--topology", "full", "--profile", "docker", "--once", "--keep-logs"],
            {},
        ),
    ]
