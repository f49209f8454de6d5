"""Does a router come back as itself, and start when it cannot?"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from weave_py.crypto.identity import Identity
from weave_py.host.state.directory import StateDirectory
from weave_py.model.errors import StateError


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def some_identity() -> Identity:
    return Identity.create(bytes_from(7))


def bytes_from(seed: int) -> Callable[[int], bytes]:
    return lambda count: bytes((seed + i) % 256 for i in range(count))


def test_directory_is_private(state: StateDirectory) -> None:
    assert state.path.stat().st_mode & 0o777 == 0o700


def test_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(StateError, match=f"chmod 700 {path}"):
        StateDirectory(path)
    (path / "identity.json").touch()
    with pytest.raises(StateError, match=f"chmod 700 {path}"):
        StateDirectory(path)


@pytest.mark.parametrize(("mode", "others"), [(0o1777, []), (0o777, ["mail"])])
def test_a_directory_shared_with_others_is_not_narrowed(
    tmp_path: Path, mode: int, others: list[str]
) -> None:
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(mode)
    for name in others:
        (path / name).touch()
    with pytest.raises(StateError, match="name a directory of its own with --state-dir") as caught:
        StateDirectory(path)
    assert "chmod" not in str(caught.value)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="not a directory"):
        StateDirectory(tmp_path / "file")
    with pytest.raises(StateError, match="--state-dir"):
        StateDirectory(tmp_path / "file" / "below")


def anything(payload: object) -> object:
    return payload


def test_values_come_back(state: StateDirectory) -> None:
    assert state.load("targets", anything) is None
    state.save("targets", ["a:6783", "b"])
    state.save("targets", ["a:6783"])
    assert StateDirectory(state.path).load("targets", anything) == ["a:6783"]
    assert state.losses == []


@pytest.mark.parametrize("name", ["", "../x", "A", ".x", "x.json", "x" * 33])
def test_odd_names_are_our_own_mistake(state: StateDirectory, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        state.save(name, 1)


def test_identity_comes_back(state: StateDirectory) -> None:
    assert state.load_identity() is None
    identity = some_identity()
    state.keep_identity(identity)
    loaded = StateDirectory(state.path).load_identity()
    assert loaded is not None
    assert loaded.secrets() == identity.secrets()
    assert loaded.name == identity.name


def test_identity_that_others_can_read_is_refused(state: StateDirectory) -> None:
    state.keep_identity(some_identity())
    path = state.path / "identity.json"
    path.chmod(0o644)
    with pytest.raises(StateError, match=f"chmod 600 {path}"):
        state.load_identity()


@pytest.mark.parametrize(
    "payload",
    [
        [],
        7,
        {"signing": "00" * 32},
        {"signing": "00" * 31, "static": "00" * 32},
        {"signing": "zz" * 32, "static": "00" * 32},
        {"signing": None, "static": None},
    ],
)
def test_identity_of_the_wrong_shape(state: StateDirectory, payload: object) -> None:
    state.save("identity", payload)
    assert state.load_identity() is None
    (loss,) = state.losses
    assert loss.used == ""
    assert "identity.json: it does not hold two keys" in loss.what


def test_damage_does_not_quote_secrets(state: StateDirectory) -> None:
    state.save("identity", {"signing": "5ec3e7" * 11, "static": "5ec3e7-not-hex"})
    assert state.load_identity() is None
    assert "5ec3e7" not in str(state.losses)


def test_both_copies_of_the_identity_must_be_private(state: StateDirectory) -> None:
    state.keep_identity(some_identity())
    backup = state.path / "identity.json.bak"
    backup.chmod(0o640)
    with pytest.raises(StateError, match=f"chmod 600 {backup}"):
        state.load_identity()
    (state.path / "identity.json").write_bytes(b"damaged")
    with pytest.raises(StateError, match=f"chmod 600 {backup}"):
        state.load_identity()


def test_an_identity_survives_the_loss_of_any_one_file(state: StateDirectory) -> None:
    identity = some_identity()
    state.keep_identity(identity)
    for name in ("identity.json", "identity.json.bak"):
        for damage in (b"", b"damaged", None):
            path = state.path / name
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage)
            found = StateDirectory(state.path).load_identity()
            assert found is not None
            assert found.secrets() == identity.secrets()
            assert path.exists(), "repaired"
            assert path.stat().st_mode & 0o777 == 0o600


def test_epochs_count_starts(state: StateDirectory) -> None:
    assert [state.next_incarnation() for _ in range(3)] == [1, 2, 3]
    assert StateDirectory(state.path).next_incarnation() == 4


def test_an_epoch_that_was_lost_is_not_given_again(state: StateDirectory) -> None:
    assert [state.next_incarnation() for _ in range(3)] == [1, 2, 3]
    (state.path / "epoch.json").write_bytes(b"")
    assert state.next_incarnation() == 4  # the copy beside says 2


@pytest.mark.parametrize("stored", [True, -1, "3", 1.0])
def test_an_epoch_that_is_no_count(state: StateDirectory, stored: object) -> None:
    state.save("epoch", stored)
    assert state.next_incarnation() == 1
    (loss,) = state.losses
    assert "it does not hold a count" in loss.what


def test_a_lock_does_not_need_the_disk(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with state.lock(), pytest.raises(StateError, match="uses"), StateDirectory(state.path).lock():
        pass


def test_what_cannot_be_written_is_left_to_the_caller(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateError("cannot write: No space left on device")

    state.keep("targets", 1)
    monkeypatch.setattr("weave_py.host.state.file.replace_file", full)
    state.keep("targets", 2)
    assert state.unsaved == {"targets": 2}
    assert "No space left" in state.trouble
    assert state.load("targets", anything) == 1


def test_wiping_leaves_nothing(state: StateDirectory) -> None:
    state.keep_identity(some_identity())
    (state.path / "identity.json").write_bytes(b"damaged")
    state.load_identity()
    (state.path / ".identity.json.new").write_bytes(b"left by a crash")
    with state.lock():
        state.wipe()
    assert [path.name for path in state.path.iterdir()] == ["lock"]


def test_one_router_a_directory(state: StateDirectory) -> None:
    with (
        state.lock(),
        pytest.raises(StateError, match=rf"pid {os.getpid()}\) uses"),
        StateDirectory(state.path).lock(),
    ):
        pass
    with state.lock():  # free again
        pass


def test_wiping_takes_what_was_looked_at_and_nothing_else(tmp_path: Path) -> None:
    """F4: whatever the path leads to by now; and of what is there only what a router keeps."""
    true, victim, path = tmp_path / "true", tmp_path / "victim", tmp_path / "path"
    for directory in (true, victim):
        directory.mkdir(mode=0o700)
        for name in ("targets.json", "daemon.json", "key.json.bak", "service-ipam.json"):
            (directory / name).write_text("{}")
    path.symlink_to(true)
    state = StateDirectory(path)
    path.unlink()
    path.symlink_to(victim)
    with state.lock():
        state.wipe()
    assert {one.name for one in true.iterdir()} == {"lock", "daemon.json", "key.json.bak"}
    assert len(list(victim.iterdir())) == 4
    assert not state.holds_state
