"""Is a train, put together again, the record that was sealed?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.crypto.suites import Suite
from weave_py.datapath.reassembly import PiecePool, Reassembly
from weave_py.datapath.train import MAX_SHAPES, TrainMaker, control_datagram
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    FLAG_MORE,
    HEADER_BYTES,
    HOP_LIMIT,
    KIND_RECORD,
    KIND_RELAYED,
    MAX_COUNTER,
    MAX_SEGMENTS,
    MAX_UDP_PAYLOAD,
    RELAY_PREFIX_BYTES,
    TAG_BYTES,
    datagram_overhead,
    parse_header,
    relay_prefix,
)

PEER = PeerName(b"\x02peer!")
KEY = bytes(32)
DIRECT = NextHop(Endpoint("192.0.2.1", 6783), None)
RELAYED = NextHop(None, PeerName(b"\x02relay"))


def egress(size: int, next_hop: NextHop = DIRECT) -> Egress:
    made = Egress(PEER)
    made.sealer = Sealer(Suite.AES_256_GCM, KEY, 0xABCD1234)
    made.use(next_hop, size)
    return made


def cut(views: list[memoryview], size: int) -> list[bytes]:
    """What the kernel makes of a train."""
    data = b"".join(views)
    return [data[at : at + size] for at in range(0, len(data), size)]


def put_together(datagrams: list[bytes], prefix: int = 0) -> tuple[int, int, bytes]:
    """(flags, counter, plaintext) of a record, by the definition of its layout."""
    reassembly = Reassembly(PiecePool())
    for place, datagram in enumerate(datagrams):
        kind, flags, index, session, rest = parse_header(datagram, prefix)
        assert (kind, index, session) == (KIND_RECORD, place, 0xABCD1234)
        is_last = bool(flags & FLAG_LAST)
        assert is_last == (place == len(datagrams) - 1)
        counter, length = rest & MAX_COUNTER, rest >> 48
        payload = memoryview(datagram)[prefix + HEADER_BYTES :]
        sealed = reassembly.add_untrusted(counter, index, is_last, length, payload, flags)
    assert sealed is not None
    plain = bytearray(len(sealed) - TAG_BYTES)
    assert Opener(Suite.AES_256_GCM, KEY).open_untrusted(flags, counter, sealed, memoryview(plain))
    return flags, counter, bytes(plain)


@settings(deadline=None)
@given(st.data(), st.integers(1200, 8972), st.sampled_from([DIRECT, RELAYED]))
def test_a_train_put_together_is_the_record(
    data: st.DataObject, size: int, next_hop: NextHop
) -> None:
    trains, to = TrainMaker(), egress(size, next_hop)
    prefix = relay_prefix(PEER) if next_hop is RELAYED else b""
    limit = trains.max_plain_bytes(to)
    body = size - len(prefix) - HEADER_BYTES
    lengths = st.one_of(
        st.integers(1, limit),
        st.integers(1, 40).map(lambda n: min(limit, n * body - TAG_BYTES)),  # no rest
        st.sampled_from([1, limit - 1, limit]),
    )
    flags_used = st.sampled_from([0, FLAG_MORE])
    for number in range(data.draw(st.integers(1, 4))):  # the views of one call are used again
        length, flags = data.draw(lengths), data.draw(flags_used)
        start = data.draw(st.integers(0, 1000))
        plain = bytes((number + i) & 0xFF for i in range(251)) * (length // 251 + 1)
        trains.plain[start : start + length] = plain[:length]
        views, segment, count = trains.seal(to, flags, start, start + length)
        datagrams = cut(views, segment)
        assert len(datagrams) == count <= MAX_SEGMENTS
        assert segment == size
        assert sum(map(len, datagrams)) <= MAX_UDP_PAYLOAD
        assert all(len(d) == size for d in datagrams[:-1])
        assert len(datagrams[-1]) <= size
        assert all(d.startswith(prefix) for d in datagrams)
        got_flags, counter, got = put_together(datagrams, len(prefix))
        assert got == plain[:length]
        assert got_flags == flags | FLAG_LAST
        assert counter == number + 1


@pytest.mark.parametrize("size", [1200, 1472, 8972])
@pytest.mark.parametrize("next_hop", [DIRECT, RELAYED])
def test_a_full_record_fills_its_train(size: int, next_hop: NextHop) -> None:
    trains, to = TrainMaker(), egress(size, next_hop)
    limit = trains.max_plain_bytes(to)
    _, _, count = trains.seal(to, 0, 0, limit)
    assert count == min(MAX_SEGMENTS, MAX_UDP_PAYLOAD // size)
    assert trains.seal(to, 0, 0, 1)[2] == 1
    # One datagram holds this much and not a byte more.
    most = size - datagram_overhead(through_relay=next_hop is RELAYED)
    assert trains.seal(to, 0, 0, most)[2] == 1
    assert trains.seal(to, 0, 0, most + 1)[2] == 2


@pytest.mark.parametrize("size", [1200, 1472, 8972])
@pytest.mark.parametrize("length", [10, 62_000, 63_000, 65_551, 130_000])
def test_parts_say_what_belongs_together(size: int, length: int) -> None:
    trains, to = TrainMaker(), egress(size)
    plain = bytes(i * 7 & 0xFF | 1 for i in range(length))
    trains.plain[:length] = plain
    opened = []
    for flags, start, end in trains.parts(to, 0, length):
        assert end - start <= trains.max_plain_bytes(to)
        views, segment, _ = trains.seal(to, flags, start, end)
        opened.append(put_together(cut(views, segment)))
    assert [bool(flags & FLAG_MORE) for flags, _, _ in opened] == [True] * (len(opened) - 1) + [
        False
    ]
    assert [counter for _, counter, _ in opened] == list(range(1, len(opened) + 1))
    # A later part cannot be taken for frames: it begins with the header of none.
    assert all(part[:16] == bytes(16) for _, _, part in opened[1:])
    assert opened[0][2] + b"".join(part[16:] for _, _, part in opened[1:]) == plain


def test_shapes_are_not_kept_for_ever() -> None:
    trains, to = TrainMaker(), egress(1200)
    for size in range(1200, 1200 + 2 * MAX_SHAPES):
        to.use(DIRECT, size)
        trains.plain[:100] = bytes(100)
        views, segment, _ = trains.seal(to, 0, 0, 100)
        assert put_together(cut(views, segment))[2] == bytes(100)
    assert len(trains._shapes) <= MAX_SHAPES


def test_a_control_record_is_one_datagram() -> None:
    to = egress(1200, RELAYED)
    prefix = relay_prefix(PEER)
    datagram = control_datagram(to, FLAG_CONTROL | FLAG_LAST, b"probe" * 1000, prefix)
    assert datagram[0] == KIND_RELAYED
    assert datagram[1] == HOP_LIMIT
    assert datagram[2:RELAY_PREFIX_BYTES] == PEER
    flags, _, plain = put_together([datagram], RELAY_PREFIX_BYTES)
    assert flags == FLAG_CONTROL | FLAG_LAST
    assert plain == b"probe" * 1000
    assert len(datagram) == len(plain) + datagram_overhead(through_relay=True)
