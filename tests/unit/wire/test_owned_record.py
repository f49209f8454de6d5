"""Do records of services come back verbatim, and is everything else refused?"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.wire.gossip import U63, U64, RecordVersion
from weave_py.wire.owned_record import (
    MAX_PAYLOAD,
    SLOTS,
    context_of,
    decode_owned_untrusted,
    encode_body,
)
from weave_py.wire.packing import pack

KEY, SIGNATURE = bytes(32), bytes(64)


@given(
    st.integers(0, SLOTS - 1),
    st.integers(1, U64),
    st.integers(1, U63),
    st.binary(max_size=200) | st.just(bytes(MAX_PAYLOAD)),
)
def test_a_record_comes_back(slot: int, uid: int, version: int, payload: bytes) -> None:
    order = RecordVersion(uid, version)
    body = encode_body(KEY, slot, order, payload)
    came = decode_owned_untrusted(body, SIGNATURE)
    assert (came.body, came.signature) == (body, SIGNATURE)
    assert (came.identity, came.slot, came.order, came.payload) == (KEY, slot, order, payload)
    assert came.life == uid


def test_what_a_later_version_appends_is_passed_on() -> None:
    body = pack([1, KEY, 0, 1, 1, b"x", "more"])
    assert decode_owned_untrusted(body, SIGNATURE).body == body


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([2, KEY, 0, 1, 1, b""], id="format"),
        pytest.param([1, KEY[1:], 0, 1, 1, b""], id="key"),
        pytest.param([1, KEY, SLOTS, 1, 1, b""], id="slot"),
        pytest.param([1, KEY, 0, 0, 1, b""], id="uid"),
        pytest.param([1, KEY, 0, 1, U63 + 1, b""], id="version"),
        pytest.param([1, KEY, 0, 1, 1, bytes(MAX_PAYLOAD + 1)], id="payload"),
        pytest.param([1, KEY, 0, 1, 1], id="short"),
        pytest.param("text", id="no list"),
    ],
)
def test_what_is_malformed_is_refused(fields: object) -> None:
    with pytest.raises(WireError):
        decode_owned_untrusted(pack(fields), SIGNATURE)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_wire_error(body: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_owned_untrusted(body, SIGNATURE)


def test_a_short_signature_is_refused() -> None:
    with pytest.raises(WireError):
        decode_owned_untrusted(encode_body(KEY, 0, RecordVersion(1, 1), b""), SIGNATURE[1:])


def test_every_channel_has_a_context_of_its_own() -> None:
    assert context_of("ipam") != context_of("dns")
