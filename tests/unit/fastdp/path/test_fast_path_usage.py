"""Is a path in use when frames flow, and not when only probes do?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdp.path.settings import FastSettings
from fastdp.path.usage import _LOST_AFTER, Usage

S = FastSettings()


def read(usage: Usage) -> Usage:
    usage.counted(1000, 1000, 0.0)
    return usage


def test_what_was_there_before_says_nothing() -> None:
    usage = Usage(S)
    assert not usage.counted(1000, 1000, 0.0)
    assert not usage.in_use(0.0)
    assert not usage.is_alive(0.0)


@pytest.mark.parametrize("side", ["sent", "received"])
def test_traffic_is_use_for_a_while(side: str) -> None:
    usage = read(Usage(S))
    usage.counted(1000 + 10 * (side == "sent"), 1000 + 10 * (side == "received"), 1.0)
    assert usage.in_use(1.0)
    assert usage.in_use(1.0 + S.in_use - 0.1)
    assert not usage.in_use(1.0 + S.in_use)
    assert usage.is_alive(2.0) == (side == "received")


def test_any_packet_that_was_sent_is_noticed() -> None:
    usage = read(Usage(S))
    assert not usage.counted(1000, 1000, 1.0)
    assert usage.counted(1001, 1000, 2.0)
    assert not usage.in_use(2.0)
    assert not usage.counted(1001, 1000, 3.0)


def test_a_slow_flow_is_use_all_the_time() -> None:
    usage = read(Usage(S))
    at = 0.0
    for packets in range(1, 40):
        at += 0.5
        usage.counted(1000 + packets, 1000, at)
        assert usage.in_use(at) or packets <= S.stray_packets


def test_a_lone_packet_now_and_then_is_not() -> None:
    usage = read(Usage(S))
    for packets in range(1, 40):
        usage.counted(1000 + packets, 1000 + packets, packets * 4.0)
        assert not usage.in_use(packets * 4.0)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=60))
def test_probes_are_no_use(ticks: list[tuple[int, bool, bool]]) -> None:
    """However early or late the counters are read: a probe is noted before it is sent, and after
    it was received."""
    usage = Usage(S)
    usage.counted(7, 7, 0.0)
    sent = received = 7
    unsent = unnoted = 0
    for number, (probes, sends_now, notes_now) in enumerate(ticks):
        usage.probes_out += probes
        unsent += probes
        if sends_now:
            sent, unsent = sent + unsent, 0
        usage.probes_in, unnoted = usage.probes_in + unnoted, 0
        received, unnoted = received + probes, probes
        if notes_now:
            usage.probes_in, unnoted = usage.probes_in + unnoted, 0
        touched = usage.counted(sent, received, 0.25 * number)
        # (Those that leave much later, many at once, may be taken for new packets.)
        assert not (touched or usage.in_use(0.25 * number)) or number >= _LOST_AFTER


def test_probes_that_never_left_hide_no_traffic_for_long() -> None:
    usage = read(Usage(S))
    usage.probes_out += 100
    for reading in range(20):
        usage.counted(1000, 1000, reading)
    assert usage.counted(1010, 1000, 20.0)
    assert usage.in_use(20.0)


def test_a_new_device_counts_from_zero() -> None:
    usage = read(Usage(S))
    usage.counted(0, 0, 1.0)
    assert not usage.in_use(1.0)
    usage.counted(10, 0, 2.0)
    assert usage.in_use(2.0)
