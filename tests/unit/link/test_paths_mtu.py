"""Does a path follow what its way lets through, and is no hole in it taken for its death?"""

from __future__ import annotations

from functools import partial

import pytest

from tests.kit.path_world import NEAR, World, direct, phases
from weave_py.link.path_mtu import BASE


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.1])
@pytest.mark.parametrize("after", [1200, 1300, 1412])
def test_a_black_hole_in_use_is_noticed_within_two_seconds(rtt: float, after: int) -> None:
    for phase in phases():
        world = World()
        world.road(NEAR).rtt = rtt
        world.paths.set_candidates([NEAR], world.now)
        world.run(10 + phase)
        assert world.size == 1472
        world.road(NEAR).mtu = after
        assert world.run_until(partial(world.is_at_most, after), within=3) <= 2.01
        world.run(30)
        assert world.size == max(size for size in (1200, 1252, 1412) if size <= after)
        assert len(world.used) == 2  # all the time it was up


def test_a_black_hole_with_loss_is_noticed_as_well() -> None:
    for seed in range(20):
        world = direct(seed)
        world.road(NEAR).loss = 0.1
        world.road(NEAR).mtu = 1300
        world.run_until(partial(world.is_at_most, 1300), within=10)
        world.run(10)
        assert world.endpoint == NEAR


def test_an_interface_that_has_become_narrower_is_noticed_at_the_next_probe() -> None:
    world = direct()
    world.road(NEAR).interface = world.road(NEAR).mtu = 1372
    assert world.run_until(lambda: world.size <= 1372, within=2) <= 1.01
    world.run(5)
    assert world.size == 1372
    assert world.endpoint == NEAR


def test_an_interface_too_narrow_for_anything_still_tells_alive_from_dead() -> None:
    world = direct()
    world.road(NEAR).interface = 1000
    world.run(20)
    assert world.endpoint == NEAR
    before = len(world.probes)
    world.run(10)
    assert len(world.probes) - before < 100  # and does not spin
    world.road(NEAR).up = False
    assert world.run_until(lambda: world.paths.best is None, within=4) <= 3.5


def test_a_path_that_comes_back_proves_its_size_anew() -> None:
    world = direct()
    world.road(NEAR).up = False
    world.run(10)
    world.road(NEAR).up = True
    world.road(NEAR).mtu = 1300
    world.run_until(lambda: world.endpoint == NEAR, within=11)
    assert world.size == BASE


def test_full_size_probes_are_as_large_as_the_datagrams_sent() -> None:
    world = direct()
    before = len(world.probes)
    world.run(10)
    assert {size for _, _, size in world.probes[before:]} == {1472}
