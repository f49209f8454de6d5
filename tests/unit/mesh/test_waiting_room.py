"""Who makes room, and does everybody else stay?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weave_py.mesh.waiting_room import WaitingRoom


def test_the_oldest_of_a_full_source_makes_room() -> None:
    room = WaitingRoom(places=10, known_places=10, per_source=2)
    assert [room.enter(n, "a", False) for n in (1, 2)] == [None, None]
    assert room.enter(3, "b", False) is None
    assert room.enter(4, "a", False) == 1


def test_the_oldest_stranger_makes_room_for_a_stranger() -> None:
    room = WaitingRoom(places=2, known_places=1, per_source=9)
    assert [room.enter(n, f"s{n}", False) for n in (1, 2)] == [None, None]
    assert room.enter(3, "known", True) is None
    assert room.enter(4, "s4", False) == 1
    assert room.enter(5, "other known", True) == 3


def test_who_has_left_needs_no_place() -> None:
    room = WaitingRoom(places=1, known_places=1, per_source=1)
    room.enter(1, "a", False)
    room.leave(1)
    room.leave(1)
    assert room.enter(2, "a", False) is None


Steps = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.booleans()),  # enter
        st.integers(0, 30),  # leave
    ),
    max_size=60,
)


@given(Steps)
def test_never_more_than_places(steps: list[tuple[int, bool] | int]) -> None:
    """F8: and a stranger never makes a known peer leave."""
    room = WaitingRoom(places=4, known_places=3, per_source=2)
    here: dict[int, tuple[str, bool]] = {}
    for number, step in enumerate(steps):
        if isinstance(step, int):
            room.leave(step)
            here.pop(step, None)
            continue
        source, is_known = f"s{step[0]}", step[1]
        gone = room.enter(number, source, is_known)
        if gone is not None:
            assert here.pop(gone)[1] == is_known
        here[number] = (source, is_known)
        assert len(room) == len(here)
        for kind, places in ((False, 4), (True, 3)):
            assert sum(k is kind for _, k in here.values()) <= places
        assert sum(who == (source, is_known) for who in here.values()) <= 2
