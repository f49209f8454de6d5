"""Do probes and answers come back as they were sent, padded, and over both families?"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.model.names import Endpoint, endpoint
from weave_py.wire.probes import (
    PROBE_BYTES,
    Probe,
    ProbeAnswer,
    Punch,
    Step,
    decode_untrusted,
    encode_answer,
    encode_probe,
    encode_punch,
)

u32, u16 = st.integers(0, 2**32 - 1), st.integers(0, 65535)
places = st.builds(endpoint, st.ip_addresses().map(str), st.integers(1, 65535))
# As the layout in the module's docstring has it, written down a second time.
_ANSWER = Struct("<BIHII")
HEAD = _ANSWER.pack(2, 0, 0, 0, 0)


@given(st.builds(Probe, u32, u16, u32), st.integers(0, 9000))
def test_a_probe_fills_its_datagram(probe: Probe, body_bytes: int) -> None:
    body = encode_probe(probe, body_bytes)
    assert len(body) == max(body_bytes, PROBE_BYTES)
    assert decode_untrusted(body) == decode_untrusted(memoryview(body)) == probe


@given(st.builds(ProbeAnswer, u32, u16, u32, u32, st.none() | places))
def test_an_answer_comes_back_as_it_was(answer: ProbeAnswer) -> None:
    body = encode_answer(answer)
    assert decode_untrusted(body) == decode_untrusted(memoryview(body)) == answer


def test_the_layouts() -> None:
    assert encode_probe(Probe(1, 2, 3), 14) == Struct("<BIHI3x").pack(1, 1, 2, 3)
    answer = ProbeAnswer(1, 2, 3, 4, Endpoint("192.0.2.1", 6783))
    assert encode_answer(answer) == _ANSWER.pack(2, 1, 2, 3, 4) + b"\x7f\x1a\xc0\0\2\1"


def test_the_layout_of_punches() -> None:
    assert encode_punch(Punch(Step.FIRE, 7, 9)) == Struct("<BIHI").pack(4, 7, 2, 9)
    assert decode_untrusted(b"\x04" + bytes(10)) == Punch(Step.ASK, 0, 0), "as once it was"


@given(st.builds(Punch, st.sampled_from(Step), u32, u32))
def test_a_punch_comes_back_as_it_was(punch: Punch) -> None:
    body = encode_punch(punch)
    assert len(body) == PROBE_BYTES
    assert decode_untrusted(body) == decode_untrusted(memoryview(body)) == punch


def test_steps_of_newer_peers_are_passed_over() -> None:
    assert decode_untrusted(Struct("<BIHI").pack(4, 7, 3, 9)) is None


def test_counts_wrap() -> None:
    assert decode_untrusted(encode_probe(Probe(1, 2, 2**32 + 3), 0)) == Probe(1, 2, 3)
    answer = ProbeAnswer(1, 64, 2**32 + 5, 2**40 + 4, None)
    assert decode_untrusted(encode_answer(answer)) == ProbeAnswer(1, 64, 5, 4, None)


def test_a_scope_does_not_travel() -> None:
    answer = ProbeAnswer(1, 2, 3, 4, Endpoint("fe80::1%eth0", 6783))
    came = decode_untrusted(encode_answer(answer))
    assert came == ProbeAnswer(1, 2, 3, 4, Endpoint("fe80::1", 6783))


def test_a_mapped_address_is_the_ipv4_address_it_stands_for() -> None:
    mapped = HEAD + b"\x7f\x1a" + ipaddress.ip_address("::ffff:192.0.2.1").packed
    answer = decode_untrusted(mapped)
    assert isinstance(answer, ProbeAnswer)
    assert answer.seen_from == Endpoint("192.0.2.1", 0x1A7F)


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda rest: HEAD + rest))
def test_any_bytes_give_a_value_or_a_wire_error(body: bytes) -> None:
    with suppress(WireError):
        decode_untrusted(body)


@pytest.mark.parametrize("kind", [0, 5, 7, 255])
def test_kinds_of_newer_peers_are_passed_over(kind: int) -> None:
    assert decode_untrusted(bytes((kind,)) + bytes(40)) is None


@pytest.mark.parametrize("rest", [1, 2, 5, 9, 20])
def test_answers_cut_short_are_refused(rest: int) -> None:
    whole = encode_answer(ProbeAnswer(1, 2, 3, 4, Endpoint("192.0.2.7", 6783)))
    with pytest.raises(WireError):
        decode_untrusted(whole[:-rest])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\1" + bytes(PROBE_BYTES - 2), id="probe cut"),
        pytest.param(HEAD[:-1], id="answer cut"),
        pytest.param(HEAD + b"\1", id="half a port"),
        pytest.param(HEAD + b"\1\1", id="no address"),
        pytest.param(HEAD + b"\1\1" + bytes(5), id="address of 5 bytes"),
        pytest.param(HEAD + b"\1\1" + bytes(17), id="address of 17 bytes"),
        pytest.param(HEAD + b"\0\0\1\2\3\4", id="port 0"),
    ],
)
def test_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_untrusted(body)
