"""When is a queue told that it stands?"""

from __future__ import annotations

import itertools

from weave_py.datapath.codel import CoDel

INTERVAL = 0.01


def drops(queue: CoDel, start: float, seconds: float, step: float = 0.0005) -> list[float]:
    """When a queue that never empties loses a frame."""
    times = [start + i * step for i in range(int(seconds / step))]
    return [at for at in times if queue.is_high(at)]


def test_a_burst_loses_nothing() -> None:
    queue = CoDel(INTERVAL)
    for number in range(50):
        assert drops(queue, number * 1.0, INTERVAL * 0.9) == []
        queue.is_low()


def test_a_queue_that_stands_loses_one_and_then_ever_more() -> None:
    found = drops(CoDel(INTERVAL), 0.0, 1.0)
    assert INTERVAL <= found[0] < 2 * INTERVAL
    gaps = [b - a for a, b in itertools.pairwise(found)]
    assert gaps[-1] < gaps[0] / 4
    assert len(found) < 2 * (1.0 / INTERVAL) ** 1.5


def test_once_it_was_empty_it_starts_anew() -> None:
    queue = CoDel(INTERVAL)
    assert drops(queue, 0.0, 0.5)
    queue.is_low()
    assert drops(queue, 100.0, INTERVAL * 0.9) == []
