"""Are counters read as often as asked for, and those of many devices together?"""

from __future__ import annotations

from fastdp.sampling import Sampling
from weave_py.model.names import PeerName

PEERS = [PeerName(bytes([n]) * 6) for n in range(4)]


def readings(sampling: Sampling, until: float) -> list[tuple[float, tuple[PeerName, ...]]]:
    found = []
    while (due := sampling.next_deadline()) is not None and due.at < until:
        if taken := sampling.take_due(due.at):
            found.append((round(due.at, 6), taken))
    return found


def test_each_has_its_pace() -> None:
    sampling = Sampling()
    sampling.set(PEERS[0], 0.5)
    assert readings(sampling, 2.1) == [(at, (PEERS[0],)) for at in (0.5, 1.0, 1.5, 2.0)]


def test_who_is_soon_due_comes_along() -> None:
    sampling = Sampling()
    sampling.set(PEERS[0], 1.0)
    sampling.set(PEERS[1], 1.4)
    assert readings(sampling, 2.1) == [(1.0, tuple(PEERS[:2])), (2.0, tuple(PEERS[:2]))]


def test_a_changed_pace_counts_from_the_last_reading() -> None:
    sampling = Sampling()
    sampling.set(PEERS[0], 1.0)
    assert sampling.take_due(1.0)
    sampling.set(PEERS[0], 0.25)
    due = sampling.next_deadline()
    assert due is not None
    assert due.at == 1.25
    sampling.set(PEERS[0], None)
    assert sampling.next_deadline() is None
    assert sampling.take_due(10.0) == ()


def test_forgotten_is_forgotten() -> None:
    sampling = Sampling()
    sampling.set(PEERS[0], 1.0)
    sampling.forget(PEERS[0])
    sampling.forget(PEERS[1])
    assert sampling.next_deadline() is None
