"""Is a router's state told from what else lies in a directory?"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.crypto.identity import Identity
from weave_py.host.state import names
from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import holds_others, holds_state
from weave_py.model.errors import StateError


def test_all_that_a_router_leaves_is_known(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    with state.lock():
        state.keep_identity(Identity.create(lambda count: bytes(range(count))))
        state.next_incarnation()
        state.keep("targets", [])
        (state.path / "identity.json").write_bytes(b"damaged")
        state.load_identity()
        (state.path / ".epoch.json.new").touch()
    assert {path.name for path in state.path.iterdir()} >= {"lock", "identity.json.damaged-1"}
    assert holds_state(state.path)
    assert not holds_others(state.path)


@pytest.mark.parametrize("name", ["lock", "lost+found"])
def test_what_is_nobodys(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert not holds_state(tmp_path)
    assert not holds_others(tmp_path)


def test_what_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "package.json").touch()
    assert holds_others(tmp_path)
    assert not holds_state(tmp_path)
    assert not holds_others(tmp_path / "none")


@pytest.mark.parametrize("declared", names.STATE_FILES, ids=lambda declared: str(declared.name))
def test_every_declared_file_is_known_everywhere(tmp_path: Path, declared: names.StateFile) -> None:
    """F10: one entry of the table is all that a new one takes."""
    state = StateDirectory(tmp_path)
    state.save(declared.name, 1)
    assert (tmp_path / f"{declared.name}.json").stat().st_mode & 0o777 == 0o600
    assert holds_state(tmp_path)
    assert not holds_others(tmp_path)
    assert state.load(declared.name, lambda payload: payload) == 1
    (tmp_path / f"{declared.name}.json").chmod(0o644)
    if declared.private:
        with pytest.raises(StateError, match="others can access it"):
            state.load(declared.name, lambda payload: payload)
    state.wipe()
    assert not holds_state(tmp_path)


def test_what_is_not_declared_is_not_kept(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    with pytest.raises(ValueError, match="not a name for a state file"):
        state.save("landlord", 1)
    assert list(tmp_path.iterdir()) == []


def test_every_service_has_a_file_and_no_other_name_is_one() -> None:
    assert names.service_state("ipam").name == "service-ipam"
    assert names.is_state("service-ipam.json.bak")
    for wrong in ("", "Ipam", "../ipam", "a/b", "x" * 40):
        with pytest.raises(ValueError, match="not a name"):
            names.service_state(wrong)
