"""F5c: who gets a port or a link when there are few left?"""

from __future__ import annotations

from tests.kit.builders import synthetic_name
from weave_py.model.names import PeerName
from weave_py.router.places import RESERVE, Places

NEAR, LIAR = synthetic_name(1), synthetic_name(2)
TOTAL = 100
KEPT = TOTAL // RESERVE


def fake(number: int) -> PeerName:
    return synthetic_name(1000 + number)


def honest(number: int) -> PeerName:
    return synthetic_name(100 + number)


def way_to(peer: PeerName) -> list[PeerName]:
    """All are behind one neighbour, fakes behind a liar there."""
    if peer == NEAR:
        return [NEAR]
    return [NEAR, LIAR, peer] if peer >= fake(0) else [NEAR, peer]


def places(*needed: PeerName) -> Places:
    return Places(TOTAL, way_to, lambda peer: peer in needed)


def test_while_there_is_room_everybody_has_a_place_also_behind_one_neighbour() -> None:
    made = places()
    assert all(made.take(honest(number)) for number in range(TOTAL - KEPT))
    assert all(made.take(honest(number)) for number in range(TOTAL - KEPT)), "once"
    assert len(made) == TOTAL - KEPT


def test_a_newcomer_gets_one_of_the_last_and_one_more_of_many_does_not() -> None:
    made = places()
    taken = sum(made.take(fake(number)) for number in range(10 * TOTAL))
    assert taken == TOTAL - KEPT
    assert made.take(honest(1))
    assert not made.take(fake(5000))
    made.leave(fake(0))
    assert fake(0) not in made
    assert not made.take(fake(5001)), "what is free is kept for others"
    assert made.take(honest(2))


def test_who_is_needed_gets_a_place_of_the_largest_branch() -> None:
    friend = honest(50)
    made = places(friend, NEAR)
    for number in range(TOTAL):
        made.take(fake(number))
    for number in range(KEPT):
        assert made.take(honest(number))
    assert len(made) == TOTAL
    assert made.in_the_way(honest(20)) is None, "it is not needed"
    assert not made.take(friend)
    victim = made.in_the_way(friend)
    assert victim is not None
    assert victim == fake(TOTAL - KEPT - 1), "the last that came of those"
    made.leave(victim)
    assert made.take(friend)
    assert made.in_the_way(friend) is None


def test_those_needed_are_not_in_each_others_way() -> None:
    everybody = [honest(number) for number in range(TOTAL + 1)]
    made = places(*everybody)
    assert [made.take(peer) for peer in everybody].count(True) == TOTAL
    assert made.in_the_way(everybody[-1]) is None
