"""Who owns the main thread? The packet road; trio is its guest.

A frame that arrives must not wait for a scheduler: between the kernel saying that a descriptor is
ready and the road reading it there is one `epoll_wait` and nothing else. (Woken through trio, each
frame took about 100 µs longer, four times per round trip.) So the loop here is the road's own, and
everything else, the whole control road, runs in trio's *guest mode*: trio waits for its own
descriptors and timers in a thread of its own, and its tasks run here, between two turns of the
road, in the same thread. Nothing needs a lock.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")
Turn = Callable[[list[tuple[int, int]]], None]

# A reply often follows within a fraction of a millisecond, and being woken takes nearly as long
# as that. So after activity we look a little longer, but only while that has been worth it: if we
# were woken after a long rest, the next frame is not likely to come at once either.
SPIN = 0.000_1
SHORT_REST = 0.000_5


class MainLoop:
    """Runs a trio program, and a packet road's turns as soon as its descriptors are ready."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        """Where the road registers its descriptors."""
        self._turn: Turn | None = None
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll.register(self._wake_fd, select.EPOLLIN)
        self._soon: deque[Callable[[], object]] = deque()
        self._outcome: outcome.Outcome[object] | None = None
        self._failure: BaseException | None = None
        self._failed: Callable[[], object] = self._not_watched

    @trio.lowlevel.enable_ki_protection
    def run(self, main: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Run `main` like trio.run."""
        trio.lowlevel.start_guest_run(
            main,
            *arguments,
            run_sync_soon_threadsafe=self._call_soon,
            done_callback=self._end,
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

    # --- inside --------------------------------------------------------------------------

    def _loop(self) -> None:
        clock, poll, wake_fd = time.perf_counter, self.epoll.poll, self._wake_fd
        was_short = False
        while self._outcome is None:
            asleep_at = clock()
            ready = poll()
            now = clock()
            is_short = now - asleep_at < SHORT_REST
            spin = SPIN if is_short and was_short else 0.0
            was_short = is_short
            quiet_at = now + spin
            while self._outcome is None:
                if ready:
                    if len(ready) == 1 and ready[0][0] == wake_fd:
                        self._run_guest()
                    else:
                        self._run_turn(ready)
                    quiet_at = clock() + spin
                elif clock() >= quiet_at:
                    break
                else:
                    os.sched_yield()  # who has something to do on this core goes first
                ready = poll(0)

    def _run_turn(self, ready: list[tuple[int, int]]) -> None:
        if self._turn is not None:
            try:
                self._turn(ready)
            except Exception as error:  # a bug: let it be seen where the road's owner waits
                self._turn = None
                self._failure = error
                self._failed()
        if any(fd == self._wake_fd for fd, _ in ready):
            self._run_guest()

    def _run_guest(self) -> None:
        os.eventfd_read(self._wake_fd)
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def _call_soon(self, function: Callable[[], object]) -> None:
        self._soon.append(function)
        os.eventfd_write(self._wake_fd, 1)

    def _end(self, result: outcome.Outcome[object]) -> None:
        self._outcome = result

    def _not_watched(self) -> None:
        raise AssertionError("a turn without an owner")
