"""Is a quiet path cheap, and one that breaks meanwhile noticed as soon as it is used?"""

from __future__ import annotations

from tests.kit.fast_pair import CUT, FastPair
from tests.kit.fast_story import Story


def test_idle_is_cheap_and_use_is_watched() -> None:
    pair = FastPair()
    pair.start()
    pair.run_until(pair.both_fast, 5)
    pair.run(10)
    before = [(end.statuses, end.probes) for end in pair.ends]
    pair.run(100)
    for end, (statuses, probes) in zip(pair.ends, before, strict=True):
        assert end.statuses - statuses + end.probes - probes <= 200
    pair.a.traffic = True
    pair.run(1)
    before = [(end.statuses, end.probes) for end in pair.ends]
    pair.run(2)
    for end, (statuses, _) in zip(pair.ends, before, strict=True):
        assert 18 <= end.statuses - statuses <= 30


def test_a_silent_peer_costs_little() -> None:
    story = Story().go_fast()
    story.path.counted(0, 0, story.now)
    story.wait(10)
    story.path.take_outputs()
    for second in range(100):
        story.path.counted(100 * second, 0, story.now)
        story.wait(1)
    outputs = story.path.take_outputs()
    assert len(outputs) <= 200


def test_a_dead_direction_is_noticed_within_a_second_when_traffic_restarts() -> None:
    for seed in range(10):
        pair = FastPair(seed)
        pair.start()
        pair.run_until(pair.both_fast, 5)
        pair.run(10 + pair.random.random())
        pair.a.mode = CUT
        pair.a.traffic = True
        assert pair.run_until(pair.neither_fast, 1) <= 1


def test_one_packet_into_a_dead_direction_is_enough() -> None:
    """A connection's first packet would be followed by the next one after a second only."""
    for seed in range(10):
        pair = FastPair(seed)
        pair.start()
        pair.run_until(pair.both_fast, 5)
        pair.run(10 + pair.random.random())
        pair.a.mode = CUT
        pair.a.send_data(100)
        assert pair.run_until(pair.neither_fast, 1.2) <= 1.2
