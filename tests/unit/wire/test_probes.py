"""Probes and their answers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.model.names import Endpoint
from weave_py.wire.probes import (
    PROBE_BYTES,
    Probe,
    ProbeAnswer,
    decode_untrusted,
    encode_answer,
    encode_probe,
)

u32 = st.integers(0, 0xFFFF_FFFF)
u16 = st.integers(0, 0xFFFF)
places = st.sampled_from([None, Endpoint("192.0.2.7", 6783), Endpoint("2001:db8::1", 1)])


@given(u32, u16, u32, st.integers(PROBE_BYTES, 9000))
def test_a_probe_fills_its_datagram(number: int, size: int, sent: int, body: int) -> None:
    encoded = encode_probe(Probe(number, size, sent), body)
    assert len(encoded) == body
    assert decode_untrusted(encoded) == Probe(number, size, sent)


@given(u32, u16, u32, u32, places)
def test_an_answer_comes_back_as_it_was(
    number: int, size: int, sent: int, received: int, place: Endpoint | None
) -> None:
    answer = ProbeAnswer(number, size, sent, received, place)
    assert decode_untrusted(encode_answer(answer)) == answer


def test_counts_wrap() -> None:
    encoded = encode_answer(ProbeAnswer(1, 64, 2**32 + 5, 2**32 + 4, None))
    assert decode_untrusted(encoded) == ProbeAnswer(1, 64, 5, 4, None)


def test_kinds_of_newer_peers_are_passed_over() -> None:
    assert decode_untrusted(b"\x07" + bytes(40)) is None


@given(st.binary(max_size=60))
def test_nothing_but_wire_errors(body: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_untrusted(body)


@pytest.mark.parametrize("rest", [1, 2, 5, 9, 20])
def test_answers_cut_short_are_refused(rest: int) -> None:
    whole = encode_answer(ProbeAnswer(1, 2, 3, 4, Endpoint("192.0.2.7", 6783)))
    with pytest.raises(WireError):
        decode_untrusted(whole[:-rest])
