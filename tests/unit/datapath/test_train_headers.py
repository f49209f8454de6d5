"""Are the headers of trains, written over those of the trains before, what packing them one by
one gives?"""

from __future__ import annotations

from struct import Struct

from hypothesis import example, given
from hypothesis import strategies as st

from weave_py.datapath.train_headers import TrainHeaders
from weave_py.model.names import PeerName
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    FLAG_MORE,
    HEADER_BYTES,
    KIND_RECORD,
    MAX_COUNTER,
    MAX_RECORD_BYTES,
    MAX_SEGMENTS,
    NONCE_FLAGS,
    RELAY_PREFIX_BYTES,
    parse_header,
    relay_prefix,
)

# As the layout in the module's docstring has it, written down a second time.
_ONE = Struct("<BBBBI6sH")

prefixes = st.just(b"") | st.binary(min_size=6, max_size=6).map(
    lambda name: relay_prefix(PeerName(name))
)
# Few values, so that some stay the same from one train to the next, as they do on the data plane.
flags_of_records = st.sampled_from((0, FLAG_MORE, FLAG_CONTROL | FLAG_MORE))
sessions = st.sampled_from((0, 1, 2**32 - 1)) | st.integers(0, 2**32 - 1)
counters = st.integers(0, 3) | st.integers(254, 258) | st.integers(0, MAX_COUNTER)
lengths = st.sampled_from((0, 17, 60_000)) | st.integers(0, MAX_RECORD_BYTES)
trains = st.tuples(st.integers(1, MAX_SEGMENTS), flags_of_records, sessions, counters, lengths)


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


@given(prefixes, st.lists(trains, min_size=1, max_size=8))
@example(b"", [(MAX_SEGMENTS, NONCE_FLAGS, 2**32 - 1, MAX_COUNTER, MAX_RECORD_BYTES)])
@example(b"\xff" * 8, [(MAX_SEGMENTS, NONCE_FLAGS, 2**32 - 1, MAX_COUNTER, MAX_RECORD_BYTES)])
@example(b"", [(1, 0, 0, 0, 0)])
def test_each_run_is_its_headers_one_by_one(
    prefix: bytes, sent: list[tuple[int, int, int, int, int]]
) -> None:
    headers = TrainHeaders(prefix, MAX_SEGMENTS)
    view = memoryview(headers.run)
    for segments, flags, session, counter, length in sent:
        headers.write(segments, flags, session, counter, length)
        expected = one_by_one(prefix, segments, flags, session, counter, length)
        assert view[: headers.width * segments] == expected


def test_a_header_is_parsed_as_it_was_written() -> None:
    headers = TrainHeaders(b"", 3)
    headers.write(3, FLAG_MORE, 7, 0x0605_0403_0201, 99)
    for index in range(3):
        flags = FLAG_MORE | (FLAG_LAST if index == 2 else 0)
        expected = (KIND_RECORD, flags, index, 7, 0x0605_0403_0201 | 99 << 48)
        assert parse_header(headers.run, index * HEADER_BYTES) == expected


def test_width_counts_the_prefix() -> None:
    assert TrainHeaders(b"", 1).width == HEADER_BYTES
    prefix = relay_prefix(PeerName(b"abcdef"))
    assert TrainHeaders(prefix, 1).width == HEADER_BYTES + RELAY_PREFIX_BYTES
