"""Who owns the main thread? The data plane; trio is its guest.

A frame that arrives must not wait for a scheduler: between the kernel saying that a descriptor is
ready and the data plane reading it there is one `epoll_wait` and nothing else. (Woken through
trio, each frame took about 100 µs longer, four times per round trip.) So the loop here is the data
plane's own, and what else a router does runs in trio's *guest mode*: trio waits for its own
descriptors and timers in a thread of its own, and its tasks run here, between two turns of the
data plane, in the same thread. Nothing needs a lock.

What happens often takes no detour by trio either: control connections (`watch`) and the engine's
timer (`wake_at`) are served here. A heartbeat through two threads and a scheduler cost three times
as much, and with thirty neighbours that was most of what a router cost that has nothing to do.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import outcome
import trio

from weave_py.loop.boot_clock import BootClock

T = TypeVar("T")
Turn = Callable[[list[tuple[int, int]]], None]

# A reply often follows within a fraction of a millisecond, and being woken takes nearly as long
# as that. So after activity we look a little longer, but only while that has been worth it: if we
# were woken after a long rest, the next frame is not likely to come at once either.
SPIN = 0.000_1
SHORT_REST = 0.000_5
LIGHT_TURN = 0.000_06  # seconds: a few small frames take no longer, a super-frame does


class Loop(Protocol):
    """Who calls what serves sockets and time without being a task (MainLoop, or a test's)."""

    on_time: Callable[[], None]
    """Called when it is time."""

    def watch(self, fd: int, events: int, on_ready: Callable[[int], None]) -> None:
        """Call `on_ready(events)` whenever any of these (select.EPOLLIN …) is there, and at
        errors. For one descriptor the last call counts."""

    def unwatch(self, fd: int) -> None:
        """Before it is closed; harmless if it is not watched."""

    def wake_at(self, at: float) -> None:
        """Call `on_time` then (trio's clock; inf: never), instead of when it was said before."""

    def soon(self, function: Callable[[], None]) -> None:
        """Call it once, when what is ready now has been served."""


class MainLoop:
    """Runs a trio program, and a data plane's turns as soon as its descriptors are ready."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        """Where the data plane registers its descriptors."""
        self._turn: Turn | None = None
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll.register(self._wake_fd, select.EPOLLIN)
        self._soon: deque[Callable[[], object]] = deque()
        self._outcome: outcome.Outcome[object] | None = None
        self._failure: BaseException | None = None
        self._failed: Callable[[], object] = self._not_watched
        self._watched: dict[int, Callable[[int], None]] = {}
        self._wake_at = math.inf
        self._todo: list[Callable[[], None]] = []
        self.on_time: Callable[[], None] = self._nobodys_time

    @trio.lowlevel.enable_ki_protection
    def run(self, main: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run `main` like trio.run."""
        trio.lowlevel.start_guest_run(
            main,
            *arguments,
            run_sync_soon_threadsafe=self._call_soon,
            done_callback=self._end,
            clock=BootClock(),
        )
        try:
            self._loop()
        finally:
            self.epoll.close()
            os.close(self._wake_fd)
        assert self._outcome is not None
        return self._outcome.unwrap()  # type: ignore[return-value]

    async def drive(self, turn: Turn) -> None:
        """Give `turn` what is ready, again and again, until cancelled; what it raises is raised
        here. It runs between trio's steps: it may call what does not wait (set an event, start a
        task), as trio allows to the host of a guest run."""
        failed = trio.Event()
        token = trio.lowlevel.current_trio_token()
        self._failed = lambda: token.run_sync_soon(failed.set)
        self._turn = turn
        try:
            await failed.wait()
            assert self._failure is not None
            raise self._failure
        finally:
            self._turn = None

    def watch(self, fd: int, events: int, on_ready: Callable[[int], None]) -> None:
        """See Loop."""
        if fd in self._watched:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self._watched[fd] = on_ready

    def unwatch(self, fd: int) -> None:
        """See Loop."""
        if self._watched.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def wake_at(self, at: float) -> None:
        """See Loop."""
        self._wake_at = at - trio.current_time() + time.perf_counter()

    def soon(self, function: Callable[[], None]) -> None:
        """See Loop."""
        self._todo.append(function)

    # --- inside --------------------------------------------------------------------------

    def _loop(self) -> None:
        clock, poll, wake_fd = time.perf_counter, self.epoll.poll, self._wake_fd
        was_short = False
        while self._outcome is None:
            asleep_at = clock()
            ready = poll(self._patience(asleep_at))
            now = clock()
            is_short = now - asleep_at < SHORT_REST
            spin = SPIN if is_short and was_short and ready else 0.0
            was_short = is_short
            quiet_at = now + spin
            while self._outcome is None:
                if ready:
                    if len(ready) == 1 and ready[0][0] == wake_fd:
                        self._run_guest()
                    else:
                        self._run_turn(ready)
                    done = clock()
                    # Who has just moved much waits for bulk, which does not mind, but its cores do.
                    quiet_at = done + spin if done - now < LIGHT_TURN else done
                # What waits in sockets is read before time passes: who has spoken is not silent.
                is_time = clock() >= self._wake_at
                if is_time or self._todo:
                    self._run_own(is_time)
                elif not ready:
                    if clock() >= quiet_at:
                        break
                    os.sched_yield()  # who has something to do on this core goes first
                ready = poll(0)
                now = clock()

    def _patience(self, now: float) -> float | None:
        """How long the kernel may let us sleep, in seconds."""
        return None if self._wake_at == math.inf else max(self._wake_at - now, 0.0)

    def _run_turn(self, ready: list[tuple[int, int]]) -> None:
        road = []
        try:
            for each in ready:
                on_ready = self._watched.get(each[0])
                if on_ready is None:
                    road.append(each)
                else:
                    on_ready(each[1])
            if road and self._turn is not None:
                self._turn(road)
        except Exception as error:
            self._fail(error)
        if any(fd == self._wake_fd for fd, _ in ready):
            self._run_guest()

    def _run_own(self, is_time: bool) -> None:
        """What is to be done at the end of a turn."""
        try:
            if is_time:
                self._wake_at = math.inf
                self.on_time()
            todo, self._todo = self._todo, []
            for function in todo:
                function()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """A bug: let it be seen where the data plane's owner waits."""
        self._turn = None
        self._failure = error
        self._failed()

    def _run_guest(self) -> None:
        os.eventfd_read(self._wake_fd)
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _call_soon(self, function: Callable[[], object]) -> None:
        self._soon.append(function)
        os.eventfd_write(self._wake_fd, 1)

    def _end(self, result: outcome.Outcome[object]) -> None:
        self._outcome = result

    def _nobodys_time(self) -> None:
        """Whoever sets `on_time` says then when it is to be."""

    def _not_watched(self) -> None:
        raise AssertionError("a turn without an owner")
