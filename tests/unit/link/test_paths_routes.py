"""Does a way wait for what the kernel says of it, and end when it leads through the overlay?"""

from __future__ import annotations

import pytest

from tests.kit.path_world import FAR, NEAR, World
from weave_py.link.egress import NextHop
from weave_py.link.paths import Paths
from weave_py.link.route_book import RouteBook
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.underlay import Route

RELAY = PeerName(b"\x02relay")
OUTSIDE, INSIDE = Route("192.0.2.9"), Route("10.32.0.9", inside=True)


def world_with(*places: Endpoint) -> tuple[World, RouteBook]:
    world, book = World(), RouteBook(is_asked=True)
    world.paths = Paths(routes=book)
    world.paths.set_candidates(places, world.now)
    world.paths.set_relay(RELAY, world.now)
    return world, book


def probed(world: World) -> set[Endpoint | None]:
    return {next_hop.endpoint for _, next_hop, _ in world.probes}


def test_nothing_is_sent_before_the_kernel_has_answered() -> None:
    """t02."""
    world, book = world_with(NEAR)
    world.run(5)
    assert NEAR not in probed(world)
    assert book.take_questions() == (NEAR.host,)
    book.learn({NEAR.host: OUTSIDE})
    world.run(1)
    assert world.paths.best is not None
    assert world.paths.best.next_hop == NextHop(NEAR, None)


def test_nothing_is_ever_sent_through_the_overlay() -> None:
    """t02, t03: however good it seems, and whoever speaks of it."""
    world, book = world_with(NEAR, FAR)
    book.learn({NEAR.host: INSIDE, FAR.host: INSIDE})
    world.road(NEAR).rtt = 0.001
    for _ in range(10):
        world.paths.heard_from(NEAR, world.now)
        world.paths.punched(world.now)
        world.run(1)
    assert probed(world) == {None}
    assert world.paths.why == "inside-overlay"
    assert world.paths.best is not None
    assert world.paths.best.next_hop.relay == RELAY


def test_another_address_that_does_not_answer_is_the_reason_then() -> None:
    world, book = world_with(NEAR, FAR)
    book.learn({NEAR.host: INSIDE, FAR.host: OUTSIDE})
    world.road(FAR).up = False
    world.run(5)
    assert world.paths.why == "direct-unanswered"


@pytest.mark.parametrize("answers", [True, False])
def test_a_way_that_turns_inside_is_left_at_once_and_proved_anew_when_it_is_out(
    answers: bool,
) -> None:
    """t02: a device may be put into the bridge at any time."""
    world, book = world_with(NEAR)
    book.learn({NEAR.host: OUTSIDE})
    world.run(3)
    assert world.paths.is_direct
    book.learn({NEAR.host: INSIDE})
    world.run(0)
    assert not world.paths.is_direct
    sent = len(world.probes)
    world.run(10)
    assert NEAR not in {next_hop.endpoint for _, next_hop, _ in world.probes[sent:]}
    world.road(NEAR).up = answers
    book.learn({NEAR.host: OUTSIDE})
    world.run(0)
    assert not world.paths.is_direct, "what was proved before is worth nothing"
    world.run(1)
    assert world.paths.is_direct == answers


def test_a_late_answer_of_before_proves_nothing() -> None:
    world, book = world_with(NEAR)
    book.learn({NEAR.host: OUTSIDE})
    world.road(NEAR).rtt = 0.2
    world.run(0.1)
    book.learn({NEAR.host: INSIDE})
    world.run(0.05)
    book.learn({NEAR.host: OUTSIDE})
    world.road(NEAR).up = False
    world.run(2)
    assert not world.paths.is_direct
