"""Does every frame arrive as it was sent, at most once, and end in exactly one counter?"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.data_plane import (
    Datagram,
    Host,
    essence,
    make_frame,
    merge,
    pair,
    use_direct,
    use_relay,
)
from weave_py.crypto.suites import Suite
from weave_py.link.path_mtu import SIZES
from weave_py.model.counters import LinkCounters

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
WINDOW = 12  # datagrams that may overtake one

small = st.integers(14, 120)
usual = st.integers(14, 1514)
super_frames = st.integers(1515, 65_535)
# Around what one record holds, where frames begin to be cut.
huge = st.integers(62_000, 65_535)
turn = st.one_of(
    st.lists(small, min_size=1, max_size=90),
    st.lists(usual, min_size=1, max_size=20),
    st.lists(st.one_of(small, usual, super_frames, huge), min_size=1, max_size=6),
    # One flow with segmentation offload: equal super-frames and a rest.
    st.builds(
        lambda segments, count, rest: [66 + 1448 * segments] * count + [66 + rest],
        st.integers(2, 45),
        st.integers(1, 4),
        st.integers(1, 1448),
    ),
)
datagram_sizes = st.one_of(st.sampled_from(SIZES), st.integers(1200, 8972))
record_lengths = st.sampled_from([1, 2, 7, 30, 64])
turns = st.lists(st.tuples(datagram_sizes, record_lengths, turn), min_size=1, max_size=5)
rates = st.sampled_from([0.0, 0.02, 0.3])


@contextmanager
def hosts(count: int, gso: bool = True) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Host(number + 1, gso)) for number in range(count)]


class Sent:
    """The frames of a test, each of them another one."""

    def __init__(self) -> None:
        self.essences: list[bytes] = []

    def frames(self, sizes: list[int]) -> list[bytes]:
        made = [make_frame(len(self.essences) + i, size) for i, size in enumerate(sizes)]
        self.essences += map(essence, made)
        return made

    @property
    def payload_bytes(self) -> int:
        return sum(len(frame) - 12 for frame in self.essences)


def out_frames(counters: LinkCounters) -> int:
    return (
        counters.frames_out
        + counters.drop_no_path
        + counters.drop_no_session
        + counters.drop_send_refused
    )


def disturb(
    datagrams: list[Datagram], dice: random.Random, drop: float, double: float, swap: float
) -> list[Datagram]:
    """Lose, duplicate and reorder, each datagram on its own."""
    kept: list[tuple[float, Datagram]] = []
    for place, datagram in enumerate(datagrams):
        for _ in range(2 if dice.random() < double else 1):
            if dice.random() >= drop:
                late = dice.random() * WINDOW if dice.random() < swap else 0.0
                kept.append((place + late, datagram))
    return [datagram for _, datagram in sorted(kept, key=lambda k: k[0])]


@QUICK
@given(
    turns,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(Suite),
    st.integers(0, 2**32),
)
def test_a_clean_wire_delivers_everything_in_order(
    plan: list[tuple[int, int, list[int]]],
    relayed: bool,
    parity: bool,
    gso: bool,
    suite: Suite,
    seed: int,
) -> None:
    dice, sent = random.Random(seed), Sent()
    with hosts(3, gso) as (a, relay, b):
        pair(a, b, 7, suite)
        use_direct(a, relay, 1472)
        use_direct(relay, b, 1472)
        relay.routes({b.name: b.name})
        arrived: list[bytes] = []
        for size, record_datagrams, sizes in plan:
            a.egress(b).record_datagrams = record_datagrams
            a.egress(b).parity = parity
            if relayed:
                use_relay(a, b, relay, size)
            else:
                use_direct(a, b, size)
            a.send(b, sent.frames(sizes))
            datagrams = a.socket.take()
            assert all(len(d.payload) <= size for d in datagrams)
            if relayed:
                relay.receive(merge(datagrams, dice))
                datagrams = relay.socket.take()
            for train in merge(datagrams, dice):
                b.receive([train])
                arrived += b.delivered(a)
        assert [essence(frame) for frame in arrived] == sent.essences
        out, back = a.egress(b).counters, b.egress(a).counters
        assert out.frames_out == back.frames_in == len(sent.essences)
        assert out.bytes_out == back.bytes_in == sent.payload_bytes
        assert out.records_out == back.records_in
        assert out.datagrams_out == b.counters.datagrams_in
        assert relay.counters.datagrams_relayed == (out.datagrams_out if relayed else 0)
        assert not any(
            count
            for name, count in {**out.as_dict(), **back.as_dict()}.items()
            if name.startswith("drop_")
        )


@QUICK
@given(turns, st.booleans(), st.booleans(), rates, rates, rates, st.integers(0, 2**32))
def test_a_bad_wire_never_alters_or_repeats_a_frame(
    plan: list[tuple[int, int, list[int]]],
    relayed: bool,
    parity: bool,
    drop: float,
    double: float,
    swap: float,
    seed: int,
) -> None:
    dice, sent = random.Random(seed), Sent()
    with hosts(3) as (a, relay, b):
        ingress = pair(a, b, 7)
        use_direct(a, relay, 1472)
        use_direct(relay, b, 1472)
        relay.routes({b.name: b.name})
        arrived: list[bytes] = []
        for size, record_datagrams, sizes in plan:
            a.egress(b).record_datagrams = record_datagrams
            a.egress(b).parity = parity
            if relayed:
                use_relay(a, b, relay, size)
            else:
                use_direct(a, b, size)
            a.send(b, sent.frames(sizes))
            datagrams = disturb(a.socket.take(), dice, drop, double, swap)
            if relayed:
                relay.receive(merge(datagrams, dice))
                datagrams = disturb(relay.socket.take(), dice, drop, double, swap)
            for train in merge(datagrams, dice):
                b.receive([train])
                arrived += b.delivered(a)

        counts = Counter(essence(frame) for frame in arrived)
        assert not counts - Counter(sent.essences)  # nothing new, nothing twice
        out, back = a.egress(b).counters, b.egress(a).counters
        assert out_frames(out) == len(sent.essences)
        assert back.frames_in == len(arrived)
        assert back.drop_device == 0
        assert back.records_bad == back.records_malformed == 0
        assert back.records_in <= out.records_out
        assert len(ingress.reassembly) + ingress.reassembly.given_up <= out.records_out
        if not drop:
            # Only a frame of several records is lost by reordering alone.
            limit = min(size * min(64, 65_507 // size) for size, _, _ in plan) - 64 * 40
            missing = Counter(sent.essences) - counts
            assert all(len(frame) > limit for frame in missing)
            assert back.records_in == out.records_out


@QUICK
@given(turns, st.booleans(), st.integers(0, 2**32))
def test_one_lost_datagram_of_a_train_is_made_good(
    plan: list[tuple[int, int, list[int]]], relayed: bool, seed: int
) -> None:
    """Of every record of several datagrams the wire loses one (not of two behind each other: of
    a frame that takes several records, the order matters)."""
    dice, sent = random.Random(seed), Sent()
    with hosts(3) as (a, relay, b):
        pair(a, b, 7)
        use_direct(a, relay, 1472)
        use_direct(relay, b, 1472)
        relay.routes({b.name: b.name})
        a.egress(b).parity = True
        arrived: list[bytes] = []
        for size, record_datagrams, sizes in plan:
            a.egress(b).record_datagrams = record_datagrams
            if relayed:
                use_relay(a, b, relay, size)
            else:
                use_direct(a, b, size)
            for frame in sent.frames(sizes):
                records = a.egress(b).counters.records_out
                a.send(b, [frame])
                datagrams = a.socket.take()
                if len(datagrams) > 2 and a.egress(b).counters.records_out == records + 1:
                    datagrams.pop(dice.randrange(len(datagrams)))
                if relayed:
                    relay.receive(merge(datagrams, dice))
                    datagrams = relay.socket.take()
                for train in merge(datagrams, dice):
                    b.receive([train])
                    arrived += b.delivered(a)
        a.send(b, sent.frames([60]))  # the last record's tail is missed when the next one comes
        for train in merge(relay_through(relay, a.socket.take(), relayed), dice):
            b.receive([train])
            arrived += b.delivered(a)
        assert Counter(essence(frame) for frame in arrived) == Counter(sent.essences)


def relay_through(relay: Host, datagrams: list[Datagram], relayed: bool) -> list[Datagram]:
    if not relayed:
        return datagrams
    relay.receive(merge(datagrams))
    return relay.socket.take()


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from("abcr"), st.integers(14, 4000)), min_size=1, max_size=60),
    st.sampled_from([0, 8]),
    st.integers(0, 2**32),
)
def test_a_relay_tells_flows_apart_that_gro_merged(
    plan: list[tuple[str, int]], shift: int, seed: int
) -> None:
    """A sends through R to B, to C beyond B, and to R itself; R sends to B as well."""
    dice = random.Random(seed)
    with hosts(4) as (a, r, b, c):
        relayed = 1472
        for source, destination, index in ((a, r, 1), (a, b, 2), (a, c, 3), (r, b, 4)):
            pair(source, destination, index)
        use_direct(a, r, relayed - shift)
        use_relay(a, b, r, relayed)
        use_relay(a, c, r, relayed)
        use_direct(r, b, relayed)
        use_direct(b, c, relayed)
        r.routes({b.name: b.name, c.name: b.name})
        b.routes({c.name: c.name})
        sent = {key: Sent() for key in "abcr"}
        flows = {"a": (a, r), "b": (a, b), "c": (a, c), "r": (r, b)}
        own: list[Datagram] = []
        for key, size in plan:
            source, destination = flows[key]
            source.send(destination, sent[key].frames([size]))
            own += r.socket.take()
        r.receive(merge(a.socket.take()))
        passed = r.socket.take()
        # What R relays and what it sends itself leave it interleaved, each in its own order.
        mixed = [
            (passed if passed and (not own or dice.random() < 0.5) else own).pop(0)
            for _ in range(len(passed) + len(own))
        ]
        for train in merge(mixed):
            b.receive([train])
        c.receive(merge(b.socket.take()))

        assert [essence(f) for f in r.delivered(a)] == sent["a"].essences
        assert [essence(f) for f in b.delivered(a)] == sent["b"].essences
        assert [essence(f) for f in b.delivered(r)] == sent["r"].essences
        assert [essence(f) for f in c.delivered(a)] == sent["c"].essences
        for host in (r, b, c):
            assert host.counters.datagrams_unknown_session == 0
            assert host.counters.datagrams_malformed == 0
            assert host.counters.relay_no_route == 0


FIRST_SEQUENCE = 0xFFFF_F000  # wraps inside a large super-frame
HEADERS = 14 + 20 + 20


def tcp_super_frame(flow: int, payload: bytes, gso_size: int) -> bytes:
    """IPv4 and TCP without options, as a TAP with offloads hands it over."""
    ip = struct.pack(">BBHHHBBH8x", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0)
    tcp = struct.pack(">HHIIBBHHH", flow, 443, FIRST_SEQUENCE, 7, 0x50, 0x10, 512, 0, 0)
    vnet = struct.pack("<BBHHHHHI", 1, 1, HEADERS, gso_size, 34, 16, 0, 0)
    return vnet + b"\x02abcde\x02fghij\x08\x00" + ip + tcp + payload


def piece_of(frame: bytes) -> tuple[int, int, bytes]:
    """(Flow, offset in its stream, payload) of a frame that arrived."""
    flow, _, sequence = struct.unpack_from(">HHI", frame, 16 + 34)
    return flow, (sequence - FIRST_SEQUENCE) & 0xFFFF_FFFF, frame[16 + HEADERS :]


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(1, 65_535 - HEADERS), st.sampled_from([536, 1388, 1448])),
        min_size=1,
        max_size=6,
    ),
    datagram_sizes,
    st.integers(1, 64),
    rates,
    rates,
    st.integers(0, 2**32),
)
def test_what_is_left_of_super_frames_is_what_was_sent(
    plan: list[tuple[int, int]],
    datagram_bytes: int,
    record_datagrams: int,
    drop: float,
    swap: float,
    seed: int,
) -> None:
    dice = random.Random(seed)
    payloads = [dice.randbytes(size) for size, _ in plan]
    frames = [
        tcp_super_frame(flow, payload, gso_size)
        for flow, (payload, (_, gso_size)) in enumerate(zip(payloads, plan, strict=True))
    ]
    with hosts(2) as (a, b):
        pair(a, b, 7)
        use_direct(a, b, datagram_bytes)
        a.egress(b).record_datagrams = record_datagrams
        a.send(b, frames)
        arrived: list[bytes] = []
        for train in merge(disturb(a.socket.take(), dice, drop, 0.0, swap), dice):
            b.receive([train])
            arrived += b.delivered(a)
        seen = [bytearray(len(payload)) for payload in payloads]
        for frame in arrived:
            flow, at, piece = piece_of(frame)
            assert piece == payloads[flow][at : at + len(piece)]
            assert not any(seen[flow][at : at + len(piece)])  # nothing twice
            seen[flow][at : at + len(piece)] = b"\1" * len(piece)
            total = struct.unpack_from(">H", frame, 16 + 16)[0]
            assert total == 40 + len(piece)
        out, back = a.egress(b).counters, b.egress(a).counters
        assert out.frames_out == len(frames)
        assert back.frames_in == len(arrived)
        assert back.records_bad == back.records_malformed == 0
        if not drop:
            assert all(all(flags) for flags in seen)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                lambda flags, index, length, counter, rest: (
                    bytes((0x11, flags, index, 0, 7, 0, 0, 0))
                    + counter.to_bytes(6, "little")
                    + length.to_bytes(2, "little")
                    + rest
                ),
                st.integers(0, 255),
                st.integers(0, 255),
                st.integers(0, 65_535),
                st.one_of(st.integers(0, 3), st.integers(0, 2**48 - 1)),
                st.binary(max_size=80),
            ),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 200),
    st.booleans(),
)
def test_garbage_is_counted_and_does_no_harm(pieces: list[bytes], size: int, relayed: bool) -> None:
    with hosts(2) as (a, b):
        pair(a, b, 7)
        use_direct(a, b, 1472)
        prefix = b"\x12\x05" + b.name if relayed else b""
        for piece in pieces:
            data = (prefix + piece) or b"\0"
            b.receive([(data, min(size, len(data)), ("10.0.0.1", 6783))])
        assert b.delivered(a) == []
        assert b.inbound.controls == []
        frame = make_frame(1, 1400)
        a.send(b, [frame])
        b.receive(merge(a.socket.take()))
        assert [essence(f) for f in b.delivered(a)] == [essence(frame)]
