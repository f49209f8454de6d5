"""Is a claimed bridge claimed by nobody else, seen by those who only look, and not by strangers?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from weave_py.host.locks import claim_bridge, is_claimed
from weave_py.host.run_directory import api_socket, claim_file
from weave_py.model.errors import HostError


@pytest.fixture(autouse=True)
def run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("weave_py.host.run_directory.RUN_DIRECTORY", tmp_path / "run")
    return tmp_path / "run"


def test_a_claim_is_seen_while_it_lasts(run_directory: Path) -> None:
    with claim_bridge("wv-test-claim"):
        assert is_claimed("wv-test-claim")
        assert is_claimed("wv-test-claim")  # looking claimed nothing
        assert not is_claimed("wv-test-clai")
        assert not is_claimed("test-claim")
        with (
            pytest.raises(HostError, match="already running on bridge wv-test-claim"),
            claim_bridge("wv-test-claim"),
        ):
            pass
        assert is_claimed("wv-test-claim")
        with claim_bridge("wv-test-other"):
            pass
    assert not is_claimed("wv-test-claim")
    assert os.listdir(run_directory) == []


def test_nobody_else_can_hold_a_claim(run_directory: Path) -> None:
    """F13: who cannot open the file cannot lock it, nor put another in its place."""
    before = os.umask(0)
    try:
        with claim_bridge("wv-test-claim"):
            assert stat.S_IMODE(run_directory.stat().st_mode) == 0o755
            assert stat.S_IMODE(os.stat(claim_file("wv-test-claim")).st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_directory_that_others_can_change_is_refused(run_directory: Path, mode: int) -> None:
    """F13"""
    run_directory.mkdir()
    run_directory.chmod(mode)
    with pytest.raises(HostError, match="other users can change"), claim_bridge("wv-test-claim"):
        pass


def test_a_link_is_not_followed(run_directory: Path, tmp_path: Path) -> None:
    run_directory.mkdir()
    Path(claim_file("wv-test-claim")).symlink_to(tmp_path / "precious")
    with pytest.raises(HostError, match="cannot open"), claim_bridge("wv-test-claim"):
        pass
    assert not is_claimed("wv-test-claim")
    assert not (tmp_path / "precious").exists()


def test_what_a_crash_left_is_no_claim(run_directory: Path) -> None:
    run_directory.mkdir()
    Path(claim_file("wv-test-claim")).touch()
    assert not is_claimed("wv-test-claim")
    with claim_bridge("wv-test-claim"):
        assert is_claimed("wv-test-claim")


def test_bridges_have_names_of_their_own(run_directory: Path) -> None:
    """Whatever they are called: those of one never end like another's."""
    bridges = ("weave", "weave.sock", "weave.claim", "weave.sock.lock", "1-weave", "net")
    names = [
        name
        for bridge in bridges
        for name in (api_socket(bridge), claim_file(bridge), f"{api_socket(bridge)}.lock")
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) - len(str(run_directory)) < 60  # of the 107 of a socket's path
