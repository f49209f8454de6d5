"""Is what is handed over soon on disk, the latest of each name only, whatever the disk does?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import STATE_FILES, TARGETS
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import StateError
from weave_py.runtime.state_writer import RETRY_SECONDS, StateWriter

FILE = TARGETS.name


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def host() -> Iterator[HostThread]:
    with HostThread() as thread:
        yield thread


def kept(state: StateDirectory, name: str = FILE) -> object:
    return state.load(name, lambda payload: payload)


async def test_any_declared_file_is_kept(state: StateDirectory, host: HostThread) -> None:
    """F10: whoever has something to keep declares its file, and nothing else."""
    writer = StateWriter(state, host)
    values: dict[str, object] = {file.name: [file.holds] for file in STATE_FILES}
    for name, value in values.items():
        writer.keep(name, value)
    assert await writer.flush() == ""
    assert await writer.flush() == ""  # nothing new: nothing to do
    assert {name: kept(state, name) for name in values} == values


@pytest.mark.parametrize("name", ["", "ipam", "../identity", "identity.json"])
async def test_no_other_file_is(state: StateDirectory, host: HostThread, name: str) -> None:
    writer = StateWriter(state, host)
    with pytest.raises(ValueError, match="not a name for a state file"):
        writer.keep(name, 1)
    assert await writer.flush() == ""
    assert list(state.path.iterdir()) == []


async def test_nothing_is_a_value_too(state: StateDirectory, host: HostThread) -> None:
    writer = StateWriter(state, host)
    writer.keep(FILE, ["a"])
    await writer.flush()
    writer.keep(FILE, None)
    assert await writer.flush() == ""
    assert "null" in (state.path / f"{FILE}.json").read_text()


async def test_saved_in_the_background(state: StateDirectory, host: HostThread) -> None:
    writer = StateWriter(state, host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        for number in range(50):
            writer.keep(FILE, [f"h{number}"])
            if number % 7 == 0:
                await trio.lowlevel.checkpoint()
        await writer.flush()
        assert kept(state) == ["h49"]
        nursery.cancel_scope.cancel()


async def test_the_last_word_is_kept_although_the_host_thread_was_busy(
    state: StateDirectory, host: HostThread
) -> None:
    """A `connect` just before the end: the background task has it, but not written it yet."""
    writer, busy = StateWriter(state, host), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run, busy.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(writer.run)
        writer.keep(FILE, ["last"])
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as ending:
            ending.start_soon(writer.flush)
            await trio.testing.wait_all_tasks_blocked()
            busy.set()
        nursery.cancel_scope.cancel()
    assert kept(state) == ["last"]


async def test_nothing_is_written_twice(
    state: StateDirectory, host: HostThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[object] = []
    save = state.save

    def counting(name: str, value: object) -> None:
        written.append(value)
        save(name, value)

    monkeypatch.setattr(state, "save", counting)
    writer = StateWriter(state, host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        await trio.testing.wait_all_tasks_blocked()
        writer.keep(FILE, ["a"])
        async with trio.open_nursery() as callers:  # a command waits for it, too
            callers.start_soon(writer.flush)
            callers.start_soon(writer.flush)
        nursery.cancel_scope.cancel()
    assert written == [["a"]]


async def test_what_a_cancelled_run_did_not_write_is_left_to_flush(
    state: StateDirectory, host: HostThread
) -> None:
    writer, busy = StateWriter(state, host), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run, busy.wait)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as background:
            background.start_soon(writer.run)
            writer.keep(FILE, ["last"])
            await trio.testing.wait_all_tasks_blocked()
            background.cancel_scope.cancel()
        busy.set()
        await writer.flush()
    assert kept(state) == ["last"]


async def test_a_damaged_file_in_the_way_is_set_aside(
    state: StateDirectory, host: HostThread, caplog: pytest.LogCaptureFixture
) -> None:
    writer = StateWriter(state, host)
    (state.path / f"{FILE}.json").write_text("damaged")
    writer.keep(FILE, ["a"])
    with trio.fail_after(5):
        assert await writer.flush() == ""
    assert "state file damaged" in caplog.text
    assert (state.path / f"{FILE}.json.damaged-1").read_text() == "damaged"
    assert kept(state) == ["a"]


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
    writer = StateWriter(state, host, {"epoch": 7})
    writer.keep(FILE, ["a"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        await trio.sleep(3 * RETRY_SECONDS + 1)
        assert "No space left" in await writer.flush()
        assert 8 <= tries <= 12
        assert caplog.text.count("state not saved") <= 1
        full = False
        writer.keep(FILE, ["b"])
        await trio.sleep(RETRY_SECONDS + 1)
        nursery.cancel_scope.cancel()
    assert caplog.text.count("state saved after all") == 1
    assert kept(state) == ["b"]
    assert state.load("epoch", lambda payload: payload) == 7


async def test_what_can_be_written_is_written_though_another_cannot(
    state: StateDirectory, host: HostThread
) -> None:
    (state.path / "epoch.json").symlink_to("/dev/null")
    writer = StateWriter(state, host, {"epoch": 7})
    writer.keep(FILE, ["a"])
    assert "symbolic link" in await writer.flush()
    assert kept(state) == ["a"]


async def test_who_waits_hears_when_it_is_on_disk(state: StateDirectory, host: HostThread) -> None:
    """What a service promises is told to others only then."""
    writer, heard = StateWriter(state, host), list[object]()
    writer.keep("service-counter", 1, lambda: heard.append("superseded"))
    writer.keep("service-counter", 2, lambda: heard.append(state.load("service-counter", _same)))
    await writer.flush()
    assert heard == [2]
    await writer.flush()
    assert heard == [2]


def _same(value: object) -> object:
    return value
