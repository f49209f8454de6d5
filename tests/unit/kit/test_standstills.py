from __future__ import annotations

import time

import pytest

from tests.kit.standstills import LATE, NAP, Standstills, clock


def test_what_several_sleepers_noticed_counts_once() -> None:
    machine = Standstills()
    machine.noticed(10.0, 10.02)  # as asked
    machine.noticed(11.0, 12.0)
    machine.noticed(11.5, 12.5)
    machine.noticed(20.0, 21.0)
    assert machine.seconds(0, 15) == pytest.approx(1.5 - NAP)
    assert machine.seconds(11.9, 12.1) == pytest.approx(0.2)
    assert machine.seconds(13, 20) == 0
    assert machine.excused(12.6, 13) > 0, "work is left over"
    assert machine.excused(14, 15) == 0
    assert machine.total == pytest.approx(2.5 - 2 * NAP)
    assert machine.longest == pytest.approx(1.0 - NAP)


def test_a_quiet_moment_is_none() -> None:
    with Standstills() as machine:
        since = clock()
        time.sleep(3 * (NAP + LATE))
        before = clock()
    assert machine.seconds(since, before) < before - since
