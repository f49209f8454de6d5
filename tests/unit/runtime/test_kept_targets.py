"""Which targets last over restarts, and when do other ones replace them?"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import TARGETS
from weave_py.model.names import Target, parse_target
from weave_py.runtime.kept_targets import initial_targets, payload

FILE = TARGETS.name


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def targets(*texts: str) -> list[Target]:
    return [parse_target(text) for text in texts]


def texts(found: list[Target]) -> list[str]:
    return [target.text for target in found]


def store(state: StateDirectory, launched: list[str], kept: list[str]) -> None:
    state.save(FILE, payload(targets(*launched), kept))


def test_at_the_first_start_those_of_the_command_line(state: StateDirectory) -> None:
    assert texts(initial_targets(state, targets("a", "b:7000"), resume=False)) == ["a", "b:7000"]
    assert initial_targets(state, [], resume=False) == []
    assert initial_targets(state, [], resume=True) == []


@pytest.mark.parametrize(
    ("launched", "resume", "expected"),
    [
        (["a"], False, ["a", "x"]),  # the same as last time (a unit file): what it had since
        ([], False, ["a", "x"]),  # by hand
        (["b"], False, ["b"]),  # other ones replace them
        (["a", "b"], False, ["a", "b"]),
        (["b"], True, ["a", "x"]),  # told to go on
    ],
)
def test_later_those_it_had_unless_others_are_given(
    state: StateDirectory, launched: list[str], resume: bool, expected: list[str]
) -> None:
    store(state, ["a"], ["a", "x"])
    assert texts(initial_targets(state, targets(*launched), resume)) == expected


def test_a_forgotten_target_stays_forgotten(state: StateDirectory) -> None:
    store(state, ["a", "b"], ["b"])
    assert texts(initial_targets(state, targets("a", "b"), resume=False)) == ["b"]
    store(state, ["a", "b"], [])
    assert initial_targets(state, targets("a", "b"), resume=False) == []


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        "a",
        {},
        {"launched": []},
        {"targets": ["a"]},
        {"launched": 1, "targets": []},
        {"launched": [], "targets": 1},
        {"launched": [], "targets": ["not a peer address"]},
        {"launched": [], "targets": [None, "a:b"]},
    ],
)
def test_what_holds_no_targets_is_set_aside(state: StateDirectory, damaged: object) -> None:
    state.save(FILE, damaged)
    assert texts(initial_targets(state, targets("b"), resume=False)) == ["b"]
    (loss,) = state.losses
    assert "it does not hold targets" in loss.what
    assert f"{FILE}.json.damaged-1" in loss.kept_as
    assert not (state.path / f"{FILE}.json").exists()


def test_the_file_is_what_it_always_was() -> None:
    """Routers of other versions read it."""
    assert payload(targets("a", "b:7000"), ("x",)) == {
        "launched": ["a", "b:7000"],
        "targets": ["x"],
    }
