"""Cutting a super-frame and letting a device segment the pieces must give the very packets that
the device would have made of the whole: checked against a segmentation written from the RFCs,
which computes every checksum from nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.super_frames import Odd, segmented, super_frame
from weave_py.datapath.super_frame import (
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    LEAST_SEGMENT,
    Cut,
    examine,
    shorten,
    write_piece,
)


def cut_into(frame: bytes, segments: int) -> list[bytes]:
    """The pieces, made in place in the way the data plane makes them."""
    plain = memoryview(bytearray(frame))
    cut = examine(plain, 0, len(frame))
    assert isinstance(cut, Cut)
    headers, pieces, skip = len(cut.headers), [], 0
    while skip < cut.payload:
        take = min(segments * cut.gso_size, cut.payload - skip)
        write_piece(plain, skip, cut, skip, take)
        pieces.append(bytes(plain[skip : skip + headers + take]))
        skip += take
    return pieces


@given(
    st.binary(min_size=1, max_size=400).flatmap(
        lambda seed: st.integers(1, 9000).map(lambda n: (seed * (n // len(seed) + 1))[:n])
    ),
    st.integers(LEAST_SEGMENT, 1400),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8)]),
    st.integers(0, 255),
    st.integers(1, 9),
)
def test_pieces_segment_into_the_same_packets(
    payload: bytes,
    gso_size: int,
    ipv6: bool,
    tags: int,
    options: bytes,
    flags: int,
    segments: int,
) -> None:
    frame = super_frame(payload, gso_size, ipv6, tags, options, flags)
    pieces = cut_into(frame, segments)
    assert [p for piece in pieces for p in segmented(piece)] == segmented(frame)


def test_other_frames_are_not_touched() -> None:
    frame = super_frame(bytes(3000), 1000)
    udp = bytes((frame[0], 5)) + frame[2:]
    plain = bytes((frame[0], 0)) + frame[2:]
    with_ip_options = frame[: 16 + 14] + b"\x46" + frame[16 + 15 :]
    cut_short = frame[: 16 + 14 + 20 + 10]
    for other in (udp, plain, with_ip_options, cut_short):
        assert examine(memoryview(bytearray(other)), 0, len(other)) is None


@given(st.integers(1, 9000), st.integers(LEAST_SEGMENT, 1400), st.booleans())
def test_what_loses_a_segment_loses_its_last(payload: int, gso_size: int, ipv6: bool) -> None:
    frame = super_frame(bytes(i % 251 for i in range(payload)), gso_size, ipv6)
    plain = memoryview(bytearray(b"before" + frame))
    cut = examine(plain, 6, len(frame))
    assert cut is not None
    size = shorten(plain, 6, cut)
    packets = segmented(frame)
    if len(packets) == 1:
        assert size == 0
        assert plain == b"before" + frame
    else:
        assert segmented(bytes(plain[6 : 6 + size])) == packets[:-1]


@given(
    st.booleans(),
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
    st.integers(17, 3100),
)
def test_whatever_a_peer_sends_is_left_alone_or_cut(
    ipv6: bool, tags: int, changes: list[tuple[int, int]], size: int
) -> None:
    """Nothing but a frame that is no longer than it was: never an error."""
    frame = bytearray(super_frame(bytes(3000), 1000, ipv6, tags)[:size])
    for place, value in changes:
        if place < len(frame):
            frame[place] = value
    cut = examine(memoryview(frame), 0, len(frame))
    if cut is not None:
        assert cut.flow
        assert shorten(memoryview(frame), 0, cut) <= len(frame)


USUAL = Odd(GSO_TCPV4, 1324, 9000)


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize(
    ("change", "is_cut"),
    [
        ({}, True),
        ({"tags": 2, "words": 15, "gso_size": LEAST_SEGMENT}, True),
        ({"gso_size": LEAST_SEGMENT - 1}, False),
        ({"gso_size": 1}, False),
        ({"gso_size": 0}, False),
        ({"tags": 3}, False),
        ({"tags": 400}, False),
        ({"extensions": 4}, False),
        ({"extensions": 1488}, False),
        ({"flags": 0}, False),
        ({"csum_offset": 6}, False),
        ({"csum_start": 0}, False),
        ({"csum_start": 8999}, False),
    ],
)
def test_only_what_tcp_stacks_send_is_cut(ipv6: bool, change: dict[str, Any], is_cut: bool) -> None:
    """F1: neither headers without end nor segments of a byte, of which each has all headers."""
    kind = GSO_TCPV6 if ipv6 else GSO_TCPV4
    for ecn in (0, GSO_ECN):
        frame = USUAL._replace(kind=kind | ecn, ipv6=ipv6)._replace(**change).frame()
        assert (examine(memoryview(frame), 0, len(frame)) is not None) == is_cut


@pytest.mark.parametrize("ipv6", [False, True])
def test_what_leads_to_something_else_than_tcp_is_not_cut(ipv6: bool) -> None:
    frame = bytearray(USUAL._replace(kind=GSO_TCPV6 if ipv6 else GSO_TCPV4, ipv6=ipv6).frame())
    assert examine(memoryview(frame), 0, len(frame)) is not None
    frame[16 + 14 + (6 if ipv6 else 9)] = 17  # UDP
    assert examine(memoryview(frame), 0, len(frame)) is None


@pytest.mark.parametrize("hdr_len", [0, 54, 8984, 0xFFFF])
def test_pieces_say_how_long_their_own_headers_are(hdr_len: int) -> None:
    """F1's neighbour: the sender's kernel says how much of the frame lay in one piece; the
    receiver's refuses frames that are shorter than that."""
    for piece in cut_into(USUAL._replace(hdr_len=hdr_len).frame(), 2):
        assert piece[2:4] == (54).to_bytes(2, "little")


def test_a_header_that_is_shorter_than_any_is_not_touched() -> None:
    for ipv6 in (False, True):
        frame = bytearray(super_frame(bytes(3000), 1000, ipv6))
        frame[16 + 14 + (40 if ipv6 else 20) + 12] &= 0x0F  # its length: no words at all
        assert examine(memoryview(frame), 0, len(frame)) is None
    inside_ethernet = bytearray(super_frame(bytes(3000), 1000, True))
    inside_ethernet[6:8] = (14).to_bytes(2, "little")  # csum_start
    assert examine(memoryview(inside_ethernet), 0, len(inside_ethernet)) is None
