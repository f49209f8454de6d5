"""Is a probe on the kernel's path recognised, and is every damaged or foreign one refused?"""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.wire.fast_probe import (
    SMALL_BYTES,
    FastProbe,
    decode_untrusted,
    encode,
    full_bytes,
)

COOKIE = b"c" * 16
FULL = full_bytes(1376)
probes = st.builds(FastProbe, st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())


@given(probes, st.integers(42, 9014), st.binary(min_size=16, max_size=16))
def test_it_comes_back_as_it_was(probe: FastProbe, size: int, cookie: bytes) -> None:
    frame = encode(probe, size, cookie)
    assert len(frame) == size
    assert decode_untrusted(frame, cookie) == decode_untrusted(memoryview(frame), cookie) == probe


def test_no_bridge_forwards_it() -> None:
    frame = encode(FastProbe(1, 2, False), SMALL_BYTES, COOKIE)
    assert frame[:14].hex() == "0180c200000f" + "000000000000" + "88b5"


def test_sizes() -> None:
    assert full_bytes(1376) == 1390
    assert full_bytes(0) == SMALL_BYTES
    with pytest.raises(ValueError, match="41 bytes"):
        encode(FastProbe(1, 2, False), 41, COOKIE)


@given(probes, st.integers(0, FULL * 8 - 1))
def test_one_bit_changed_is_noticed(probe: FastProbe, bit: int) -> None:
    frame = bytearray(encode(probe, FULL, COOKIE))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        decode_untrusted(bytes(frame), COOKIE)


@given(probes, st.integers(0, FULL - 2), st.integers(2, 64))
def test_parts_that_change_places_are_noticed(probe: FastProbe, at: int, length: int) -> None:
    """What a sum over the frame would not see."""
    frame = encode(probe, FULL, COOKIE)
    part = frame[at : at + length]
    swapped = frame[:at] + part[::-1] + frame[at + length :]
    if swapped != frame:
        with pytest.raises(WireError):
            decode_untrusted(swapped, COOKIE)


@given(probes, st.integers(0, FULL - 1))
def test_a_part_of_it_is_noticed(probe: FastProbe, length: int) -> None:
    with pytest.raises(WireError):
        decode_untrusted(encode(probe, FULL, COOKIE)[:length], COOKIE)


def test_more_than_it_is_noticed() -> None:
    with pytest.raises(WireError, match="came as 61"):
        decode_untrusted(encode(FastProbe(1, 2, False), 60, COOKIE) + b"\0", COOKIE)


def test_only_who_knows_the_cookie_can_make_one() -> None:
    with pytest.raises(WireError, match="not from the peer"):
        decode_untrusted(encode(FastProbe(1, 2, False), 60, b"d" * 16), COOKIE)


def test_numbers_begin_with_one() -> None:
    with pytest.raises(WireError, match="unknown kind"):
        decode_untrusted(encode(FastProbe(0, 2, False), 60, COOKIE), COOKIE)


@given(st.binary(max_size=120))
def test_any_bytes(frame: bytes) -> None:
    with suppress(WireError):
        decode_untrusted(frame, COOKIE)
