"""Targets last over restarts, unless other ones are given; the latest ones are what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from weave_py.host.state.directory import StateDirectory
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import StateError
from weave_py.model.names import Target, parse_target
from weave_py.runtime.state_writer import FILE, RETRY_SECONDS, StateWriter, initial_targets


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def host() -> Iterator[HostThread]:
    with HostThread() as thread:
        yield thread


def targets(*texts: str) -> list[Target]:
    return [parse_target(text) for text in texts]


def texts(found: list[Target]) -> list[str]:
    return [target.text for target in found]


def kept(state: StateDirectory) -> object:
    return state.load(FILE, lambda payload: payload)


def store(state: StateDirectory, launched: list[str], kept: list[str]) -> None:
    state.save(FILE, {"launched": launched, "targets": kept})


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


async def test_what_is_saved_is_found_at_the_next_start(
    state: StateDirectory, host: HostThread
) -> None:
    keeper = StateWriter(state, host, targets("a"))
    keeper.save_soon(("a", "b:7000"))
    await keeper.flush()
    assert texts(initial_targets(state, targets("a"), resume=False)) == ["a", "b:7000"]
    await keeper.flush()  # nothing new: nothing to do
    assert kept(state) == {"launched": ["a"], "targets": ["a", "b:7000"]}


async def test_saved_in_the_background(state: StateDirectory, host: HostThread) -> None:
    keeper = StateWriter(state, host, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        for number in range(50):
            keeper.save_soon((f"h{number}",))
            if number % 7 == 0:
                await trio.lowlevel.checkpoint()
        await keeper.flush()
        assert kept(state) == {"launched": [], "targets": ["h49"]}
        nursery.cancel_scope.cancel()


async def test_the_last_word_is_kept_although_the_host_thread_was_busy(
    state: StateDirectory, host: HostThread
) -> None:
    """A `connect` just before the end: the background task has it, but not written it yet."""
    keeper, busy = StateWriter(state, host, []), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run, busy.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(keeper.run)
        keeper.save_soon(("last",))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as ending:
            ending.start_soon(keeper.flush)
            await trio.testing.wait_all_tasks_blocked()
            busy.set()
        nursery.cancel_scope.cancel()
    assert kept(state) == {"launched": [], "targets": ["last"]}


async def test_nothing_is_written_twice(
    state: StateDirectory, host: HostThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    save = state.save

    def counting(name: str, value: object) -> None:
        written.append(value)
        save(name, value)

    monkeypatch.setattr(state, "save", counting)
    keeper = StateWriter(state, host, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.testing.wait_all_tasks_blocked()
        keeper.save_soon(("a",))
        async with trio.open_nursery() as callers:  # a command waits for it, too
            callers.start_soon(keeper.flush)
            callers.start_soon(keeper.flush)
        nursery.cancel_scope.cancel()
    assert written == [{"launched": [], "targets": ["a"]}]


async def test_what_a_cancelled_run_did_not_write_is_left_to_flush(
    state: StateDirectory, host: HostThread
) -> None:
    keeper, busy = StateWriter(state, host, []), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run, busy.wait)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as background:
            background.start_soon(keeper.run)
            keeper.save_soon(("last",))
            await trio.testing.wait_all_tasks_blocked()
            background.cancel_scope.cancel()
        busy.set()
        await keeper.flush()
    assert kept(state) == {"launched": [], "targets": ["last"]}


async def test_a_damaged_file_in_the_way_is_set_aside(
    state: StateDirectory, host: HostThread, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = StateWriter(state, host, [])
    (state.path / f"{FILE}.json").write_text("damaged")
    keeper.save_soon(("a",))
    with trio.fail_after(5):
        assert await keeper.flush() == ""
    assert "state file damaged" in caplog.text
    assert (state.path / f"{FILE}.json.damaged-1").read_text() == "damaged"
    assert kept(state) == {"launched": [], "targets": ["a"]}


async def test_a_disk_that_refuses_is_said_once_and_tried_again(
    state: StateDirectory,
    host: HostThread,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level("INFO")
    save, full, tries = state.save, True, 0

    def saving(name: str, value: object) -> None:
        nonlocal tries
        tries += 1
        if full:
            raise StateError("cannot write: No space left on device")
        save(name, value)

    async def run(function: Callable[..., None], *arguments: object) -> None:
        function(*arguments)  # a thread would stop the clock of this test

    monkeypatch.setattr(state, "save", saving)
    monkeypatch.setattr(host, "run", run)
    keeper = StateWriter(state, host, [], {"epoch": 7})
    keeper.save_soon(("a",))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(3 * RETRY_SECONDS + 1)
        assert "No space left" in await keeper.flush()
        assert 8 <= tries <= 12
        assert caplog.text.count("state not saved") <= 1
        full = False
        keeper.save_soon(("b",))
        await trio.sleep(RETRY_SECONDS + 1)
        nursery.cancel_scope.cancel()
    assert caplog.text.count("state saved after all") == 1
    assert kept(state) == {"launched": [], "targets": ["b"]}
    assert state.load("epoch", lambda payload: payload) == 7


async def test_what_can_be_written_is_written_though_another_cannot(
    state: StateDirectory, host: HostThread
) -> None:
    (state.path / "epoch.json").symlink_to("/dev/null")
    keeper = StateWriter(state, host, [], {"epoch": 7})
    keeper.save_soon(("a",))
    assert "symbolic link" in await keeper.flush()
    assert kept(state) == {"launched": [], "targets": ["a"]}
