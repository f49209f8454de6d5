"""Are records put together from whatever order their datagrams come in, within bounds?"""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.datapath.parity import parity
from weave_py.datapath.reassembly import (
    LATEST,
    MAX_PENDING,
    POOL_BYTES,
    SHARE_BYTES,
    PiecePool,
    Reassembly,
)

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
    dice, reassembly = random.Random(seed), Reassembly(PiecePool())
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
    reassembly = Reassembly(PiecePool())
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
    reassembly = Reassembly(PiecePool())
    with_parity(reassembly, 7, record, body)
    coming = segments(7, record, body)
    lost = data.draw(st.integers(0, len(coming) - 1))
    results = [add(reassembly, s) for s in coming[:lost] + coming[lost + 1 :]]
    late = [bytes(whole) for _, _, whole in reassembly.completed_before(8)]
    done = [r for r in results if r is not None] + late
    assert done == [record] if len(coming) > 1 else not done
    assert reassembly.repaired == len(done)


def test_two_lost_datagrams_are_not_made_good_but_may_still_come() -> None:
    reassembly = Reassembly(PiecePool())
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
    reassembly = Reassembly(PiecePool())
    add(reassembly, segments(1, bytes(100), 30)[0])
    assert not list(reassembly.completed_before(1 + LATEST))
    assert len(reassembly) == 1
    assert not list(reassembly.completed_before(2 + LATEST))
    assert (len(reassembly), reassembly.given_up) == (0, 1)


def test_memory_is_bounded_and_the_oldest_makes_room() -> None:
    reassembly = Reassembly(PiecePool())
    halves = [segments(n, n.to_bytes(4, "little") * 10, 20) for n in range(200)]
    for first, _ in halves:
        assert add(reassembly, first) is None
        assert len(reassembly) <= MAX_PENDING
    assert reassembly.given_up == 200 - MAX_PENDING
    results = [add(reassembly, second) for _, second in halves[-MAX_PENDING:]]
    assert results == [n.to_bytes(4, "little") * 10 for n in range(200 - MAX_PENDING, 200)]
    assert add(reassembly, halves[0][1]) is None


def test_contradictions_are_passed_over() -> None:
    reassembly = Reassembly(PiecePool())
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
    reassembly = Reassembly(PiecePool())
    for segment in coming:
        whole = add(reassembly, segment)
        assert whole is None or len(whole) == segment[3]
    assert len(reassembly) <= MAX_PENDING


def test_a_record_costs_what_has_come_of_it_not_what_it_claims() -> None:
    """F5f: 703 KiB of datagrams with 17 bytes in 1,000 sessions pinned a gigabyte."""
    pool = PiecePool()
    sessions = [Reassembly(pool) for _ in range(1000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for session in sessions:
        for counter in range(MAX_PENDING):
            session.add_untrusted(counter, 0, False, 65_535, memoryview(b"x"), 0)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held < POOL_BYTES * 5 / 4
    assert pool.held <= POOL_BYTES


def test_all_sessions_share_one_pool_and_what_waited_longest_makes_room() -> None:
    """F5f: whatever comes, the router keeps no more than its pool; a record that is just coming
    is not pushed out by floods of others, as long as they take longer to fill the pool."""
    pool, payload = PiecePool(), memoryview(bytes(60_000))
    flood = [Reassembly(pool) for _ in range(40)]
    honest = Reassembly(pool)
    stale = segments(1, bytes(range(90)), 40)
    add(honest, stale[0])
    for counter in range(40):
        for session in flood:
            session.add_untrusted(counter, 0, False, 65_535, payload, 0)
            assert pool.held <= POOL_BYTES
        first, second, third = segments(100 + counter, bytes(range(90)), 40)
        assert add(honest, first) is None
        assert add(honest, third) is None
        assert add(honest, second) == bytes(range(90))
    assert (len(honest), honest.given_up) == (0, 1)
    for session in (*flood, honest):
        session.close()
    assert pool.held == 0


def test_a_session_has_a_share_of_the_pool() -> None:
    """F5f: pieces need not add up to what their records claim."""
    pool = PiecePool()
    greedy = Reassembly(pool)
    for counter in range(MAX_PENDING):
        for index in range(2, 0, -1):
            greedy.add_untrusted(counter, index, False, 65_535, memoryview(bytes(21_000)), 0)
        for index in range(3, 200):
            greedy.add_untrusted(counter, index, False, 65_535, memoryview(bytes(320)), 0)
            greedy.add_parity_untrusted(counter, 65_535, memoryview(bytes(60_000)))
            assert pool.held <= SHARE_BYTES


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 9), st.booleans()),
        max_size=200,
    )
)
def test_what_the_pool_holds_is_what_its_sessions_hold(
    coming: list[tuple[int, int, int, bool]],
) -> None:
    pool = PiecePool(most=20_000)
    sessions = [Reassembly(pool) for _ in range(4)]
    for number, counter, index, is_parity in coming:
        session, payload = sessions[number], memoryview(bytes(700))
        if is_parity:
            session.add_parity_untrusted(counter, 4000, payload)
        else:
            session.add_untrusted(counter, index, index == 5, 4000, payload, 0)
        list(session.completed_before(counter - 20))
        costs = [p.cost for s in sessions for p in s._pending.values()]
        assert pool.held == sum(costs) <= 20_000
        assert [s._held for s in sessions] == [
            sum(p.cost for p in s._pending.values()) for s in sessions
        ]
