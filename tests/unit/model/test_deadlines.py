"""Which of several deadlines is the first?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.model.deadlines import Deadline, TimerQueue, earliest


def test_the_first_to_come_with_its_reason() -> None:
    assert earliest([Deadline(2.0, "b"), None, Deadline(1.0, "z")]) == Deadline(1.0, "z")
    assert earliest(iter([Deadline(float("inf"), "never")])) == Deadline(float("inf"), "never")


def test_none_is_no_deadline() -> None:
    assert earliest([]) is None
    assert earliest([None, None]) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 20), st.booleans()),
        max_size=200,
    )
)
@settings(deadline=None)
def test_an_agenda_does_what_a_dictionary_does(steps: list[tuple[str, int | None, bool]]) -> None:
    agenda: TimerQueue[str] = TimerQueue()
    plain: dict[str, Deadline] = {}
    for key, at, take in steps:
        deadline = None if at is None else Deadline(float(at), key)
        agenda.set(key, deadline)
        if deadline is None:
            plain.pop(key, None)
        else:
            plain[key] = deadline
        first, expected = agenda.first(), earliest(plain.values())
        assert (first and first.at) == (expected and expected.at)
        assert agenda.pending() == [(k, d.at) for k, d in plain.items()]
        if take and at is not None:
            found = agenda.take_due(at)
            assert set(found) == {k for k, d in plain.items() if d.at <= at}
            assert [plain[k].at for k in found] == sorted(plain[k].at for k in found)
            plain = {k: d for k, d in plain.items() if d.at > at}


def test_an_agenda_does_not_grow_with_changes() -> None:
    agenda: TimerQueue[str] = TimerQueue()
    for at in range(10_000):
        agenda.set("a", Deadline(float(at), "again"))
    assert len(agenda._heap) < 200
    assert agenda.take_due(1e9) == ["a"]
