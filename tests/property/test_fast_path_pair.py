"""Do two ends of a fast path use it only when proven, leave it in time, and come back?

Statuses are delayed and lost, each direction of the kernel's path breaks in its own way, routers
are restarted: at random times, virtual ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import median

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastdp.path.settings import FastSettings
from tests.kit.fast_pair import CUT, GOOD, LOSSY, NARROW, End, FastPair

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
NOTICED = 0.5  # seconds that a bad direction may be in use
NOTICED_IDLE = 3.5  # … while nothing is sent that could be lost
HEALED = 150.0  # the longest hold-down, back-off and rest after an MTU problem, and some


@dataclass(frozen=True)
class Step:
    """What the world is like for so many seconds; modes and traffic of both directions."""

    modes: tuple[str, str]
    traffic: tuple[bool, bool]
    loss: float
    delay: float
    seconds: float
    restart: str

    @property
    def is_clear(self) -> bool:
        """Whether statuses pass."""
        return self.loss == 0 and self.delay <= 0.02


mode = st.sampled_from((GOOD, GOOD, GOOD, CUT, NARROW, LOSSY))
step = st.builds(
    Step,
    st.tuples(mode, mode),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from((0.0, 0.0, 0.0, 0.1, 0.4, 1.0)),
    st.sampled_from((0.0, 0.001, 0.02, 0.2)),
    st.floats(0.01, 6.0),
    st.sampled_from(("", "", "", "", "a adopts", "b adopts", "a anew", "b anew")),
)


def has_proof(end: End) -> bool:
    since = [is_full for at, is_full in end.arrived if at >= end.left_at]
    return sum(not is_full for is_full in since) >= 3 and any(since)


def watch(end: End) -> None:
    """An end has just gone fast."""
    assert has_proof(end), end.pair.describe()
    assert has_proof(end.far), end.pair.describe()


def enter(pair: FastPair, now: Step) -> None:
    for end, mode_now, traffic in zip(pair.ends, now.modes, now.traffic, strict=True):
        end.mode, end.traffic = mode_now, traffic
    pair.status_loss, pair.status_delay = now.loss, now.delay
    if now.restart:
        who, how = now.restart.split()
        (pair.a if who == "a" else pair.b).restart(adopt=how == "adopts")


@QUICK
@given(st.lists(step, min_size=1, max_size=8), st.booleans(), st.integers(0, 2**32), st.booleans())
def test_a_fast_path_is_used_only_while_it_works(
    steps: list[Step], encrypted: bool, seed: int, rekeys: bool
) -> None:
    pair = FastPair(seed, encrypted)
    pair.watch = watch
    pair.start()
    pair.run(pair.random.random())
    for now in steps:
        enter(pair, now)
        if rekeys:
            pair.rekey()
        pair.run(now.seconds)
        if CUT in now.modes and now.is_clear and now.seconds >= NOTICED_IDLE:
            assert pair.neither_fast(), pair.describe()
    enter(pair, Step((GOOD, GOOD), (True, False), 0.0, 0.001, 0.0, ""))
    pair.run_until(pair.both_fast, HEALED)
    pair.run(5)
    assert pair.both_fast(), pair.describe()


@dataclass(frozen=True)
class Break:
    """A direction, or both, become bad while frames flow."""

    modes: tuple[str, str]
    both_send: bool
    delay: float
    after: float
    lasts: float


bad = st.sampled_from((CUT, NARROW))
breaks = st.builds(
    Break,
    st.one_of(st.tuples(bad, st.just(GOOD)), st.tuples(bad, bad), st.tuples(bad, st.just(LOSSY))),
    st.booleans(),
    st.floats(0.0005, 0.02),
    st.floats(1.0, 5.0),
    st.floats(NOTICED, 4.0),
)


@QUICK
@given(st.lists(breaks, min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32))
def test_what_becomes_bad_in_use_is_left_at_once(
    story: list[Break], encrypted: bool, seed: int
) -> None:
    pair = FastPair(seed, encrypted)
    pair.watch = watch
    pair.start()
    for turn, now in enumerate(story):
        first, second = pair.ends if turn % 2 else pair.ends[::-1]
        first.mode = second.mode = GOOD
        pair.status_delay = pair.kernel_delay = now.delay
        first.traffic, second.traffic = True, now.both_send
        pair.run_until(pair.both_fast, HEALED)
        pair.run(now.after)
        assert pair.both_fast(), pair.describe()
        first.mode, second.mode = now.modes
        pair.run(NOTICED)
        assert pair.neither_fast(), pair.describe()
        pair.run(now.lasts)
        assert pair.neither_fast(), pair.describe()


def detection_times(kind: str, rounds: int) -> list[float]:
    """Seconds until neither end uses the path any more, after one direction broke in use."""
    times = []
    pair = FastPair(7, settings=FastSettings(fall_memory=0.0))
    pair.start()
    pair.a.traffic = True
    dice = random.Random(7)
    for _ in range(rounds):
        pair.run_until(pair.both_fast, HEALED)
        pair.run(4 + dice.random())
        pair.a.mode = kind
        times.append(pair.run_until(pair.neither_fast, 2))
        pair.a.mode = GOOD
    return times


def test_a_bad_direction_in_use_is_left_in_time() -> None:
    for kind in (CUT, NARROW):
        times = detection_times(kind, 20)
        assert max(times) <= 0.5, (kind, times)
        assert median(times) <= 0.4, (kind, times)
