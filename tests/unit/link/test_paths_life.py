"""Does a path come up with the first answer, stay up in spite of loss, and go down in time?"""

from __future__ import annotations

import itertools

import pytest

from tests.kit.path_world import NEAR, World, direct, phases
from weave_py.link.egress import NextHop
from weave_py.link.path import SMALL_PROBE, Path, PathSettings, PathState
from weave_py.link.path_mtu import BASE
from weave_py.model.load import LocalLoad

# --- up ----------------------------------------------------------------------------------


def test_one_answer_is_enough() -> None:
    world = World()
    world.paths.set_candidates([NEAR], world.now)
    assert world.paths.best is None
    world.run(0.019)
    assert world.paths.best is None
    world.run(0.002)
    assert world.endpoint == NEAR
    assert world.paths.is_direct
    assert world.paths.why == ""
    assert world.size == BASE
    world.run(0.1)
    assert world.size == 1472


def test_nothing_is_sent_without_an_answer() -> None:
    world = World()
    world.road(NEAR).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.run(3600)
    assert world.paths.best is None
    # First soon, then ever more rarely, but for ever.
    times = [at for at, _, _ in world.probes]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[0] <= 0.3
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(pauses))
    assert max(pauses) == pytest.approx(PathSettings().longest_retry)
    assert 3600 / 10 <= len(times) <= 3600 / 10 + 10
    assert all(size == SMALL_PROBE for _, _, size in world.probes)


def test_rtt_and_loss_are_measured() -> None:
    world = direct()
    best = world.paths.best
    assert best is not None
    assert best.rtt == pytest.approx(0.02)
    assert best.loss == 0.0
    world.road(NEAR).loss = 0.3
    world.run(60)
    assert 0.1 < best.loss < 0.9


def test_a_quiet_path_costs_little() -> None:
    world = direct(in_use=False)
    before = len(world.probes)
    world.run(500)  # less than the time after which larger sizes are tried again
    assert len(world.probes) - before <= 500 / 5 + 2
    world.in_use = True
    world.paths.hurry(world.now)
    before = len(world.probes)
    world.run(60)
    assert 58 <= len(world.probes) - before <= 62


def test_states_in_order() -> None:
    path, now = Path(NextHop(NEAR, None), 0.0, PathSettings()), 0.0
    states = [path.state]
    ((kind, size),) = path.advance(now, True)
    path.sent(1, kind, size, now)
    path.answered(1, size, now + 0.01)
    states.append(path.state)
    number = 1
    while path.state is states[-1]:
        now = path.next_deadline().at
        for kind, size in path.advance(now, True):
            number += 1
            path.sent(number, kind, size, now)
    assert [*states, path.state] == [PathState.UNPROVEN, PathState.UP, PathState.DOWN]
    assert now < 4


# --- down --------------------------------------------------------------------------------


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1])
def test_a_dead_path_in_use_is_noticed_in_time(rtt: float) -> None:
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.run(10 + phase)
        assert world.endpoint == NEAR
        world.road(NEAR).up = False
        assert world.run_until(world.is_lost, within=4) <= 3.27
        assert world.paths.why == "direct-unanswered,no-relay"


def test_a_dead_path_that_begins_to_be_used_is_noticed_in_time() -> None:
    world = direct(in_use=False)
    world.road(NEAR).up = False
    world.run(0.5)
    world.in_use = True
    world.paths.hurry(world.now)
    assert world.run_until(lambda: world.paths.best is None, within=4) <= 3.5


def test_a_dead_path_comes_back() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(600)
    assert world.paths.best is None
    world.road(NEAR).up = True
    assert world.run_until(lambda: world.endpoint == NEAR, within=11) <= 10.1


def test_a_sign_of_life_brings_it_back_at_once() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(600)
    world.road(NEAR).up = True
    world.paths.heard_from(NEAR, world.now)
    assert world.run_until(lambda: world.endpoint == NEAR, within=1) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_ten_per_cent_of_loss_for_an_hour_is_no_reason_to_leave(seed: int) -> None:
    world = direct(seed)
    world.road(NEAR).loss = 0.1
    narrow = 0
    for _ in range(3600):
        world.run(1)
        assert world.endpoint == NEAR
        narrow += world.size < 1452
    assert [next_hop for _, next_hop in world.used] == [None, NextHop(NEAR, None)]
    assert narrow < 3600 * 0.05  # a wrong guess of a black hole is corrected soon


@pytest.mark.parametrize("seed", range(3))
def test_loss_on_a_quiet_path_is_no_reason_to_leave(seed: int) -> None:
    world = direct(seed, in_use=False)
    world.road(NEAR).loss = 0.1
    world.run(3600)
    assert [next_hop for _, next_hop in world.used] == [None, NextHop(NEAR, None)]


@pytest.mark.parametrize("silent", [4, 20, 100])
def test_many_silent_peers_are_asked_the_more_rarely(silent: int) -> None:
    load = LocalLoad()
    load.silent = silent
    world = direct()
    world.paths._load = load
    world.road(NEAR).up = False
    world.run(1)  # the first one is missing now
    before = len(world.probes)
    world.run(1)
    asked = len(world.probes) - before
    assert asked <= max(2, 2 * 10 / load.silent_factor)


def test_what_was_asked_before_anybody_was_there_is_no_loss() -> None:
    world = World()
    world.road(NEAR).up = False
    world.paths.set_candidates([NEAR], world.now)
    world.run(3)
    world.road(NEAR).up = True
    world.run_until(lambda: world.endpoint == NEAR, within=5)
    world.run(2)
    assert world.paths.best is not None
    assert world.paths.best.loss == 0
