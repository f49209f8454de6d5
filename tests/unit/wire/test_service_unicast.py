"""Do services' unicasts come back verbatim, and is everything else refused?"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.model.names import PeerUID
from weave_py.wire.gossip import U64
from weave_py.wire.packing import pack
from weave_py.wire.service_unicast import (
    MAC_BYTES,
    MAX_MESSAGE,
    ServiceUnicast,
    decode_unicast_untrusted,
    encode_unicast,
    told_bytes,
)

MAC = bytes(MAC_BYTES)
numbers = st.integers(1, U64)


@given(numbers, numbers, st.binary(max_size=200))
def test_a_unicast_comes_back(uid: int, number: int, message: bytes) -> None:
    said = ServiceUnicast(PeerUID(uid), number, message, MAC)
    assert decode_unicast_untrusted(encode_unicast(said)) == said


def test_the_longest_message_fits() -> None:
    said = ServiceUnicast(PeerUID(U64), U64, bytes(MAX_MESSAGE), MAC)
    assert decode_unicast_untrusted(encode_unicast(said)) == said


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([2, 1, 1, b"", MAC], id="format"),
        pytest.param([1, 0, 1, b"", MAC], id="uid"),
        pytest.param([1, 1, 0, b"", MAC], id="number"),
        pytest.param([1, 1, 1, bytes(MAX_MESSAGE + 1), MAC], id="message"),
        pytest.param([1, 1, 1, b"", MAC[1:]], id="mac"),
        pytest.param([1, 1, 1, b""], id="short"),
        pytest.param("text", id="no list"),
    ],
)
def test_what_is_malformed_is_refused(fields: object) -> None:
    with pytest.raises(WireError):
        decode_unicast_untrusted(pack(fields))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_unicast_or_a_wire_error(body: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_unicast_untrusted(body)


@given(st.lists(st.tuples(st.text(max_size=8), numbers, st.binary(max_size=8)), min_size=2))
def test_what_the_mac_is_of_says_which_channel_number_and_message(
    said: list[tuple[str, int, bytes]],
) -> None:
    assert len({told_bytes(*each) for each in said}) == len(set(said))
