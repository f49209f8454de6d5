"""Is each flow told once, and nobody else?"""

from __future__ import annotations

import tracemalloc

import pytest

from tests.kit.super_frames import Odd, segmented, super_frame
from weave_py.datapath.flow_drop import ENOUGH, MAX_FLOWS, FlowDrop
from weave_py.datapath.super_frame import GSO_TCPV6

PAYLOAD, SEGMENT = 5000, 1000


def of_flow(number: int, ipv6: bool = False) -> bytes:
    frame = bytearray(super_frame(bytes(PAYLOAD), SEGMENT, ipv6))
    ports = 16 + 14 + (40 if ipv6 else 20)
    frame[ports : ports + 2] = number.to_bytes(2, "big")
    return bytes(frame)


def show(hints: FlowDrop, frame: bytes) -> int:
    return hints.cut(memoryview(bytearray(frame)), 0, len(frame))


@pytest.mark.parametrize("ipv6", [False, True])
def test_each_flow_loses_its_last_segment_once_a_round(ipv6: bool) -> None:
    hints = FlowDrop()
    for _ in range(2):
        hints.begin()
        frames = [of_flow(number, ipv6) for number in range(100)]
        sizes = [show(hints, frame) for frame in frames]
        assert set(sizes) == {len(frames[0]) - SEGMENT}
        assert [show(hints, frame) for frame in frames[:ENOUGH]] == [0] * ENOUGH
        assert not hints.is_on


def test_a_round_ends_when_the_queue_is_short() -> None:
    hints = FlowDrop()
    hints.begin()
    assert hints.is_on
    hints.end()
    assert not hints.is_on


def test_what_cannot_be_cut_is_left_alone() -> None:
    hints = FlowDrop()
    hints.begin()
    assert show(hints, bytes(200)) == 0
    single = super_frame(bytes(SEGMENT), SEGMENT)
    assert len(segmented(single)) == 1
    assert show(hints, single) == 0


def test_the_number_of_flows_is_bounded() -> None:
    hints = FlowDrop()
    hints.begin()
    told = [show(hints, of_flow(number)) for number in range(MAX_FLOWS + ENOUGH)]
    assert sum(map(bool, told)) == MAX_FLOWS


def test_what_a_flow_is_remembered_by_is_short() -> None:
    """F1's neighbour: its addresses and ports, not the tens of kilobytes of options that a
    container may put between them, in a thousand frames."""
    tracemalloc.start()
    try:
        hints = FlowDrop()
        hints.begin()
        for number in range(100):
            frame = Odd(GSO_TCPV6, 1000, 61_000, True, extensions=30_000 + 4 * number).frame()
            show(hints, frame)
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
