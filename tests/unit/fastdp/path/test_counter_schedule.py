"""Are counters read as often as asked for, and those of many devices together?"""

from __future__ import annotations

from fastdp.path.counter_schedule import CounterSchedule
from weave_py.model.names import PeerName

PEERS = [PeerName(bytes([n]) * 6) for n in range(4)]


def readings(schedule: CounterSchedule, until: float) -> list[tuple[float, tuple[PeerName, ...]]]:
    found = []
    while (due := schedule.next_deadline()) is not None and due.at < until:
        if taken := schedule.take_due(due.at):
            found.append((round(due.at, 6), taken))
    return found


def test_each_has_its_pace() -> None:
    schedule = CounterSchedule()
    schedule.set(PEERS[0], 0.5)
    assert readings(schedule, 2.1) == [(at, (PEERS[0],)) for at in (0.5, 1.0, 1.5, 2.0)]


def test_who_is_soon_due_comes_along() -> None:
    schedule = CounterSchedule()
    schedule.set(PEERS[0], 1.0)
    schedule.set(PEERS[1], 1.4)
    assert readings(schedule, 2.1) == [(1.0, tuple(PEERS[:2])), (2.0, tuple(PEERS[:2]))]


def test_a_changed_pace_counts_from_the_last_reading() -> None:
    schedule = CounterSchedule()
    schedule.set(PEERS[0], 1.0)
    assert schedule.take_due(1.0)
    schedule.set(PEERS[0], 0.25)
    due = schedule.next_deadline()
    assert due is not None
    assert due.at == 1.25
    schedule.set(PEERS[0], None)
    assert schedule.next_deadline() is None
    assert schedule.take_due(10.0) == ()


def test_forgotten_is_forgotten() -> None:
    schedule = CounterSchedule()
    schedule.set(PEERS[0], 1.0)
    schedule.forget(PEERS[0])
    schedule.forget(PEERS[1])
    assert schedule.next_deadline() is None
