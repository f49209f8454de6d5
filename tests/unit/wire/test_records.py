"""Do topology records and their gossip come back as they were sent, and nothing else through?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import neighbour, record, signed_record
from weave_py.model.errors import WireError
from weave_py.model.names import MAX_NEIGHBOURS, Endpoint, PeerName, PeerUID, endpoint
from weave_py.wire.gossip import (
    BUCKET_HASH_BYTES,
    BUCKETS,
    DIGEST_BYTES,
    MARK_BYTES,
    MAX_GOSSIP_BYTES,
    MAX_RECORD_BYTES,
    SIGNATURE_BYTES,
    U63,
    Buckets,
    Digest,
    GossipMessage,
    Held,
    Records,
    RecordVersion,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
    record_key,
)
from weave_py.wire.packing import pack, unpack_untrusted
from weave_py.wire.topology import (
    MAX_ENDPOINTS,
    MAX_NICKNAME,
    U64,
    Glance,
    Neighbour,
    PeerRecord,
    decode_record_untrusted,
    encode_record,
    glance_at_record_untrusted,
)

names = st.binary(min_size=6, max_size=6).map(PeerName)
places = st.builds(endpoint, st.ip_addresses().map(str), st.integers(1, 65535))
u63 = st.integers(0, U63)
orders = st.builds(RecordVersion, u63, u63)
keys = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES)
neighbours = st.builds(
    Neighbour, names, st.integers(0, 60_000), st.booleans(), st.booleans(), places
)
records = st.builds(
    PeerRecord,
    identity=keys,
    static=keys,
    certificate=signatures,
    uid=st.integers(1, U64).map(PeerUID),
    order=orders,
    nickname=st.text(max_size=MAX_NICKNAME),
    endpoints=st.lists(places, max_size=MAX_ENDPOINTS).map(tuple),
    neighbours=st.lists(neighbours, max_size=5).map(tuple),
    suites=st.lists(st.integers(1, 255), max_size=16).map(tuple),
)
keys = st.builds(record_key, names, st.integers(0, 0xFFFF))
held = st.builds(Held, keys, orders, st.binary(min_size=MARK_BYTES, max_size=MARK_BYTES))
gossip = st.one_of(
    st.builds(
        Records, st.lists(st.tuples(st.binary(max_size=50), signatures), max_size=5).map(tuple)
    ),
    st.builds(Digest, st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)),
    st.builds(
        Buckets,
        st.binary(min_size=BUCKET_HASH_BYTES, max_size=BUCKET_HASH_BYTES).map(
            lambda h: (h,) * BUCKETS
        ),
    ),
    st.builds(
        Summary,
        st.binary(max_size=BUCKETS),
        st.lists(held, max_size=5).map(tuple),
        st.lists(keys, max_size=5).map(tuple),
    ),
)
SIGNATURE = bytes(SIGNATURE_BYTES)


@given(records)
@settings(deadline=None)
def test_a_record_comes_back_verbatim(sent: PeerRecord) -> None:
    body = encode_record(sent)
    came = decode_record_untrusted(body, SIGNATURE)
    assert came.record == sent
    assert (came.body, came.signature) == (body, SIGNATURE)
    assert encode_record(came.record) == body


@given(gossip)
def test_gossip_comes_back(sent: GossipMessage) -> None:
    assert decode_gossip_untrusted(encode_gossip(sent)) == sent


def test_the_largest_record_we_can_make_is_not_too_large() -> None:
    """256 neighbours with the longest addresses fit. (An interface's name behind them, or the
    longest of nicknames, costs some neighbours: see Ourself.)"""
    far = Endpoint("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 65535)
    largest = PeerRecord(
        identity=bytes(32),
        static=bytes(32),
        certificate=bytes(64),
        uid=PeerUID(U64),
        order=RecordVersion(U63, U63),
        nickname="x" * MAX_NICKNAME,
        endpoints=(far,) * MAX_ENDPOINTS,
        neighbours=(Neighbour(PeerName(b"n" * 6), 60_000, True, True, far),) * MAX_NEIGHBOURS,
        suites=(255,) * 16,
    )
    body = encode_record(largest)
    assert decode_record_untrusted(body, SIGNATURE).record == largest
    assert len(encode_gossip(Records(((body, SIGNATURE),)))) <= MAX_GOSSIP_BYTES


def body_fields() -> list[Any]:
    fields = unpack_untrusted(encode_record(record(1, [neighbour(2)])), max_bytes=MAX_RECORD_BYTES)
    assert isinstance(fields, list)
    return fields


def test_later_versions_may_append_fields_and_the_body_stays_verbatim() -> None:
    body = pack([*body_fields(), {"new": [1]}])
    came = decode_record_untrusted(body, SIGNATURE)
    assert came.record == record(1, [neighbour(2)])
    assert came.body == body


NEIGHBOUR = [b"n" * 6, 1, True, True, "192.0.2.1", 6783]


@pytest.mark.parametrize(
    ("index", "value"),
    [
        pytest.param(0, 2, id="format of the future"),
        pytest.param(1, b"k" * 31, id="short identity"),
        pytest.param(2, "k" * 32, id="text for a key"),
        pytest.param(3, b"c" * 65, id="long certificate"),
        pytest.param(4, 0, id="uid 0"),
        pytest.param(5, -1, id="negative epoch"),
        pytest.param(6, 1.0, id="fractional version"),
        pytest.param(7, "n" * (MAX_NICKNAME + 1), id="long nickname"),
        pytest.param(7, b"nick", id="nickname in bytes"),
        pytest.param(8, [["192.0.2.1", 1]] * (MAX_ENDPOINTS + 1), id="many endpoints"),
        pytest.param(8, [["host.example", 1]], id="endpoint is a name"),
        pytest.param(8, [["192.0.2.1", 0]], id="port 0"),
        pytest.param(8, [["192.0.2.1", 65536]], id="port too large"),
        pytest.param(8, [["192.0.2.1"]], id="no port"),
        pytest.param(8, [["192.0.2.1%eth0", 1]], id="scope on IPv4"),
        pytest.param(8, [["fe80::1%\x1b[2J", 1]], id="escape in a scope"),
        pytest.param(8, [["fe80::1%", 1]], id="empty scope"),
        pytest.param(8, [["fe80::1%" + "x" * 16, 1]], id="long scope"),
        pytest.param(9, [NEIGHBOUR] * (MAX_NEIGHBOURS + 1), id="many neighbours"),
        pytest.param(9, [NEIGHBOUR[:5]], id="neighbour cut"),
        pytest.param(9, [[*NEIGHBOUR, 1]], id="neighbour longer"),
        pytest.param(9, [[b"n" * 5, *NEIGHBOUR[1:]]], id="neighbour's name short"),
        pytest.param(9, [[b"n" * 6, 60_001, *NEIGHBOUR[2:]]], id="cost too large"),
        pytest.param(9, [[b"n" * 6, 1, 1, *NEIGHBOUR[3:]]], id="number for a boolean"),
        pytest.param(10, [0], id="suite 0"),
        pytest.param(10, [256], id="suite 256"),
        pytest.param(10, [1] * 17, id="many suites"),
    ],
)
def test_a_bad_field_is_refused(index: int, value: object) -> None:
    fields = body_fields()
    fields[index] = value
    with pytest.raises(WireError):
        decode_record_untrusted(pack(fields), SIGNATURE)


@pytest.mark.parametrize("count", range(11))
def test_no_field_may_be_missing(count: int) -> None:
    with pytest.raises(WireError):
        decode_record_untrusted(pack(body_fields()[:count]), SIGNATURE)


def test_an_oversized_record_is_refused_unread() -> None:
    with pytest.raises(WireError, match="at most"):
        decode_record_untrusted(b"\xc1" * (MAX_RECORD_BYTES + 1), SIGNATURE)


def test_a_body_that_is_not_canonical_is_refused() -> None:
    """Else a record had several forms under as many signatures."""
    body = bytearray(encode_record(record(1)))
    assert body[:2] == b"\x9b\x01"
    padded = b"\x9b\xcc\x01" + body[2:]
    with pytest.raises(WireError, match="canonical"):
        decode_record_untrusted(padded, SIGNATURE)


def test_a_signature_has_64_bytes() -> None:
    with pytest.raises(WireError, match="signature"):
        decode_record_untrusted(encode_record(record(1)), SIGNATURE[1:])


@given(records, st.data())
@settings(deadline=None)
def test_a_flipped_bit_is_an_error_or_another_record(sent: PeerRecord, data: st.DataObject) -> None:
    body = bytearray(encode_record(sent))
    bit = data.draw(st.integers(0, 8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    try:
        came = decode_record_untrusted(bytes(body), SIGNATURE)
    except WireError:
        return
    assert came.record != sent


@given(st.binary(max_size=300))
def test_any_bytes_give_a_record_or_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_record_untrusted(data, SIGNATURE)


likely = st.recursive(
    st.none() | st.integers(-1, 70) | st.binary(max_size=8) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


@given(
    st.binary(max_size=300)
    | st.lists(likely, max_size=6).map(pack)
    | st.tuples(st.integers(0, 5), st.lists(likely, max_size=4)).map(lambda t: pack([t[0], *t[1]]))
)
def test_any_bytes_give_gossip_or_a_wire_error(data: bytes) -> None:
    try:
        message = decode_gossip_untrusted(data)
    except WireError:
        return
    assert decode_gossip_untrusted(encode_gossip(message)) == message


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([0], id="unknown kind"),
        pytest.param([5], id="kind of the future"),
        pytest.param([1, [[b"", bytes(63)]]], id="short signature"),
        pytest.param([1, [[b""]]], id="no signature"),
        pytest.param([1, [[bytes(MAX_RECORD_BYTES + 1), SIGNATURE]]], id="long body"),
        pytest.param([2, bytes(DIGEST_BYTES - 1)], id="short digest"),
        pytest.param([3, [bytes(BUCKET_HASH_BYTES)] * (BUCKETS - 1)], id="a bucket missing"),
        pytest.param([3, [bytes(BUCKET_HASH_BYTES)] * (BUCKETS + 1)], id="a bucket too many"),
        pytest.param([4, bytes(BUCKETS + 1), b"", b""], id="many buckets"),
        pytest.param([4, b"", b"n" * 27, b""], id="held cut short"),
        pytest.param([4, b"", b"", b"n" * 9], id="half a key wanted"),
        pytest.param([4, b"", b""], id="nothing wanted"),
    ],
)
def test_bad_gossip_is_refused(fields: list[object]) -> None:
    with pytest.raises(WireError):
        decode_gossip_untrusted(pack(fields))


def test_one_bad_record_does_not_spoil_the_message() -> None:
    good = signed_record(1)
    sent = Records(((b"garbage", SIGNATURE), (good.body, good.signature)))
    assert decode_gossip_untrusted(encode_gossip(sent)) == sent


def test_orders_compare_incarnations_first() -> None:
    assert RecordVersion(1, U63) < RecordVersion(2, 0) < RecordVersion(2, 1)


@given(records)
def test_a_glance_sees_what_decoding_does(made: PeerRecord) -> None:
    """F5a: whose record it is, and which, is known before it is decoded."""
    body = encode_record(made)
    assert glance_at_record_untrusted(body) == Glance(made.identity, made.order)
    assert glance_at_record_untrusted(body[:192] + b"garbage") == Glance(made.identity, made.order)


@given(st.binary(max_size=300) | st.lists(st.integers(0, 9), max_size=20).map(pack))
def test_a_glance_at_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(WireError):
        glance_at_record_untrusted(garbage)


@given(records, st.data())
def test_what_decodes_is_what_the_glance_saw(made: PeerRecord, data: st.DataObject) -> None:
    body = bytearray(encode_record(made))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_record_untrusted(bytes(body), SIGNATURE)
    except WireError:
        return
    glance = glance_at_record_untrusted(bytes(body))
    assert glance[:2] == (decoded.record.identity, decoded.record.order)
