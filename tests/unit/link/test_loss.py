"""How the length of records follows the loss of datagrams."""

from __future__ import annotations

import random

import pytest

from weave_py.link.loss import FEWEST, LossMeter
from weave_py.wire.sleeve import MAX_SEGMENTS


def after(loss: float, samples: int = 12, burst: int = 20_000, seed: int = 1) -> LossMeter:
    dice = random.Random(seed)
    meter = LossMeter()
    sent = received = 0
    for _ in range(samples):
        meter.sample(sent, received)
        sent += burst
        received += sum(dice.random() >= loss for _ in range(burst))
    return meter


def test_a_clean_path_has_the_longest_records() -> None:
    assert LossMeter().record_datagrams == MAX_SEGMENTS
    assert after(0.0).record_datagrams == MAX_SEGMENTS


@pytest.mark.parametrize(
    ("loss", "low", "high"),
    [(0.0002, 64, 64), (0.001, 55, 64), (0.01, 5, 9), (0.03, 2, 2), (0.3, 1, 1)],
)
def test_few_records_are_lost_in_spite_of_their_parity(loss: float, low: int, high: int) -> None:
    meter = after(loss)
    assert low <= meter.record_datagrams <= high
    assert meter.parity == (loss < 0.1)


def test_parity_is_for_lossy_paths_only() -> None:
    assert not LossMeter().parity
    assert not after(0.0).parity
    assert not after(0.00001).parity


def test_it_recovers() -> None:
    meter = after(0.05)
    sent, received = 10_000_000, 5_000_000
    meter.restart()
    for _ in range(200):  # 20 seconds
        meter.sample(sent, received)
        sent, received = sent + 1000, received + 1000
    assert not meter.parity
    assert meter.record_datagrams == MAX_SEGMENTS


def test_few_datagrams_say_nothing_until_they_add_up() -> None:
    meter = LossMeter()
    meter.sample(0, 0)
    meter.sample(FEWEST - 1, 0)
    assert meter.loss == 0
    meter.sample(2 * FEWEST, FEWEST)
    assert 0 < meter.loss < 0.1  # half were lost, but so few do not count for much


def test_counters_wrap_and_old_answers_are_ignored() -> None:
    meter = LossMeter()
    near = 2**32 - 500
    meter.sample(near, near)
    meter.sample(500, 500)
    assert meter.loss == 0
    meter.sample(near, near - 400)  # overtaken
    assert meter.loss == 0
    meter.sample(1500, 1500)
    assert meter.loss == 0


def test_more_than_was_sent_is_no_negative_loss() -> None:
    meter = LossMeter()
    meter.sample(0, 0)
    meter.sample(1000, 1010)
    assert meter.loss == 0


def test_what_was_lost_on_the_way_that_was_left_is_not_held_against_the_other_one() -> None:
    meter = LossMeter()
    meter.sample(0, 0)
    meter.sample(5_000, 1_000)
    assert meter.record_datagrams == 1
    meter.another_way()
    meter.sample(6_000, 1_000)
    meter.sample(7_000, 2_000)
    assert meter.record_datagrams == MAX_SEGMENTS
