"""Are the headers of a train, built at once, what packing them one by one gives?"""

from __future__ import annotations

from struct import Struct

import pytest
from hypothesis import example, given
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
    MAX_SEGMENTS,
    NONCE_FLAGS,
    RELAY_PREFIX_BYTES,
    HeaderRuns,
    header_value,
    parse_header,
    relay_prefix,
)

# As the layout in the module's docstring has it, written down a second time.
_ONE = Struct("<BBBBI6sH")

flags_of_records = st.sampled_from((0, FLAG_CONTROL, FLAG_MORE, FLAG_CONTROL | FLAG_MORE))
sessions = st.integers(0, 2**32 - 1)
counters = st.integers(0, MAX_COUNTER)
lengths = st.integers(0, MAX_RECORD_BYTES)
prefixes = st.just(b"") | st.binary(min_size=6, max_size=6).map(
    lambda name: relay_prefix(PeerName(name))
)


def one_by_one(
    prefix: bytes, segments: int, flags: int, session: int, counter: int, length: int
) -> bytes:
    headers = []
    for index in range(segments):
        last = FLAG_LAST if index == segments - 1 else 0
        rest = counter.to_bytes(6, "little")
        header = _ONE.pack(KIND_RECORD, flags | last, index, 0, session, rest, length)
        headers.append(prefix + header)
    return b"".join(headers)


@given(prefixes, st.integers(1, MAX_SEGMENTS), flags_of_records, sessions, counters, lengths)
@example(b"", MAX_SEGMENTS, NONCE_FLAGS, 2**32 - 1, MAX_COUNTER, MAX_RECORD_BYTES)
@example(b"\xff" * 8, MAX_SEGMENTS, NONCE_FLAGS, 2**32 - 1, MAX_COUNTER, MAX_RECORD_BYTES)
@example(b"", 1, 0, 0, 0, 0)
def test_a_run_is_its_headers_one_by_one(
    prefix: bytes, segments: int, flags: int, session: int, counter: int, length: int
) -> None:
    run = HeaderRuns(prefix).build(segments, header_value(flags, session, counter, length))
    assert run == one_by_one(prefix, segments, flags, session, counter, length)


@given(flags_of_records, sessions, counters, lengths)
def test_a_header_is_parsed_as_it_was_built(
    flags: int, session: int, counter: int, length: int
) -> None:
    run = HeaderRuns().build(3, header_value(flags, session, counter, length))
    for index in range(3):
        last = FLAG_LAST if index == 2 else 0
        expected = (KIND_RECORD, flags | last, index, session, counter | length << 48)
        assert parse_header(run, index * HEADER_BYTES) == expected


def test_width_counts_the_prefix() -> None:
    assert HeaderRuns().width == HEADER_BYTES
    assert HeaderRuns(relay_prefix(PeerName(b"abcdef"))).width == HEADER_BYTES + RELAY_PREFIX_BYTES


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
