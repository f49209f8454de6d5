"""Are the few we want always the first of all, whoever comes and goes?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import synthetic_name
from weave_py.mesh.neighbour_choice import SPARES, NeighbourChoice
from weave_py.model.names import PeerName

US = synthetic_name(1000)
COUNT = 3


def first(peers: set[PeerName], reachable: set[PeerName]) -> frozenset[PeerName]:
    """Asked from scratch."""
    return NeighbourChoice(US, COUNT).choose(dict.fromkeys(peers).keys(), reachable)


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40))), min_size=1, max_size=12
    )
)
@settings(deadline=None)
def test_the_choice_depends_on_who_is_there_and_not_on_the_past(
    history: list[tuple[set[int], set[int]]],
) -> None:
    choice = NeighbourChoice(US, COUNT)
    for numbers, lost in history:
        peers = {synthetic_name(n) for n in numbers}
        reachable = peers - {synthetic_name(n) for n in lost}
        chosen = choice.choose(dict.fromkeys(peers).keys(), reachable)
        assert chosen == first(peers, reachable)
        assert len(chosen & reachable) >= min(COUNT, len(reachable))


def test_who_cannot_be_reached_stays_wanted_and_is_replaced() -> None:
    peers = {synthetic_name(n) for n in range(40)}
    best = first(peers, peers)
    chosen = first(peers, peers - best)
    assert best < chosen
    assert len(chosen) == 2 * COUNT


def test_when_all_near_ones_are_lost_others_are_found() -> None:
    peers = {synthetic_name(n) for n in range(100)}
    choice, lost = NeighbourChoice(US, COUNT), set[PeerName]()
    for _ in range(2 * SPARES):
        chosen = choice.choose(dict.fromkeys(peers).keys(), peers - lost)
        assert len(chosen - lost) == COUNT
        lost |= chosen


def test_a_newcomer_changes_the_choice_of_few() -> None:
    names = [synthetic_name(n) for n in range(200)]
    newcomer = synthetic_name(500)
    changed = 0
    for us in names:
        choice = NeighbourChoice(us, COUNT)
        others = dict.fromkeys(n for n in names if n != us)
        before = choice.choose(others.keys(), others)
        others[newcomer] = None
        changed += choice.choose(others.keys(), others) != before
    assert changed < 5 * COUNT
