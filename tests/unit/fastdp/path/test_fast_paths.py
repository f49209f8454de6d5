"""Do the fast paths of a router keep apart, and is each asked of and told at the right time?"""

from __future__ import annotations

from typing import TypeVar

import pytest

from fastdp.path.paths import (
    FIRST_VNI,
    FastPathForgotten,
    FastPaths,
    PathsOutput,
    ReadCounters,
    SendFastStatus,
    UsePort,
)
from fastdp.path.settings import FastSettings
from fastdp.path.values import Direct
from tests.kit.fast_pair import FastPair
from weave_py.model.errors import WireError
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastHost, FastRemote, FastStatus
from weave_py.model.names import PeerName
from weave_py.wire import fast_status

S = FastSettings()
HOST = FastHost(4789, esp=True)
DIRECT = Direct("192.0.2.1", "192.0.2.2")
PEERS = [PeerName(bytes([n]) * 6) for n in range(5)]
STATUS = FastStatus(
    incarnation=9,
    number=1,
    able=True,
    using=True,
    proven=True,
    udp_port=4790,
    vni=7000,
    mtu=1376,
    cookie=b"c" * 16,
    heard_incarnation=0,
    small_seen=0,
    full_seen=0,
    received=0,
)


T = TypeVar("T", bound=PathsOutput)


class Tokens:
    """Given numbers first, then counts."""

    def __init__(self, *first: int) -> None:
        self.first = list(first)
        self.count = 10_000

    def __call__(self, size: int) -> bytes:
        if size == 3 and self.first:
            return self.first.pop(0).to_bytes(3, "little")
        self.count += 1
        return self.count.to_bytes(size, "little")


def make(*vnis: int, host: FastHost = HOST) -> FastPaths:
    return FastPaths(Tokens(*vnis), host, 1376)


def adopted(vni: int) -> DesiredVxlan:
    remote = FastRemote("192.0.2.1", "192.0.2.2", 4790, 7000)
    return DesiredVxlan(vni, False, remote, through=True)


def of(kind: type[T], outputs: list[PathsOutput]) -> list[T]:
    return [output for output in outputs if isinstance(output, kind)]


def test_no_two_peers_share_a_vni() -> None:
    paths = make(5, FIRST_VNI - 1, 5000, 5000, 5001, 6000, 5002)
    paths.adopt([(PEERS[4], adopted(6000))], 0.0)
    for peer in PEERS[:3]:
        paths.permit(peer, DIRECT, False, 0.0)
    assert [path.vni for _, path in paths] == [6000, 5000, 5001, 5002]


def test_telling_again_costs_nothing() -> None:
    paths = make()
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    assert paths.take_outputs()
    paths.permit(PEERS[0], DIRECT, False, 0.5)
    assert paths.take_outputs() == []


def test_wishes_are_told_when_they_change() -> None:
    paths = make()
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    assert of(UsePort, paths.take_outputs()) == [UsePort(DesiredPort(PEERS[0], None))]
    paths.receive_status_untrusted(PEERS[0], fast_status.encode(STATUS), 0.1)
    (used,) = of(UsePort, paths.take_outputs())
    assert used.desired.fast is not None
    assert used.desired.fast.remote is not None
    assert used.desired.fast.remote.vni == 7000
    assert paths.desired_ports == [used.desired]


def test_malformed_statuses_are_the_routers_to_log() -> None:
    paths = make()
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    with pytest.raises(WireError):
        paths.receive_status_untrusted(PEERS[0], b"\5", 0.1)


def test_strangers_are_ignored() -> None:
    paths = make()
    paths.receive_status_untrusted(PEERS[0], b"\5", 0.1)
    paths.receive_probe_untrusted(b"", 0.1)
    paths.counted(PEERS[0], 1, 1, 0.1)
    paths.woken(PEERS[0], 0.1)
    paths.peer_left(PEERS[0], 0.1)
    paths.forget(PEERS[0])
    assert paths.take_outputs() == []
    assert paths.next_deadline() is None


def test_the_host_may_be_found_out_later() -> None:
    paths = make(host=FastHost(0, "disabled"))
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    paths.take_outputs()
    paths.set_host(HOST, 1.0)
    (told,) = of(SendFastStatus, paths.take_outputs())
    assert fast_status.decode_untrusted(told.body).able


def test_counters_of_all_devices_are_read_at_once() -> None:
    paths = make()
    for peer, phase in zip(PEERS, (0.0, 0.01, 0.02, 0.03, 0.04), strict=True):
        paths.adopt([(peer, adopted(5000 + peer[0]))], phase)
    readings = []
    now = 0.05
    while now < 10:
        due = paths.next_deadline()
        assert due is not None
        now = max(now, due.at)
        paths.advance(now)
        readings += of(ReadCounters, paths.take_outputs())
    assert all(reading.peers == tuple(PEERS) for reading in readings)
    assert 36 <= len(readings) <= 42


def test_an_adopted_path_whose_peer_never_appears_is_given_up() -> None:
    paths = make()
    paths.adopt([(PEERS[0], adopted(5000)), (PEERS[1], adopted(5001))], 0.0)
    paths.permit(PEERS[1], None, False, 1.0)
    paths.advance(S.orphan_after - 1)
    assert of(FastPathForgotten, paths.take_outputs()) == []
    paths.advance(S.orphan_after)
    assert of(FastPathForgotten, paths.take_outputs()) == [FastPathForgotten(PEERS[0])]
    assert [peer for peer, _ in paths] == [PEERS[1]]


def test_unless_packets_arrive_on_it() -> None:
    paths = make()
    paths.adopt([(PEERS[0], adopted(5000))], 0.0)
    paths.counted(PEERS[0], 0, 10, 1.0)
    paths.counted(PEERS[0], 0, 20, S.orphan_after - 1)
    paths.advance(S.orphan_after)
    assert paths.get(PEERS[0]) is not None
    paths.advance(2 * S.orphan_after)
    assert paths.get(PEERS[0]) is None


def test_who_is_forgotten_has_no_timers() -> None:
    paths = make()
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    paths.receive_status_untrusted(PEERS[0], fast_status.encode(STATUS), 0.1)
    paths.forget(PEERS[0])
    assert paths.next_deadline() is None
    assert paths.desired_ports == []
    paths.advance(100.0)


def test_deadlines_are_kept_without_being_asked_twice() -> None:
    """After `advance` at its deadline, an engine never asks to be woken at once again."""
    pair = FastPair()
    pair.start()
    pair.a.traffic = True
    for _ in range(2000):
        pair.run(0.003)
        due = pair.a.paths.next_deadline()
        assert due is not None
        assert due.at > pair.now or pair.a.paths.take_outputs() == []


def test_a_peer_that_stays_silent_is_told_rarely() -> None:
    paths = make()
    paths.permit(PEERS[0], DIRECT, False, 0.0)
    while (due := paths.next_deadline()) is not None and due.at < 300:
        paths.advance(due.at)
    statuses = of(SendFastStatus, paths.take_outputs())
    assert 10 <= len(statuses) <= 16
    numbers = [fast_status.decode_untrusted(told.body).number for told in statuses]
    assert numbers == sorted(set(numbers))


def test_lives_differ_by_peer() -> None:
    paths = make()
    for peer in PEERS:
        paths.permit(peer, DIRECT, False, 0.0)
    assert len({path.incarnation for _, path in paths}) == len(PEERS)
