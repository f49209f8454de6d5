"""Do keys age while the host sleeps?"""

from __future__ import annotations

import time

import pytest
import trio

from tests.unit.link.test_session import Two
from weave_py.loop.boot_clock import BootClock
from weave_py.loop.main_loop import MainLoop


def test_the_routers_loop_runs_by_the_clock_that_counts_suspend() -> None:
    async def main() -> float:
        assert isinstance(trio.lowlevel.current_clock(), BootClock)
        before = trio.current_time()
        await trio.sleep(0.01)
        assert trio.current_time() >= before + 0.01
        return trio.current_time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    assert MainLoop().run(main) == pytest.approx(0, abs=1)


def test_after_a_long_sleep_nothing_is_sealed_under_the_keys_from_before() -> None:
    """F17: by CLOCK_MONOTONIC they would be as young as when the lid was closed."""
    slept = 0.0
    clock = BootClock(lambda: 1000.0 + slept)
    two = Two(clock.current_time())
    two.meet()
    two.carry()
    deadline = two.low.next_deadline()
    assert deadline is not None
    assert clock.deadline_to_sleep_time(deadline.at) > 100
    slept = 8 * 3600
    assert clock.deadline_to_sleep_time(deadline.at) < 0, "due at once"
    two.now = clock.current_time()
    two.advance()
    assert two.low.current is None
    assert two.high.current is None
    two.carry()
    assert two.low.current is not None, "and there are new ones"
