"""Does the search find what passes, quickly, and never claim more?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.link.path_mtu import BASE, RAISE_EVERY, RETRY_AFTER, SIZES, TRIES, PathMtu

START = 50.0
STEPS = 7  # sizes that a search may have to try and give up, and the last one that passes


def largest(true_mtu: int) -> int:
    return max((size for size in SIZES if size <= true_mtu), default=BASE)


def search(
    mtu: PathMtu,
    true_mtu: int,
    now: float,
    interface: int = 10_000,
    rtt: float = 0.02,
    loss: float = 0.0,
    seed: int = 0,
) -> tuple[float, int]:
    """Probe until the search is over; returns (now, number of probes)."""
    dice, probes = random.Random(seed), 0
    answers: list[tuple[float, int]] = []
    while mtu.is_searching or mtu.next_deadline().at <= now:
        assert probes < 100
        now = max(now, min([mtu.next_deadline().at, *(at for at, _ in answers)]))
        for answer in [a for a in answers if a[0] <= now]:
            answers.remove(answer)
            mtu.acknowledged(answer[1], now)
        size = mtu.due(now)
        if size is None:
            continue
        probes += 1
        if size > interface:
            mtu.refused(size, now)
        elif size <= true_mtu and dice.random() >= loss:
            answers.append((now + rtt, size))
    return now, probes


@given(st.integers(BASE, 9200), st.sampled_from([0.0005, 0.02, 0.25]))
def test_finds_the_largest_size_that_passes(true_mtu: int, rtt: float) -> None:
    mtu = PathMtu(START)
    now, probes = search(mtu, true_mtu, START, rtt=rtt)
    assert mtu.size == largest(true_mtu)
    assert probes <= STEPS * TRIES
    assert now - START <= STEPS * TRIES * RETRY_AFTER


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("less", [0, 1])
def test_finds_every_size_of_the_table_exactly(size: int, less: int) -> None:
    mtu = PathMtu(START)
    search(mtu, size - less, START)
    assert mtu.size == largest(size - less)


def test_ethernet_takes_one_answer_and_jumbo_frames_two() -> None:
    mtu = PathMtu(START)
    assert mtu.due(START) == 1472
    mtu.acknowledged(1472, START)
    assert mtu.size == 1472
    assert mtu.due(START) == 8972
    mtu.acknowledged(8972, START)
    assert mtu.size == 8972
    assert not mtu.is_searching


@given(st.integers(BASE, 9200), st.integers(BASE, 9200))
def test_what_the_kernel_refuses_costs_no_time(true_mtu: int, interface: int) -> None:
    mtu = PathMtu(START)
    search(mtu, true_mtu, START, interface)
    assert mtu.size == largest(min(true_mtu, interface))
    mtu = PathMtu(START)
    now, probes = search(mtu, interface, START, interface, rtt=0.0)
    assert mtu.size == largest(interface)
    assert now == START
    assert probes <= STEPS


def test_a_refusal_of_something_else_is_ignored() -> None:
    mtu = PathMtu(START)
    assert mtu.due(START) == 1472
    mtu.refused(8972, START)
    assert mtu.next_deadline().at == START + RETRY_AFTER
    mtu.refused(1472, START)
    assert mtu.next_deadline().at == START


@settings(deadline=None)
@given(st.integers(BASE, 9200), st.integers(0, 1000))
def test_loss_never_makes_it_claim_too_much(true_mtu: int, seed: int) -> None:
    mtu = PathMtu(START)
    now, _ = search(mtu, true_mtu, START, loss=0.4, seed=seed)
    assert mtu.size <= largest(true_mtu)
    search(mtu, true_mtu, now + RAISE_EVERY)
    assert mtu.size == largest(true_mtu)


@pytest.mark.parametrize("before", SIZES[1:])
@pytest.mark.parametrize("after", [BASE, 1300, 1472, 4052])
def test_a_black_hole_means_the_base_at_once_and_a_new_search(before: int, after: int) -> None:
    if after >= before:
        return
    mtu = PathMtu(START)
    now, _ = search(mtu, before, START)
    mtu.black_hole(now)
    assert mtu.size == BASE
    later, probes = search(mtu, after, now)
    assert mtu.size == largest(after)
    assert probes <= STEPS * TRIES
    assert later - now <= STEPS * TRIES * RETRY_AFTER


@pytest.mark.parametrize("size", [1252, 1472, 4052, 8972])
def test_what_was_no_black_hole_is_back_soon(size: int) -> None:
    mtu = PathMtu(START)
    now, _ = search(mtu, size, START)
    mtu.black_hole(now)
    search(mtu, size, now)
    assert mtu.size == size


def test_guesses_of_a_black_hole_do_not_keep_it_down() -> None:
    """A probe lost three times makes the search settle for less; the next one may find more."""
    mtu = PathMtu(START)
    now, _ = search(mtu, 1452, START)
    for _ in range(10):
        mtu.black_hole(now + 100)
        now, _ = search(mtu, 1472, now + 100)
        assert mtu.size == 1472


def test_a_better_path_is_noticed_after_ten_minutes() -> None:
    mtu = PathMtu(START)
    now, _ = search(mtu, 1412, START)
    assert mtu.due(now + RAISE_EVERY - 1) is None
    now = mtu.next_deadline().at
    search(mtu, 8972, now)
    assert mtu.size == 8972


def test_nothing_is_probed_any_more_at_the_top() -> None:
    mtu = PathMtu(START)
    now, _ = search(mtu, 9000, START)
    for _ in range(5):
        now = mtu.next_deadline().at
        assert mtu.due(now) is None
        assert mtu.next_deadline().at > now


def test_an_answer_that_comes_after_giving_up_still_counts() -> None:
    mtu, now = PathMtu(START), START
    while mtu.due(now) == 1472:
        now = mtu.next_deadline().at
    mtu.acknowledged(1472, now)
    assert mtu.size == 1472
    search(mtu, 1472, now)
    assert mtu.size == 1472


def test_small_answers_prove_nothing() -> None:
    mtu = PathMtu(START)
    mtu.due(START)
    mtu.acknowledged(64, START)
    assert mtu.size == BASE
    assert mtu.due(START + RETRY_AFTER) == 1472
