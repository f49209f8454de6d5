"""Which of several deadlines is the first?"""

from __future__ import annotations

from weave_py.model.deadlines import Deadline, earliest


def test_the_first_to_come_with_its_reason() -> None:
    assert earliest([Deadline(2.0, "b"), None, Deadline(1.0, "z")]) == Deadline(1.0, "z")
    assert earliest(iter([Deadline(float("inf"), "never")])) == Deadline(float("inf"), "never")


def test_none_is_no_deadline() -> None:
    assert earliest([]) is None
    assert earliest([None, None]) is None
