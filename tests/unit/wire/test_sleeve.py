"""Are headers and prefixes what the layout says?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.names import PeerName
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    FLAG_MORE,
    FRAME_HEADER_BYTES,
    FRAME_LENGTH,
    FRAME_LENGTH_OFFSET,
    HEADER_BYTES,
    HOP_LIMIT,
    KIND_RECORD,
    KIND_RELAYED,
    MAX_COUNTER,
    MAX_RECORD_BYTES,
    NONCE_FLAGS,
    RELAY_PREFIX_BYTES,
    header_value,
    parse_header,
    relay_prefix,
)

flags_of_records = st.sampled_from((0, FLAG_CONTROL, FLAG_MORE, FLAG_CONTROL | FLAG_MORE))
sessions = st.integers(0, 2**32 - 1)
counters = st.integers(0, MAX_COUNTER)
lengths = st.integers(0, MAX_RECORD_BYTES)


@given(flags_of_records, sessions, counters, lengths)
def test_a_header_is_parsed_as_it_was_built(
    flags: int, session: int, counter: int, length: int
) -> None:
    header = header_value(flags, session, counter, length).to_bytes(HEADER_BYTES, "little")
    assert parse_header(header, 0) == (KIND_RECORD, flags, 0, session, counter | length << 48)


def test_the_relay_prefix_names_the_destination() -> None:
    assert relay_prefix(PeerName(b"abcdef")) == bytes((KIND_RELAYED, HOP_LIMIT)) + b"abcdef"
    assert relay_prefix(PeerName(b"abcdef"), 3)[1] == 3
    assert len(relay_prefix(PeerName(b"abcdef"))) == RELAY_PREFIX_BYTES


@pytest.mark.parametrize("hop_limit", [-1, 256])
def test_a_hop_limit_is_one_byte(hop_limit: int) -> None:
    with pytest.raises(ValueError, match="range"):
        relay_prefix(PeerName(b"abcdef"), hop_limit)


def test_flags_are_different_bits_and_last_is_not_in_the_nonce() -> None:
    assert {FLAG_CONTROL, FLAG_LAST, FLAG_MORE} == {1, 2, 4}
    assert NONCE_FLAGS & FLAG_LAST == 0


def test_a_frames_length_ends_its_header() -> None:
    assert FRAME_LENGTH_OFFSET + FRAME_LENGTH.size == FRAME_HEADER_BYTES
