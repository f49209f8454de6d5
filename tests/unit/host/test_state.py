"""Does a router come back as itself, and refuse when it cannot?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from weave_py.crypto.identity import Identity
from weave_py.host.state import StateDirectory
from weave_py.host.statefile import encode_payload
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


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="not a directory"):
        StateDirectory(tmp_path / "file")
    with pytest.raises(StateError, match="--state-dir"):
        StateDirectory(tmp_path / "file" / "below")


def test_values_come_back(state: StateDirectory) -> None:
    assert state.load("targets") is None
    state.save("targets", ["a:6783", "b"])
    state.save("targets", ["a:6783"])
    assert StateDirectory(state.path).load("targets") == ["a:6783"]


@pytest.mark.parametrize("name", ["", "../x", "A", ".x", "x.json", "x" * 33])
def test_odd_names_are_our_own_mistake(state: StateDirectory, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        state.save(name, 1)


def test_identity_comes_back(state: StateDirectory) -> None:
    assert state.load_identity() is None
    identity = some_identity()
    state.save_identity(identity)
    loaded = StateDirectory(state.path).load_identity()
    assert loaded is not None
    assert loaded.secrets() == identity.secrets()
    assert loaded.name == identity.name


def test_identity_that_others_can_read_is_refused(state: StateDirectory) -> None:
    state.save_identity(some_identity())
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
    with pytest.raises(StateError, match="it does not hold two keys"):
        state.load_identity()


def test_damage_is_named_and_kept(state: StateDirectory) -> None:
    state.save("targets", ["a"])
    path = state.path / "targets.json"
    damaged = path.read_bytes().replace(b'"a"', b'"b"')
    path.write_bytes(damaged)
    with pytest.raises(StateError, match=f"{path} is damaged: its checksum .* move it away"):
        state.load("targets")
    with pytest.raises(StateError, match=f"{path} is damaged"):
        state.save("targets", ["c"])
    assert path.read_bytes() == damaged


def test_every_truncated_identity_is_refused(state: StateDirectory) -> None:
    identity = some_identity()
    state.save_identity(identity)
    path = state.path / "identity.json"
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StateError, match="damaged"):
            state.load_identity()
        assert path.read_bytes() == whole[:length]


def test_damage_does_not_quote_secrets(state: StateDirectory) -> None:
    state.save("identity", {"signing": "5ec3e7" * 11, "static": "5ec3e7-not-hex"})
    with pytest.raises(StateError) as caught:
        state.load_identity()
    assert "5ec3e7" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_epochs_count_starts(state: StateDirectory) -> None:
    assert [state.next_epoch() for _ in range(3)] == [1, 2, 3]
    assert StateDirectory(state.path).next_epoch() == 4


@pytest.mark.parametrize("stored", [True, -1, "3", 1.0])
def test_an_epoch_that_is_no_count(state: StateDirectory, stored: object) -> None:
    path = state.path / "epoch.json"
    path.write_bytes(encode_payload(stored))
    before = path.read_bytes()
    with pytest.raises(StateError, match="does not hold a count"):
        state.next_epoch()
    assert path.read_bytes() == before


def test_one_router_a_directory(state: StateDirectory) -> None:
    with (
        state.lock(),
        pytest.raises(StateError, match=rf"pid {os.getpid()}\) uses"),
        StateDirectory(state.path).lock(),
    ):
        pass
    with state.lock():  # free again
        pass
