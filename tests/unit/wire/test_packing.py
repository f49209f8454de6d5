"""Does the strict MessagePack reader take what we write, and nothing else?"""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.wire.packing import (
    MAX_ARRAY,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_MAP,
    as_bool,
    as_bytes,
    as_int,
    as_list,
    as_map,
    as_text,
    pack,
    unpack_canonical_untrusted,
    unpack_untrusted,
)

LIMIT = 1 << 20

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)


def containers(depth: int) -> st.SearchStrategy[object]:
    if depth == 0:
        return scalars
    inner = containers(depth - 1)
    keys = st.text(max_size=5) | st.binary(max_size=5)
    return scalars | st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)


@given(containers(3))
def test_what_we_pack_comes_back(value: object) -> None:
    packed = pack(value)
    assert unpack_untrusted(packed, max_bytes=len(packed)) == value
    assert unpack_canonical_untrusted(memoryview(packed), max_bytes=len(packed)) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_wire_error(data: bytes) -> None:
    try:
        value = unpack_canonical_untrusted(data, max_bytes=LIMIT)
    except WireError:
        return
    assert pack(value) == data


@given(containers(2), st.data())
def test_a_cut_or_extended_message_is_refused(value: object, data: st.DataObject) -> None:
    packed = pack(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(WireError):
        unpack_untrusted(packed[:cut], max_bytes=LIMIT)
    with pytest.raises(WireError):
        unpack_untrusted(packed + b"\xc0", max_bytes=LIMIT)


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


def test_limits_are_exact() -> None:
    at_limit: list[object] = [[None] * MAX_ARRAY, {str(i): i for i in range(MAX_MAP)}]
    at_limit += ["x" * MAX_BYTES, bytes(MAX_BYTES)]
    assert unpack_untrusted(pack(at_limit), max_bytes=LIMIT) == at_limit
    unpack_untrusted(nested(MAX_DEPTH), max_bytes=LIMIT)
    unpack_untrusted(b"\x91" * (MAX_DEPTH - 1) + b"\x90", max_bytes=LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pack([None] * (MAX_ARRAY + 1)), id="long array"),
        pytest.param(pack({str(i): i for i in range(MAX_MAP + 1)}), id="large map"),
        pytest.param(pack("x" * (MAX_BYTES + 1)), id="long text"),
        pytest.param(pack(bytes(MAX_BYTES + 1)), id="long bytes"),
        pytest.param(nested(MAX_DEPTH + 1), id="too deep"),
        pytest.param(b"\x91" * MAX_DEPTH + b"\x90", id="too deep, empty inside"),
        pytest.param(b"\x81\xa1a" * (MAX_DEPTH + 1) + b"\xc0", id="maps too deep"),
        pytest.param(nested(1000), id="1,000 deep"),
        pytest.param(nested(100_000), id="100,000 deep"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="array of 2^32-1 announced"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="map of 2^32-1 announced"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes of 2^32-1 announced"),
        pytest.param(b"\x81\x01\xc0", id="integer key"),
        pytest.param(b"\x81\xc0\xc0", id="nil key"),
        pytest.param(b"\x81\x90\xc0", id="array key"),
        pytest.param(b"\xa1\xff", id="bad UTF-8"),
        pytest.param(b"\xc7\x00\x05", id="empty extension"),
        pytest.param(b"\xd4\x05\x00", id="extension"),
        pytest.param(b"\xc7\x00\xff", id="empty timestamp"),
        pytest.param(msgpack.packb(msgpack.Timestamp(1)), id="timestamp"),
        pytest.param(b"\xc1", id="reserved byte"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        unpack_untrusted(data, max_bytes=LIMIT)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_size_is_checked_before_anything_is_decoded() -> None:
    with pytest.raises(WireError, match="11 bytes where at most 10"):
        unpack_untrusted(b"\xc1" * 11, max_bytes=10)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", id="duplicate key"),
        pytest.param(b"\xcc\x01", id="padded integer"),
        pytest.param(b"\xd9\x01a", id="padded text"),
        pytest.param(b"\xdc\x00\x00", id="padded array"),
        pytest.param(b"\xca\x3f\x80\x00\x00", id="short float"),
    ],
)
def test_only_the_signed_form_needs_to_be_canonical(data: bytes) -> None:
    unpack_untrusted(data, max_bytes=LIMIT)
    with pytest.raises(WireError, match="canonical"):
        unpack_canonical_untrusted(data, max_bytes=LIMIT)


def test_fields_of_the_right_kind_pass() -> None:
    assert as_bytes(b"ab", "key", length=2, max_length=2) == b"ab"
    assert as_int(-3, "count", -3, 5) == -3
    assert as_int(5, "count", -3, 5) == 5
    assert as_bool(False, "flag") is False
    assert as_text("ä", "nickname", 1) == "ä"
    assert as_list([1], "peers", 1, at_least=1) == [1]
    assert as_map({"a": 1}, "record") == {"a": 1}


@pytest.mark.parametrize(
    "check",
    [
        lambda: as_bytes("ab", "the field"),
        lambda: as_bytes(b"ab", "the field", length=3),
        lambda: as_bytes(b"ab", "the field", max_length=1),
        lambda: as_int(True, "the field", 0, 5),
        lambda: as_int(1.0, "the field", 0, 5),
        lambda: as_int(6, "the field", 0, 5),
        lambda: as_int(-1, "the field", 0, 5),
        lambda: as_bool(1, "the field"),
        lambda: as_text(b"a", "the field", 5),
        lambda: as_text("ab", "the field", 1),
        lambda: as_list({}, "the field", 5),
        lambda: as_list([1, 2], "the field", 1),
        lambda: as_list([1, 2], "the field", 5, at_least=3),
        lambda: as_map([], "the field"),
        lambda: as_map({b"a": 1}, "the field"),
        lambda: as_map(None, "the field"),
    ],
)
def test_a_refused_field_is_named(check: Callable[[], object]) -> None:
    with pytest.raises(WireError, match=r"^the field must"):
        check()
