"""Are records put together from whatever order their datagrams come in, within bounds?"""

from __future__ import annotations

import random
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.datapath.parity import parity
from weave_py.datapath.reassembly import LATEST, MAX_PENDING, Reassembly

Segment = tuple[int, int, bool, int, bytes]


def segments(counter: int, record: bytes, body: int) -> list[Segment]:
    count = (len(record) + body - 1) // body
    return [
        (counter, i, i == count - 1, len(record), record[i * body : (i + 1) * body])
        for i in range(count)
    ]


def add(reassembly: Reassembly, segment: Segment) -> bytes | None:
    counter, index, is_last, length, payload = segment
    whole = reassembly.add_untrusted(counter, index, is_last, length, memoryview(payload), 0)
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


def with_parity(reassembly: Reassembly, counter: int, record: bytes, body: int) -> None:
    value = parity(memoryview(record), body).to_bytes(body, "little")
    reassembly.add_parity_untrusted(counter, len(record), memoryview(value))


@given(st.binary(min_size=41, max_size=2000), st.integers(20, 200), st.data())
def test_any_one_datagram_is_made_good(record: bytes, body: int, data: st.DataObject) -> None:
    reassembly = Reassembly()
    with_parity(reassembly, 7, record, body)
    coming = segments(7, record, body)
    lost = data.draw(st.integers(0, len(coming) - 1))
    results = [add(reassembly, s) for s in coming[:lost] + coming[lost + 1 :]]
    late = [bytes(whole) for _, _, whole in reassembly.completed_before(8)]
    done = [r for r in results if r is not None] + late
    assert done == [record] if len(coming) > 1 else not done
    assert reassembly.repaired == len(done)


def test_two_lost_datagrams_are_not_made_good_but_may_still_come() -> None:
    reassembly = Reassembly()
    record = bytes(range(100))
    with_parity(reassembly, 7, record, 30)
    first, second, third, last = segments(7, record, 30)
    assert add(reassembly, first) is None
    assert add(reassembly, last) is None
    assert not list(reassembly.completed_before(8))
    assert add(reassembly, third) is None
    assert [r for _, _, r in reassembly.completed_before(8)] == [record]
    assert add(reassembly, second) is None  # too late: the caller's replay window refuses it


def test_what_is_long_past_is_given_up() -> None:
    reassembly = Reassembly()
    add(reassembly, segments(1, bytes(100), 30)[0])
    assert not list(reassembly.completed_before(1 + LATEST))
    assert len(reassembly) == 1
    assert not list(reassembly.completed_before(2 + LATEST))
    assert (len(reassembly), reassembly.given_up) == (0, 1)


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
        reassembly.add_untrusted(counter, 0, False, 65_535, memoryview(b"x"), 0)
    total = sum(sys.getsizeof(p.buffer) for p in reassembly._pending.values())
    assert total <= MAX_PENDING * 66_000
