"""Does the frame reader cut every stream, however it comes, as it was put together?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.wire.stream import MAX_FRAME_BYTES, FrameReader, alert, frame

pieces = st.lists(st.binary(min_size=1, max_size=50) | st.integers(1, 255), max_size=8)


def encode(piece: bytes | int) -> bytes:
    return alert(piece) if isinstance(piece, int) else frame(piece)


def read_all(reader: FrameReader) -> list[bytes | int]:
    found: list[bytes | int] = []
    while (piece := reader.next_frame_untrusted()) is not None:
        found.append(piece)
    return found


@given(pieces, st.data())
def test_any_chunking_gives_the_same_frames(sent: list[bytes | int], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    reader = FrameReader()
    found: list[bytes | int] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        found += read_all(reader)
    assert found == sent


def test_whole_byte_by_byte_and_with_a_tail() -> None:
    sent: list[bytes | int] = [b"one", 7, b"x" * MAX_FRAME_BYTES]
    stream = b"".join(map(encode, sent))
    reader = FrameReader()
    reader.feed(stream + b"\0")
    assert read_all(reader) == sent
    reader.feed(b"\0\x09")
    assert read_all(reader) == [9]
    slow = FrameReader()
    found = []
    for value in stream[:200]:
        slow.feed(bytes((value,)))
        found += read_all(slow)
    assert found == sent[:2]


def test_raw_bytes_come_before_frames() -> None:
    reader = FrameReader()
    reader.feed(b"1234567")
    assert reader.take_exactly(8) is None
    reader.feed(b"8" + frame(b"body"))
    assert reader.take_exactly(8) == b"12345678"
    assert reader.take_exactly(0) == b""
    assert reader.next_frame_untrusted() == b"body"
    assert reader.next_frame_untrusted() is None


def test_the_limit_is_exact_and_known_from_the_length_alone() -> None:
    reader = FrameReader()
    reader.feed(frame(b"x" * 10))
    assert reader.next_frame_untrusted(10) == b"x" * 10
    reader.feed(b"\0\x0b")
    with pytest.raises(WireError, match="11 bytes where at most 10"):
        reader.next_frame_untrusted(10)


@pytest.mark.parametrize("body", [b"", b"x" * (MAX_FRAME_BYTES + 1)])
def test_what_cannot_be_framed(body: bytes) -> None:
    with pytest.raises(ValueError, match=str(len(body))):
        frame(body)


@pytest.mark.parametrize("code", [-1, 256])
def test_an_alert_is_one_byte(code: int) -> None:
    with pytest.raises(ValueError, match="range"):
        alert(code)
