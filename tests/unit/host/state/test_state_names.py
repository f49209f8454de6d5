"""Is a router's state told from what else lies in a directory?"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.crypto.identity import Identity
from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import holds_others, holds_state


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
