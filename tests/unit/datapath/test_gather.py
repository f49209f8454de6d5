"""Does what was cut come out in one piece, wherever it lies and whatever came before?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weave_py.datapath.gather import MAX_SHAPES, Gatherer
from weave_py.wire.sleeve import MAX_SEGMENTS

BUFFER = 70_000
cuts = st.tuples(
    st.integers(0, 2000),  # bytes in front of the record
    st.sampled_from((16, 24)),  # of header
    st.integers(1, 1500) | st.just(1456),  # of body
    st.integers(1, 44),
    st.integers(0, 1499),  # what the last one lacks
)


@given(st.lists(cuts, min_size=1, max_size=6))
def test_the_record_comes_out_in_one_piece(records: list[tuple[int, int, int, int, int]]) -> None:
    buffer = bytearray(BUFFER)
    gatherer = Gatherer(memoryview(buffer))
    for number, (skip, header, body, count, lack) in enumerate(records):
        sealed = bytes((number + i) % 251 for i in range(count * body - min(lack, body - 1)))
        at = skip
        for start in range(0, len(sealed), body):
            piece = bytes(header) + sealed[start : start + body]
            buffer[at : at + len(piece)] = piece
            at += len(piece)
        found = gatherer.gather(skip + header, header + body, body, count, len(sealed))
        assert bytes(found) == sealed


def test_however_trains_are_cut_few_shapes_are_kept() -> None:
    gatherer = Gatherer(memoryview(bytearray(BUFFER)))
    for size in range(100, 100 + 3 * MAX_SHAPES):
        gatherer.gather(16, size, size - 16, 2, size)
    assert len(gatherer._bodies) <= MAX_SHAPES


def test_tiny_datagrams_make_no_more_views_than_a_record_has_segments() -> None:
    gatherer = Gatherer(memoryview(bytearray(BUFFER)))
    gatherer.gather(16, 17, 1, MAX_SEGMENTS, MAX_SEGMENTS)
    assert [len(bodies) for bodies in gatherer._bodies.values()] == [MAX_SEGMENTS]
