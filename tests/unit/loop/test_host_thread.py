"""Is it one thread, and what does a caller see who is cancelled?"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from weave_py.loop.host_thread import HostThread


@pytest.fixture
def host() -> Iterator[HostThread]:
    with HostThread() as thread:
        yield thread


async def test_always_the_same_thread(host: HostThread) -> None:
    """Also when others of trio's threads come and go."""
    seen = set()
    for _ in range(5):
        await trio.to_thread.run_sync(threading.get_ident)
        seen.add(await host.run(threading.get_ident))
    assert len(seen) == 1
    assert threading.get_ident() not in seen


async def test_results_and_errors_come_back(host: HostThread) -> None:
    assert await host.run(int, "12", base=8) == 10
    with pytest.raises(ValueError, match="invalid literal"):
        await host.run(int, "x")
    assert await host.run(int, "7") == 7


async def test_cancellation_waits_for_what_runs_and_forgets_what_does_not(host: HostThread) -> None:
    go_on = threading.Event()
    called: list[str] = []
    async with trio.open_nursery() as running:
        running.start_soon(host.run, go_on.wait)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as queued:
            queued.start_soon(host.run, called.append, "queued")
            await trio.testing.wait_all_tasks_blocked()
            queued.cancel_scope.cancel()
        running.cancel_scope.cancel()
        go_on.set()
    assert await host.run(list, called) == []
