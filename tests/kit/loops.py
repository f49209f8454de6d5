"""The main loop as plain trio tasks: for tests that run under pytest's own trio, or its clocks."""

from __future__ import annotations

import math
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


class TaskLoop:
    """Does what loop.main_loop.Loop promises, each watched descriptor in tasks of its own."""

    def __init__(self, nursery: trio.Nursery | None = None) -> None:
        """Without a nursery nothing is ever called."""
        self.on_time: Callable[[], None] = lambda: None
        self.wakes_at = math.inf
        self._nursery = nursery
        self._watches: dict[int, list[trio.CancelScope]] = {}
        self._timer = trio.CancelScope()

    def watch(self, fd: int, events: int, on_ready: Callable[[int], None]) -> None:
        self.unwatch(fd)
        scopes = self._watches[fd] = []
        if self._nursery is None:
            return
        for event in (select.EPOLLIN, select.EPOLLOUT):
            if events & event:
                scopes.append(trio.CancelScope())
                # Of its own, for the task that waited before may not be gone yet.
                self._nursery.start_soon(self._wait, scopes[-1], os.dup(fd), event, on_ready)

    def unwatch(self, fd: int) -> None:
        for scope in self._watches.pop(fd, []):
            scope.cancel()

    def wake_at(self, at: float) -> None:
        self.wakes_at = at
        self._timer.deadline = at

    def soon(self, function: Callable[[], None]) -> None:
        if self._nursery is not None:
            trio.lowlevel.current_trio_token().run_sync_soon(function)

    async def keep_time(self) -> None:
        """Until cancelled."""
        while True:
            with self._timer:
                await trio.sleep_until(self._timer.deadline)
            self._timer = trio.CancelScope()
            self.on_time()

    @staticmethod
    async def _wait(
        scope: trio.CancelScope, fd: int, event: int, on_ready: Callable[[int], None]
    ) -> None:
        wait = trio.lowlevel.wait_writable
        if event == select.EPOLLIN:
            wait = trio.lowlevel.wait_readable
        try:
            with scope:
                while True:
                    await wait(fd)
                    if not scope.cancel_called:
                        on_ready(event)
        finally:
            os.close(fd)


@asynccontextmanager
async def task_loop() -> AsyncIterator[TaskLoop]:
    """One that lives as long as the block."""
    async with trio.open_nursery() as nursery:
        loop = TaskLoop(nursery)
        nursery.start_soon(loop.keep_time)
        yield loop
        nursery.cancel_scope.cancel()
