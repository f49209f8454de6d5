"""What comes in: only authentic, new, whole frames reach the TAP; the rest is counted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.kit.data_plane import Datagram, Host, essence, make_frame, merge, pair, use_direct
from tests.kit.super_frames import Odd, segmented, super_frame
from weave_py.datapath import inbound
from weave_py.datapath.inbound import MAX_CONTROLS
from weave_py.datapath.reassembly import MAX_PENDING
from weave_py.datapath.super_frame import GSO_TCPV4
from weave_py.datapath.train import MAX_FRAME_BYTES, REST, control_datagram
from weave_py.model.counters import LinkCounters
from weave_py.model.names import Endpoint
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    FLAG_MORE,
    HOP_LIMIT,
    relay_prefix,
)

SOURCE = ("10.0.0.1", 6783)


@pytest.fixture
def two() -> Iterator[tuple[Host, Host]]:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        yield a, b


def counters(a: Host, b: Host) -> LinkCounters:
    return b.egress(a).counters


def record(a: Host, b: Host, flags: int, plain: bytes, prefix: bytes = b"") -> bytes:
    """A record with any plaintext, as one datagram."""
    return control_datagram(a.egress(b), flags | FLAG_LAST, plain, prefix)


def come(b: Host, *datagrams: bytes, source: tuple[str, int] = SOURCE) -> None:
    for datagram in datagrams:
        b.receive([(datagram, len(datagram), source)])


def test_control_records_are_handed_over_with_what_is_known(two: tuple[Host, Host]) -> None:
    a, b = two
    datagram = record(a, b, FLAG_CONTROL, b"probe")
    come(b, datagram)
    come(b, record(a, b, FLAG_CONTROL, b"relayed", relay_prefix(b.name)))
    first, second = b.inbound.controls
    assert (first.session, first.body) == (7, b"probe")
    assert first.datagram_bytes == len(datagram)
    assert first.origin == Endpoint("10.0.0.1", 6783)
    assert second.body == b"relayed"
    assert second.origin is None
    assert b.delivered(a) == []
    assert counters(a, b).records_in == 0


def test_a_control_record_tells_how_many_datagrams_came_before_it(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(1, 4000)])
    b.receive(merge(a.socket.take()))
    come(b, record(a, b, FLAG_CONTROL, b"probe"))
    assert b.inbound.controls[0].received == 3


def test_a_source_port_of_zero_is_survived(two: tuple[Host, Host]) -> None:
    a, b = two
    come(b, record(a, b, FLAG_CONTROL, b"probe"), source=("10.0.0.1", 0))
    assert b.inbound.controls[0].origin is None


def test_a_flood_of_control_records_is_bounded(two: tuple[Host, Host]) -> None:
    a, b = two
    come(b, *(record(a, b, FLAG_CONTROL, b"x") for _ in range(MAX_CONTROLS + 50)))
    assert len(b.inbound.controls) == MAX_CONTROLS


def test_forged_and_replayed_records_deliver_nothing(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(1, 100)])
    (datagram,) = a.socket.take()
    forged = bytearray(datagram.payload)
    forged[-1] ^= 1
    come(b, bytes(forged))
    assert counters(a, b).records_bad == 1
    come(b, datagram.payload, datagram.payload)
    assert len(b.delivered(a)) == 1
    assert counters(a, b).records_replayed == 1
    assert counters(a, b).records_in == 1


def test_the_kind_of_a_record_cannot_be_changed_on_the_way(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(1, 100)])
    (datagram,) = a.socket.take()
    changed = bytearray(datagram.payload)
    changed[1] |= FLAG_CONTROL
    come(b, bytes(changed))
    assert b.inbound.controls == []
    assert counters(a, b).records_bad == 1


def test_unknown_sessions_and_runts_are_the_routers_to_count(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(1, 100)])
    (datagram,) = a.socket.take()
    del b.inbound.ingresses[7]
    come(b, datagram.payload, b"", b"x", bytes(16), relay_prefix(b.name) + bytes(12))
    assert b.counters.datagrams_unknown_session == 1
    assert b.counters.datagrams_malformed == 4


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(15),
        bytes(12) + struct.pack("<I", 29) + bytes(13),
        bytes(12) + struct.pack("<I", 31) + bytes(14),
        bytes(12) + struct.pack("<I", 0xFFFF_FFFF) + bytes(100),
        b"\xff" * 100,
    ],
)
def test_authentic_nonsense_is_counted_and_not_delivered(
    two: tuple[Host, Host], plain: bytes
) -> None:
    a, b = two
    come(b, record(a, b, 0, plain))
    assert b.delivered(a) == []
    assert counters(a, b).records_malformed == (1 if plain else 0)


def test_frames_before_the_nonsense_are_delivered(two: tuple[Host, Host]) -> None:
    a, b = two
    good = bytes(12) + struct.pack("<I", 30) + b"fourteen bytes"
    come(b, record(a, b, 0, good + good + b"nonsense"))
    assert b.delivered(a) == [good, good]
    assert counters(a, b).frames_in == 2
    assert counters(a, b).records_malformed == 1


def test_a_device_that_takes_nothing_is_counted(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(n, 60) for n in range(5)])
    b.port(a).unplug()
    b.receive(merge(a.socket.take()))
    assert counters(a, b).drop_device == 5
    assert counters(a, b).frames_in == counters(a, b).bytes_in == 0


def test_segments_in_any_order_and_in_any_train(two: tuple[Host, Host]) -> None:
    a, b = two
    frame = make_frame(1, 20_000)
    a.send(b, [frame])
    datagrams = a.socket.take()
    assert len(datagrams) > 10
    come(b, *(d.payload for d in reversed(datagrams)))
    assert [essence(f) for f in b.delivered(a)] == [essence(frame)]
    a.send(b, [frame])
    first, *others = a.socket.take()
    b.receive(merge([*others, first]))
    assert [essence(f) for f in b.delivered(a)] == [essence(frame)]


def test_a_last_segment_of_one_byte_may_come_alone(two: tuple[Host, Host]) -> None:
    a, b = two
    body = 1472 - 16
    frame = make_frame(1, 2 * body + 1 - 16 - 16)
    a.send(b, [frame])
    datagrams = a.socket.take()
    assert len(datagrams[-1].payload) == 17
    come(b, *(d.payload for d in reversed(datagrams)))
    assert [essence(f) for f in b.delivered(a)] == [essence(frame)]


def test_duplicates_of_a_complete_record_do_not_crowd_out_others(two: tuple[Host, Host]) -> None:
    a, b = two
    ingress = b.inbound.ingresses[7]
    for number in range(MAX_PENDING + 10):
        a.send(b, [make_frame(number, 4000)])
        datagrams = a.socket.take()
        come(b, *(d.payload for d in [*datagrams[::-1], *datagrams[:-1]]))
        assert len(b.delivered(a)) == 1
    assert len(ingress.reassembly) == 0
    assert ingress.reassembly.given_up == 0
    assert counters(a, b).records_replayed == MAX_PENDING + 10


def cut_frame(a: Host, b: Host, number: int) -> tuple[bytes, list[Datagram], list[Datagram]]:
    """A frame that takes two records: (frame, datagrams of the first, of the second)."""
    frame = make_frame(number, 65_535)
    a.send(b, [frame])
    datagrams = a.socket.take()
    counter = datagrams[0].payload[8:14]
    first = [d for d in datagrams if d.payload[8:14] == counter]
    assert first[0].payload[1] & FLAG_MORE
    return frame, first, datagrams[len(first) :]


def test_a_frame_of_two_records_arrives(two: tuple[Host, Host]) -> None:
    a, b = two
    frame, first, second = cut_frame(a, b, 1)
    b.receive(merge(first))
    assert b.delivered(a) == []
    b.receive(merge(second))
    assert [essence(f) for f in b.delivered(a)] == [essence(frame)]
    assert counters(a, b).frames_in == 1
    assert counters(a, b).records_in == 2


def test_other_frames_between_the_two_do_no_harm(two: tuple[Host, Host]) -> None:
    a, b = two
    frame, first, second = cut_frame(a, b, 1)
    other = make_frame(2, 100)
    a.send(b, [other])
    b.receive(merge(first))
    b.receive(merge(a.socket.take()))
    b.receive(merge(second))
    assert [essence(f) for f in b.delivered(a)] == [essence(other), essence(frame)]


@pytest.mark.parametrize("order", ["late", "lost"])
def test_the_rest_of_a_frame_is_never_taken_for_frames(two: tuple[Host, Host], order: str) -> None:
    """Whoever wrote the frame chose its bytes: they may look like frames with their headers."""
    a, b = two
    limit = min(64, 65_507 // 1472) * (1472 - 16) - 16
    evil = bytes(12) + struct.pack("<I", 30) + b"fourteen bytes"
    for shift in (0, 16):  # wherever the second record begins
        size = limit - 16 - shift + 30 * 5
        frame = make_frame(1, limit - 16 - shift) + evil * 5
        assert len(frame) == size + 16
        a.send(b, [frame])
        datagrams = a.socket.take()
        split = next(i for i, d in enumerate(datagrams) if d.payload[1] & FLAG_LAST) + 1
        b.receive(merge(datagrams[split:]))
        if order == "late":
            b.receive(merge(datagrams[:split]))
        assert b.delivered(a) == []
    a.send(b, [make_frame(3, 100)])
    b.receive(merge(a.socket.take()))
    assert len(b.delivered(a)) == 1
    assert counters(a, b).frames_in == 1
    assert counters(a, b).records_malformed == 0


def test_the_rest_of_another_frame_is_not_put_behind_this_one(two: tuple[Host, Host]) -> None:
    a, b = two
    _, first, _ = cut_frame(a, b, 1)
    frame, third, fourth = cut_frame(a, b, 2)
    b.receive(merge(first))
    b.receive(merge(fourth))
    assert b.delivered(a) == []
    b.receive(merge(third))
    assert b.delivered(a) == []
    assert counters(a, b).records_incomplete == 2
    _, _, _ = cut_frame(a, b, 3)
    last, fifth, sixth = cut_frame(a, b, 4)
    b.receive(merge(fifth + sixth))
    assert [essence(f) for f in b.delivered(a)] == [essence(last)]
    assert essence(frame) != essence(last)


def test_more_without_end_is_bounded(two: tuple[Host, Host]) -> None:
    a, b = two
    head = bytes(12) + struct.pack("<I", 1 << 20)
    come(b, record(a, b, FLAG_MORE, head + bytes(30_000)))
    for _ in range(100):
        come(b, record(a, b, FLAG_MORE, bytes(30_000)))
        assert len(b.inbound.ingresses[7].more) <= MAX_FRAME_BYTES
    assert counters(a, b).records_malformed >= 1
    assert b.delivered(a) == []


def test_a_train_of_own_and_relayed_datagrams_is_taken_apart() -> None:
    with Host(1) as a, Host(2) as b, Host(3) as c:
        pair(a, b, 7)
        pair(a, c, 8)
        pair(a, b, 9)
        use_direct(b, c, 1472)
        b.routes({c.name: c.name})
        plain = bytes(12) + struct.pack("<I", 100) + bytes(84)
        own = record(a, b, 0, plain + plain[:12] + struct.pack("<I", 38) + bytes(22))
        use_direct(a, c, 1472)
        passing = record(a, c, 0, plain + plain[:12] + struct.pack("<I", 30) + bytes(14),
                         relay_prefix(c.name))  # fmt: skip
        assert len(own) == len(passing)
        for order in ((own, passing), (passing, own)):
            b.receive([(b"".join(order), len(own), SOURCE)])
            own = record(a, b, 0, plain + plain[:12] + struct.pack("<I", 38) + bytes(22))
        assert len(b.delivered(a)) == 2
        assert counters(a, b).records_replayed == 1  # `own` was in both trains
        assert b.counters.datagrams_relayed == 2
        assert [d.payload[1] for d in b.socket.sent] == [HOP_LIMIT - 1] * 2


def test_a_gro_message_without_a_size_is_one_datagram(two: tuple[Host, Host]) -> None:
    a, b = two
    a.send(b, [make_frame(1, 100)])
    (datagram,) = a.socket.take()
    b.receive([(datagram.payload, 0, SOURCE)])
    assert len(b.delivered(a)) == 1


@pytest.mark.parametrize(("turn_seconds", "is_slow"), [(0.0005, True), (0.00001, False)])
def test_bulk_that_waits_for_long_loses_a_segment_now_and_then(
    two: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch, turn_seconds: float, is_slow: bool
) -> None:
    a, b = two
    times = iter(range(1_000_000))
    monkeypatch.setattr(inbound, "clock", lambda: next(times) * turn_seconds)
    frame = super_frame(bytes(50_000), 1324)
    for _ in range(300):
        a.send(b, [frame, make_frame(1, 100)])
        b.socket.trains += merge(a.socket.take())
    b.socket.is_paced = False
    sizes: list[int] = []
    while b.socket.trains:
        b.inbound.drain(b.udp)
        sizes += [len(f) for f in b.delivered(a)]
    assert len(sizes) == 600
    whole, small = len(frame), 116
    cut = whole - 50_000 % 1324
    assert set(sizes) <= {whole, small, cut}
    assert counters(a, b).drop_queue == sizes.count(cut)
    assert bool(sizes.count(cut)) == is_slow
    assert sizes.count(cut) < 20
    assert len(segmented(frame)) == 38


@pytest.mark.parametrize(
    ("gso_size", "is_taken"), [(1324, True), (128, True), (127, False), (1, False), (0, False)]
)
def test_a_super_frame_of_endless_packets_is_not_written(
    two: tuple[Host, Host], gso_size: int, is_taken: bool
) -> None:
    """F1, from a member: writing it may mean to wait until the kernel has made 60,000 packets.
    The frames behind it are delivered."""
    a, b = two

    def of_member(frame: bytes) -> bytes:
        return frame[:12] + struct.pack("<I", len(frame)) + frame[16:]

    large = of_member(Odd(GSO_TCPV4, gso_size, 512 * 128 - 100).frame())
    come(b, record(a, b, FLAG_MORE, large[:60_000]), record(a, b, 0, REST + large[60_000:]))
    endless, small = of_member(Odd(GSO_TCPV4, 1, 600).frame()), of_member(bytes(30))
    come(b, record(a, b, 0, endless + small))
    assert b.delivered(a) == ([large, small] if is_taken else [small])
    assert counters(a, b).frames_in == 1 + is_taken
    assert counters(a, b).drop_endless == 2 - is_taken
