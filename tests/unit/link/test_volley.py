"""Do two ends fire together, by messages alone? And does nobody wait for ever?"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from weave_py.link.path import PathSettings
from weave_py.link.volley import Standing, Volley
from weave_py.wire.probes import Punch, Step

S = PathSettings()


class Two:
    """A leader (0) and a follower, and the mesh between them."""

    def __init__(self, trip: float = 0.03, loss: float = 0.0, seed: int = 1) -> None:
        self.now = 1000.0
        self.trip = trip
        self.loss = loss
        self.dice = random.Random(seed)
        self.standings = [Standing(version=5, is_seen=True, gives_way=False) for _ in range(2)]
        self.ends = [
            Volley(leads, standing, self.now, S)
            for leads, standing in zip((True, False), self.standings, strict=True)
        ]
        self.fired: list[list[float]] = [[], []]
        self.punches: list[tuple[float, int, Punch]] = []
        self._mail: list[tuple[float, int, int, Punch]] = []
        self._order = itertools.count()
        for end in self.ends:
            end.peer_known(5)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            for number, end in enumerate(self.ends):
                end.advance(self.now, True)
                self._collect(number)
            due = [max(d.at, self.now) for e in self.ends if (d := e.next_deadline(True))]
            due += [at for at, *_ in self._mail[:1]]
            self.now = min([until, *due])
            while self._mail and self._mail[0][0] <= self.now:
                _, _, number, punch = heapq.heappop(self._mail)
                self.ends[number].receive(punch, self.now)
                self._collect(number)
            if self.now >= until:
                return

    def _collect(self, number: int) -> None:
        end = self.ends[number]
        for punch in end.take_punches():
            self.punches.append((self.now, number, punch))
            if self.dice.random() >= self.loss:
                letter = (self.now + self.trip, next(self._order), 1 - number, punch)
                heapq.heappush(self._mail, letter)
        if end.take_fire():
            self.fired[number].append(self.now)


def together(two: Two) -> list[float]:
    return [abs(a - b) for a, b in zip(*two.fired, strict=True)]


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)])
def test_whoever_has_news_both_fire_at_the_same_moment(who: tuple[int, ...]) -> None:
    two = Two()
    for number in who:
        two.ends[number].want(two.now)
    two.run(1)
    assert [len(fired) for fired in two.fired] == [1, 1]
    assert together(two) == pytest.approx([0.0])


@pytest.mark.parametrize("number", [0, 1])
def test_who_is_not_seen_yet_is_waited_for(number: int) -> None:
    """t69: what it does not know of itself, it cannot have told."""
    two = Two()
    two.standings[number].is_seen = False
    for end in two.ends:
        end.want(two.now)
    two.run(0.5)
    assert two.fired == [[], []]
    two.standings[number].is_seen = True
    two.run(1.0)
    assert [len(fired) for fired in two.fired] == [1, 1]
    assert together(two) == pytest.approx([0.0])


@pytest.mark.parametrize("number", [0, 1])
def test_who_does_not_have_the_others_record_fires_at_nothing_yet(number: int) -> None:
    two = Two()
    two.standings[1 - number].version = 6
    for end in two.ends:
        end.want(two.now)
    two.run(0.5)
    assert two.fired == [[], []]
    two.ends[number].peer_known(6)
    two.run(1.2)
    assert [len(fired) for fired in two.fired] == [1, 1]
    assert together(two) == pytest.approx([0.0])


def test_who_gets_no_answer_fires_alone() -> None:
    two = Two(loss=1.0)
    two.ends[0].want(two.now)
    two.run(S.volley_questions * S.punch_every + 0.1)
    assert [len(fired) for fired in two.fired] == [1, 0]


def test_who_knows_too_little_does_not_wait_for_ever() -> None:
    two = Two()
    for standing, end in zip(two.standings, two.ends, strict=True):
        standing.is_seen = False
        end.want(two.now)
    two.run(S.volley_patience + 0.5)
    assert [len(fired) for fired in two.fired] == [1, 1]


def test_a_failed_volley_is_repeated_soon_and_then_after_longer_than_linux_remembers() -> None:
    two = Two()
    for end in two.ends:
        end.want(two.now)
    two.run(120)
    first, *later = two.fired[0]
    assert len(later) == 4
    assert later[0] - first == pytest.approx(S.volley_again, abs=0.2)
    pauses = [b - a for a, b in itertools.pairwise(later)]
    assert all(30.0 + S.volley_lasts < pause < 40 for pause in pauses)
    assert together(two) == pytest.approx([0.0] * 5)


def test_who_cannot_lose_its_port_lets_the_other_go_first_but_not_always() -> None:
    two = Two()
    two.standings[0].gives_way = True
    for end in two.ends:
        end.want(two.now)
    two.run(45)
    assert [a - b for a, b in zip(*two.fired, strict=True)] == pytest.approx(
        [S.volley_lag, 0.0, S.volley_lag]
    )


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("number", [0, 1])
def test_a_peer_that_shouts_makes_us_fire_once_a_second_at_most(step: Step, number: int) -> None:
    two = Two(loss=1.0)
    end = two.ends[number]
    for _ in range(1000):
        end.receive(Punch(step, 1, 5), two.now)
        two.run(0.01)
    assert len(two.fired[number]) <= 10 / S.punch_every
    said = [punch for _, who, punch in two.punches if who == number]
    assert len(said) <= 1000 + 10 / S.punch_every, "an answer at most for each"


@pytest.mark.parametrize("seed", range(20))
def test_lost_messages_only_delay(seed: int) -> None:
    two = Two(loss=0.3, seed=seed)
    fires: Callable[[], bool] = lambda: all(two.fired)  # noqa: E731
    for end in two.ends:
        end.want(two.now)
    for _ in range(60):
        two.run(1)
        if fires():
            break
    assert fires()
