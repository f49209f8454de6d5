"""Do counters start at zero, show all they hold, and accept no other name?"""

from __future__ import annotations

import pytest

from weave_py.model.counters import DatapathCounters, LinkCounters


@pytest.mark.parametrize("kind", [LinkCounters, DatapathCounters])
def test_all_start_at_zero_and_show(kind: type[LinkCounters] | type[DatapathCounters]) -> None:
    counters = kind()
    assert set(counters.as_dict().values()) == {0}
    assert list(counters.as_dict()) == sorted(kind.__slots__) == sorted(kind.__annotations__)
    for number, name in enumerate(kind.__slots__):
        setattr(counters, name, getattr(counters, name) + number)
    assert list(counters.as_dict().values()) == list(range(len(kind.__slots__)))


@pytest.mark.parametrize("kind", [LinkCounters, DatapathCounters])
def test_a_misspelt_counter_is_an_error(kind: type[LinkCounters] | type[DatapathCounters]) -> None:
    with pytest.raises(AttributeError):
        kind().frames_lost = 1  # type: ignore[union-attr]


def test_counters_do_not_share() -> None:
    one, other = LinkCounters(), LinkCounters()
    one.frames_in += 1
    assert (one.frames_in, other.frames_in) == (1, 0)
    snapshot = one.as_dict()
    one.frames_in += 1
    assert snapshot["frames_in"] == 1
