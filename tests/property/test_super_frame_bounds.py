"""What does the worst frame that a container can send cost its host's router? Bounded work, counted
in trains and bytes, whatever the frame says; and what ordinary TCP sends is cut all the same."""

from __future__ import annotations

import struct
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.kit.data_plane import Host, essence, merge, pair, use_direct, use_relay
from tests.kit.super_frames import Odd, odd_frames, segmented, super_frame
from weave_py.datapath.outbound import BYTES_PER_TURN
from weave_py.datapath.super_frame import GSO_TCPV4, GSO_TCPV6, LEAST_SEGMENT, examine
from weave_py.datapath.train import TrainMaker
from weave_py.link.path_mtu import SIZES
from weave_py.wire.sleeve import FRAME_HEADER_BYTES

QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
MOST = 65_600  # bytes of a frame


class Sizes(NamedTuple):
    """Of datagrams and records."""

    datagram_bytes: int
    record_datagrams: int
    parity: bool = False
    relayed: bool = False


# As `link.loss` has them: with parity a record may take two datagrams at the least.
any_sizes = st.one_of(
    st.builds(Sizes, st.sampled_from(SIZES), st.integers(1, 64), st.just(False), st.booleans()),
    st.builds(Sizes, st.sampled_from(SIZES), st.integers(2, 64), st.just(True), st.booleans()),
    st.builds(Sizes, st.sampled_from([1200, 1472]), st.just(1)),
)
MANY = Sizes(1472, 1)


def prepare(a: Host, b: Host, relay: Host, sizes: Sizes) -> int:
    """A session from `a` to `b`; returns how many bytes of frames a record should hold."""
    pair(a, b, 7)
    use_direct(a, relay, 1472)
    use_direct(relay, b, 1472)
    relay.routes({b.name: b.name})
    if sizes.relayed:
        use_relay(a, b, relay, sizes.datagram_bytes)
    else:
        use_direct(a, b, sizes.datagram_bytes)
    egress = a.egress(b)
    egress.record_datagrams, egress.parity = sizes.record_datagrams, sizes.parity
    return TrainMaker().wanted_plain_bytes(egress)


def trains_allowed(frames: list[bytes], limit: int) -> float:
    """A piece has at least half of the payload that a record would hold: 1160 bytes of record are
    1022 of payload behind the longest headers."""
    return sum(2 + 2.3 * len(frame) / limit for frame in frames)


def bytes_allowed(frames: list[bytes], parity: bool) -> int:
    """Headers again in front of each piece; parity may be one datagram for two (and 64 bytes are
    what a record costs that has only a small frame)."""
    return sum((3 if parity else 2) * len(frame) + 64 for frame in frames)


@QUICK
@given(st.lists(odd_frames, min_size=1, max_size=3), any_sizes)
@example([Odd(GSO_TCPV6, 1, 61_000, True, extensions=1488)], MANY)
@example([Odd(GSO_TCPV6, 1, 61_000, True, extensions=30_000)], MANY)
@example([Odd(GSO_TCPV6, 1, 61_000, True, extensions=2976)], Sizes(1472, 2, True))
@example([Odd(GSO_TCPV4, 1, 61_000, tags=400)], MANY)
@example([Odd(GSO_TCPV4, 1, 61_000, tags=7000)], Sizes(1472, 7, True))
@example([Odd(GSO_TCPV6, 1, 61_000, True)], MANY)
@example([Odd(GSO_TCPV6, 512, 65_600, True, tags=2, words=15)], Sizes(1200, 1, False, True))
def test_one_frame_makes_a_bounded_number_of_trains(shapes: list[Odd], sizes: Sizes) -> None:
    """F1: one super-frame with headers longer than a record and gso_size 1 became a train for
    each byte of its payload, and the router stood still for seconds."""
    frames = [shape.frame() for shape in shapes]
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        limit = prepare(a, b, relay, sizes)
        a.send(b, frames)
        counters = a.egress(b).counters
        assert counters.records_out <= trains_allowed(frames, limit)
        wire = sum(len(datagram.payload) for datagram in a.socket.sent)
        assert wire <= bytes_allowed(frames, sizes.parity)
        assert counters.frames_out == len(frames)


@QUICK
@given(odd_frames, any_sizes)
@example(Odd(GSO_TCPV6, 1, 61_000, True, extensions=1488), MANY)
@example(Odd(GSO_TCPV4, 1, 61_000, tags=400), MANY)
def test_what_is_not_cut_arrives_as_it_was(shape: Odd, sizes: Sizes) -> None:
    """F1: what is odd goes out whole; what is cut loses no byte of payload. Whoever gets one that
    is to become tens of thousands of packets leaves it at that: where the port that it goes to
    cannot make them, its own kernel would, for two seconds, while the router waits."""
    frame = shape.frame()
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        prepare(a, b, relay, sizes)
        a.send(b, [frame])
        trains = merge(a.socket.take())
        if sizes.relayed:
            relay.receive(trains)
            trains = merge(relay.socket.take())
        b.receive(trains)
        arrived = b.delivered(a)
        counters = b.egress(a).counters
        assert counters.frames_in == len(arrived)
        if shape.kind and shape.size > 512 * shape.gso_size:
            assert (len(arrived), counters.drop_endless) == (0, 1)
            return
        assert counters.drop_endless == counters.drop_device == 0
        cut = examine(memoryview(frame), 0, len(frame))
        if cut is None:
            assert [essence(f) for f in arrived] == [essence(frame)]
            return
        headers = len(cut.headers)
        assert headers < LEAST_SEGMENT
        assert b"".join(f[headers:] for f in arrived) == frame[headers:]
        if len(arrived) > 1:
            # What the receiving kernel demands: no more bytes of headers than there are bytes.
            for piece in arrived:
                (hdr_len,) = struct.unpack_from("<H", piece, 2)
                assert hdr_len == headers - FRAME_HEADER_BYTES


@pytest.mark.parametrize(
    "shape",
    [
        Odd(GSO_TCPV6, 1, 61_000, True, extensions=1488),
        Odd(GSO_TCPV6, 256, 61_000, True, words=15),
        Odd(GSO_TCPV4, 1, 61_000, tags=400),
        Odd(5, 1, 61_000),
        Odd(GSO_TCPV4, 0, 61_000),
    ],
)
def test_one_turn_does_bounded_work(shape: Odd) -> None:
    """F1: what a turn sends follows from what it has read, of which a turn has a bound."""
    frame = shape.frame()
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        limit = prepare(a, b, relay, MANY)
        number = 0
        while a.taps[b.name].offer(frame):
            number += 1
        assert number * len(frame) > BYTES_PER_TURN
        a.outbound.drain(a.port(b))
        read = BYTES_PER_TURN + 2 * MOST
        assert a.egress(b).counters.frames_out <= read // len(frame)
        assert a.egress(b).counters.records_out <= read // len(frame) * 2 + 2.3 * read / limit
        assert sum(len(datagram.payload) for datagram in a.socket.sent) <= 2 * read


TIMESTAMPS = b"\1\1\x08\x0a" + bytes(8)
SACK = b"\1\1\x05\x1a" + bytes(24)  # three blocks: with the timestamps, all 40 bytes there are


@QUICK
@given(
    st.integers(1, 65_000),
    st.one_of(
        st.sampled_from([500, 536, 700, 1208, 1220, 1324, 1388, 1428, 1448, 1460, 8948]),
        st.integers(256, 9000),
    ),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from([b"", TIMESTAMPS, SACK, TIMESTAMPS + SACK]),
    any_sizes,
)
def test_what_tcp_sends_is_cut_as_ever(
    payload_bytes: int, gso_size: int, ipv6: bool, tags: int, options: bytes, sizes: Sizes
) -> None:
    """F1's other side: a lost record costs no more of a transfer than a record may hold."""
    payload = (b"0123456789abcdef" * (payload_bytes // 16 + 1))[:payload_bytes]
    frame = super_frame(payload, gso_size, ipv6, tags, options)
    frame = frame[:MOST]
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        limit = prepare(a, b, relay, sizes)
        a.send(b, [frame])
        headers = FRAME_HEADER_BYTES + 14 + 4 * tags + (40 if ipv6 else 20) + 20 + len(options)
        segments = max((limit - headers) // gso_size, 1)
        pieces = -(-payload_bytes // (segments * gso_size)) if len(frame) > limit else 1
        trains = merge(a.socket.take())
        if sizes.relayed:
            relay.receive(trains)
            trains = merge(relay.socket.take())
        b.receive(trains)
        arrived = b.delivered(a)
        assert len(arrived) == pieces
        assert max(map(len, arrived)) <= max(limit, headers + gso_size)
        assert [packet for piece in arrived for packet in segmented(piece)] == segmented(frame)
