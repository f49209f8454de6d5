"""The data plane's loop, with trio as its guest."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest
import trio

from tests.kit.dispositions import sigint_interrupts
from weave_py.loop.main_loop import MainLoop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def test_it_returns_what_the_program_returns() -> None:
    async def main(one: int, two: int) -> int:
        await trio.sleep(0.001)
        return await trio.to_thread.run_sync(lambda: one + two)

    assert MainLoop().run(main, 1, 2) == 3


def test_it_raises_what_the_program_raises() -> None:
    async def main() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        MainLoop().run(main)


def test_a_turn_is_given_what_is_ready(pipe: tuple[int, int]) -> None:
    loop = MainLoop()
    seen: list[bytes] = []

    async def main() -> None:
        loop.epoll.register(pipe[0], select.EPOLLIN)
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def turn(ready: list[tuple[int, int]]) -> None:
            if pipe[0] in dict(ready):
                seen.append(os.read(pipe[0], 100))
                token.run_sync_soon(done.set)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.drive, turn)
            await trio.lowlevel.checkpoint()
            os.write(pipe[1], b"frame")
            with trio.fail_after(10):
                await done.wait()
            nursery.cancel_scope.cancel()

    loop.run(main)
    assert seen == [b"frame"]


def test_tasks_run_although_the_road_is_never_idle(pipe: tuple[int, int]) -> None:
    """A descriptor that is always ready, as under full load."""
    loop = MainLoop()
    turns = 0

    def turn(ready: list[tuple[int, int]]) -> None:
        nonlocal turns
        turns += 1

    async def main() -> int:
        loop.epoll.register(pipe[1], select.EPOLLOUT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.drive, turn)
            for _ in range(20):
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        return turns

    with_load = loop.run(main)
    assert with_load > 20


def test_a_bug_in_the_road_is_raised_where_its_owner_waits(pipe: tuple[int, int]) -> None:
    loop = MainLoop()

    def turn(ready: list[tuple[int, int]]) -> None:
        if pipe[1] in dict(ready):
            raise ZeroDivisionError

    async def main() -> None:
        loop.epoll.register(pipe[1], select.EPOLLOUT)
        with trio.fail_after(10):
            await loop.drive(turn)

    with pytest.raises(ZeroDivisionError):
        loop.run(main)


def test_sigint_is_raised_in_the_program() -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        with trio.fail_after(10):
            await trio.sleep_forever()

    with sigint_interrupts(), pytest.raises(KeyboardInterrupt):
        MainLoop().run(main)
