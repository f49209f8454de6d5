"""Are records put together from whatever order their datagrams come in, within bounds?"""

from __future__ import annotations

import random
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.link.reassembly import MAX_PENDING, Reassembly

Segment = tuple[int, int, bool, int, bytes]


def segments(counter: int, record: bytes, body: int) -> list[Segment]:
    count = (len(record) + body - 1) // body
    return [
        (counter, i, i == count - 1, len(record), record[i * body : (i + 1) * body])
        for i in range(count)
    ]


def add(reassembly: Reassembly, segment: Segment) -> bytes | None:
    counter, index, is_last, length, payload = segment
    whole = reassembly.add_untrusted(counter, index, is_last, length, memoryview(payload))
    return None if whole is None else bytes(whole)


@given(
    st.lists(st.binary(min_size=17, max_size=400), min_size=1, max_size=10),
    st.integers(7, 120),
    st.integers(0, 2**32),
)
def test_any_order_and_duplicates(records: list[bytes], body: int, seed: int) -> None:
    """Until a record is complete, its datagrams may come as they like, even mixed and twice."""
    dice, reassembly = random.Random(seed), Reassembly()
    coming = [s for n, record in enumerate(records) for s in segments(n, record, body)]
    dice.shuffle(coming)
    done: dict[int, bytes] = {}
    for segment in coming:
        for _ in range(dice.choice((1, 2))):
            if segment[0] in done:
                break
            whole = add(reassembly, segment)
            if whole is not None:
                done[segment[0]] = whole
    assert done == dict(enumerate(records))
    assert len(reassembly) == 0
    assert reassembly.given_up == 0


def test_a_missing_datagram_keeps_the_record_back() -> None:
    reassembly = Reassembly()
    first, second, third = segments(5, bytes(range(90)), 40)
    assert add(reassembly, third) is None
    assert add(reassembly, first) is None
    assert add(reassembly, first) is None
    assert len(reassembly) == 1
    assert add(reassembly, second) == bytes(range(90))


def test_memory_is_bounded_and_the_oldest_makes_room() -> None:
    reassembly = Reassembly()
    halves = [segments(n, n.to_bytes(4, "little") * 10, 20) for n in range(200)]
    for first, _ in halves:
        assert add(reassembly, first) is None
        assert len(reassembly) <= MAX_PENDING
    assert reassembly.given_up == 200 - MAX_PENDING
    results = [add(reassembly, second) for _, second in halves[-MAX_PENDING:]]
    assert results == [n.to_bytes(4, "little") * 10 for n in range(200 - MAX_PENDING, 200)]
    assert add(reassembly, halves[0][1]) is None


def test_contradictions_are_passed_over() -> None:
    reassembly = Reassembly()
    first, second = segments(1, bytes(range(60)), 40)
    add(reassembly, first)
    counter, index, is_last, length, payload = second
    assert add(reassembly, (counter, index, is_last, length + 1, payload)) is None
    assert add(reassembly, (counter, index, is_last, 5, payload)) is None  # longer than its record
    assert add(reassembly, (counter, index, is_last, length, b"")) is None
    assert add(reassembly, (counter, 200, False, length, payload)) is None  # beyond its end
    assert add(reassembly, second) == bytes(range(60))


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**48 - 1),
            st.integers(0, 255),
            st.booleans(),
            st.integers(0, 65_535),
            st.binary(max_size=100),
        ),
        max_size=150,
    )
)
def test_garbage_costs_bounded_memory_and_never_overflows(coming: list[Segment]) -> None:
    reassembly = Reassembly()
    for segment in coming:
        whole = add(reassembly, segment)
        assert whole is None or len(whole) == segment[3]
    assert len(reassembly) <= MAX_PENDING


def test_the_worst_case_is_some_megabytes() -> None:
    reassembly = Reassembly()
    for counter in range(10 * MAX_PENDING):
        reassembly.add_untrusted(counter, 0, False, 65_535, memoryview(b"x"))
    total = sum(sys.getsizeof(p.buffer) for p in reassembly._pending.values())
    assert total <= MAX_PENDING * 66_000
