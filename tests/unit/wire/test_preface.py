"""Do versions that overlap agree, and all others refuse each other with a helpful word?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.wire.preface import (
    MAGIC,
    MAX_VERSION,
    MIN_VERSION,
    PREFACE_BYTES,
    agree_untrusted,
    preface,
)


def test_we_agree_with_ourselves() -> None:
    assert len(preface()) == PREFACE_BYTES
    assert agree_untrusted(preface()) == MAX_VERSION


@given(st.integers(0, 255), st.integers(0, 255))
def test_the_highest_common_version_or_none(low: int, high: int) -> None:
    common = set(range(low, high + 1)) & set(range(MIN_VERSION, MAX_VERSION + 1))
    theirs = MAGIC + bytes((low, high, 0, 0))
    if common:
        assert agree_untrusted(theirs) == max(common)
    else:
        with pytest.raises(WireError, match="upgrade the older one"):
            agree_untrusted(theirs)


def test_a_later_version_may_use_the_reserved_bytes() -> None:
    assert agree_untrusted(MAGIC + bytes((1, 9, 0xFF, 0xFF))) == MAX_VERSION


@given(st.binary(max_size=12))
def test_anything_else_is_another_program(data: bytes) -> None:
    with pytest.raises(WireError):
        agree_untrusted(data)


@pytest.mark.parametrize("theirs", [b"GET / HT", b"SSH-2.0-", b"\0" * 8, b"", preface() + b"\0"])
def test_other_programs_are_named_as_such(theirs: bytes) -> None:
    with pytest.raises(WireError, match="does not speak weave-py"):
        agree_untrusted(theirs)
