"""Does nobody get more than its bucket holds, and does no table of buckets grow?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.token_bucket import TokenBucket, TokenBuckets


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 5)), max_size=60))
def test_never_more_than_the_burst_and_what_time_brings(asked: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(5.0, 2.0)
    now, taken = 100.0, 0.0
    for pause, cost in asked:
        now += pause
        had = bucket.has(now, cost)
        assert bucket.take(now, cost) is had
        taken += cost if had else 0.0
        assert taken <= 5.0 + (now - 100.0) * 2.0 + 1e-6


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(2.0, 1.0)
    assert bucket.take(0.0)
    for _ in range(10):
        assert not bucket.take(0.0, 1.5)
    assert bucket.take(0.0)
    assert not bucket.take(0.9)
    assert bucket.take(1.0)
    assert not bucket.take(0.5), "a clock that goes back brings nothing"


def test_each_source_has_its_own_and_the_table_is_bounded() -> None:
    buckets: TokenBuckets[int] = TokenBuckets(1.0, 0.0, most=3)
    assert buckets.of(1).take(0.0)
    assert buckets.of(2).take(0.0)
    assert not buckets.of(1).take(0.0)
    for source in range(10, 13):
        buckets.of(source)
    assert len(buckets) == 3
    assert buckets.of(1).take(0.0), "forgotten"
