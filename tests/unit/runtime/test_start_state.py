"""Does a router start whatever happened to its state, and say what it lost?"""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from weave_py.config.resolve import Config
from weave_py.host.state.directory import StateDirectory
from weave_py.model.errors import StateError
from weave_py.model.names import parse_target
from weave_py.runtime.start_state import StartState, read_start_state

FILES = ("identity", "targets", "epoch")


def start(tmp_path: Path, *peers: str) -> StartState:
    config = Config(
        nickname="h1", state_dir=tmp_path / "state", peers=tuple(parse_target(p) for p in peers)
    )
    return read_start_state(StateDirectory(config.state_dir), config, secrets.token_bytes)


def texts(known: StartState) -> list[str]:
    return [target.text for target in known.targets]


@pytest.fixture
def before(tmp_path: Path) -> StartState:
    """A router that started twice and was told a target."""
    start(tmp_path, "a")
    StateDirectory(tmp_path / "state").save("targets", {"launched": ["a"], "targets": ["a", "b"]})
    return start(tmp_path)


def test_a_router_is_the_same_at_every_start_and_counts_them(
    tmp_path: Path, before: StartState, caplog: pytest.LogCaptureFixture
) -> None:
    again = start(tmp_path)
    assert again.identity.name == before.identity.name
    assert again.identity.static_public == before.identity.static_public
    assert (before.incarnation, again.incarnation) == (2, 3)
    assert texts(again) == ["a", "b"]
    assert again.unsaved == {}
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "missing"])
@pytest.mark.parametrize("which", FILES)
def test_one_damaged_file_costs_nothing(
    tmp_path: Path,
    before: StartState,
    caplog: pytest.LogCaptureFixture,
    which: str,
    damage: bytes | None,
) -> None:
    path = tmp_path / "state" / f"{which}.json"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    again = start(tmp_path)
    assert again.identity.name == before.identity.name
    assert again.incarnation > before.incarnation
    assert texts(again) == ["a", "b"]
    (record,) = caplog.records
    assert record.message == "state file damaged: the other copy is used"
    assert (tmp_path / "state" / f"{which}.json.damaged-1").exists() == (damage is not None)


def lose(tmp_path: Path, which: str) -> None:
    for suffix in ("", ".bak"):
        (tmp_path / "state" / f"{which}.json{suffix}").write_bytes(b"garbage")


def test_with_both_copies_of_the_identity_lost_it_is_a_new_peer_and_says_so(
    tmp_path: Path, before: StartState, caplog: pytest.LogCaptureFixture
) -> None:
    lose(tmp_path, "identity")
    again = start(tmp_path)
    assert again.identity.name != before.identity.name
    assert texts(again) == ["a", "b"]
    lost, new = caplog.records
    assert (lost.levelname, lost.message) == ("ERROR", "state file lost")
    assert new.levelname == "ERROR"
    assert new.message.startswith("identity lost: this router is a new peer")
    assert start(tmp_path).identity.name == again.identity.name


@pytest.mark.parametrize("which", ["targets", "epoch"])
def test_with_both_copies_of_another_lost_it_is_still_itself(
    tmp_path: Path, before: StartState, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    lose(tmp_path, which)
    again = start(tmp_path, "c")
    assert again.identity.name == before.identity.name
    assert texts(again) == ["c"]
    assert again.incarnation == (1 if which == "epoch" else 3)
    assert [record.message for record in caplog.records] == ["state file lost"]


def test_nothing_left_at_all(tmp_path: Path, before: StartState) -> None:
    for which in FILES:
        lose(tmp_path, which)
    again = start(tmp_path, "a")
    assert again.incarnation == 1
    assert len(list((tmp_path / "state").glob("*.damaged-*"))) == 2 * len(FILES)


def test_secrets_that_others_can_read_still_stop_it(tmp_path: Path, before: StartState) -> None:
    (tmp_path / "state" / "identity.json").chmod(0o644)
    contents = {p.name: p.read_bytes() for p in (tmp_path / "state").iterdir()}
    with pytest.raises(StateError, match="chmod 600"):
        start(tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "state").iterdir()} == contents


def test_a_disk_that_takes_nothing_does_not_stop_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateError("cannot write it: No space left on device")

    monkeypatch.setattr("weave_py.host.state.file.replace_file", full)
    known = start(tmp_path, "a")
    assert set(known.unsaved) == {"identity", "epoch"}
    assert caplog.text.count("state not saved") == 1
    monkeypatch.undo()
    state = StateDirectory(tmp_path / "state")
    for name, value in known.unsaved.items():
        state.save(name, value)
    again = start(tmp_path, "a")
    assert again.identity.name == known.identity.name
    assert again.incarnation == 2
