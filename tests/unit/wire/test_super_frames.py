"""Cutting a super-frame and letting a device segment the pieces must give the very packets that
the device would have made of the whole: checked against a segmentation written from the RFCs,
which computes every checksum from nothing."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from weave_py.wire.sleeve import FRAME_HEADER_BYTES
from weave_py.wire.super_frames import GSO_TCPV4, GSO_TCPV6, Cut, examine, write_piece

NEEDS_CHECKSUM = 1


def ones_sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(ip: bytes, length: int) -> bytes:
    if ip[0] >> 4 == 4:
        return ip[12:20] + struct.pack(">BBH", 0, 6, length)
    return ip[8:40] + struct.pack(">IxxxB", length, 6)


def super_frame(
    payload: bytes, gso_size: int, ipv6: bool, tags: int, options: bytes, flags: int
) -> bytes:
    """A frame as a TAP with offloads hands it over."""
    tcp = struct.pack(">HHIIBBHHH", 40001, 443, 0xFFFF_F000, 7, (20 + len(options)) // 4 << 4,
                      flags, 512, 0, 0) + options  # fmt: skip
    if ipv6:
        ip = struct.pack(">IHBB", 0x6000_0000, len(tcp) + len(payload), 6, 64) + bytes(range(32))
    else:
        total = 20 + len(tcp) + len(payload)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 0xFFFE, 0x4000, 64, 6, 0) + bytes(range(8))
        ip = ip[:10] + struct.pack(">H", 0xFFFF - ones_sum(ip)) + ip[12:]
    partial = ones_sum(pseudo_header(ip, len(tcp) + len(payload)))
    tcp = tcp[:16] + struct.pack(">H", partial) + tcp[18:]
    ethernet = b"\x02abcde\x02fghij" + b"\x81\x00\x00\x07" * tags
    ethernet += b"\x86\xdd" if ipv6 else b"\x08\x00"
    start = len(ethernet) + len(ip)
    kind = GSO_TCPV6 if ipv6 else GSO_TCPV4
    vnet = struct.pack(
        "<BBHHHHHI", NEEDS_CHECKSUM, kind, start + len(tcp), gso_size, start, 16, 0, 0
    )
    return vnet + ethernet + ip + tcp + payload


def segmented(frame: bytes) -> list[bytes]:
    """What a device sends for a frame with a virtio-net header: finished packets."""
    _, kind, _, gso_size, start, _, _, _ = struct.unpack_from("<BBHHHHHI", frame)
    wire = frame[FRAME_HEADER_BYTES:]
    offset = start - (40 if wire[start - 40] >> 4 == 6 and start >= 54 else 20)
    ip, tcp_and_payload = wire[offset:start], wire[start:]
    header = (tcp_and_payload[12] >> 4) * 4
    tcp, payload = tcp_and_payload[:header], tcp_and_payload[header:]
    size = gso_size if kind else len(payload)
    packets = []
    for number, at in enumerate(range(0, len(payload), size)):
        part = payload[at : at + size]
        flags = tcp[13]
        if at + size < len(payload):
            flags &= ~0x09
        if at:
            flags &= ~0x80
        sequence = (struct.unpack_from(">I", tcp, 4)[0] + at) & 0xFFFF_FFFF
        t = tcp[:4] + struct.pack(">I", sequence) + tcp[8:13] + bytes((flags & 0xFF,)) + tcp[14:]
        t = t[:16] + b"\0\0" + t[18:]
        if ip[0] >> 4 == 4:
            i = ip[:2] + struct.pack(">H", 20 + header + len(part))
            i += struct.pack(">H", (struct.unpack_from(">H", ip, 4)[0] + number) & 0xFFFF)
            i += ip[6:10] + b"\0\0" + ip[12:]
            i = i[:10] + struct.pack(">H", 0xFFFF - ones_sum(i)) + i[12:]
        else:
            i = ip[:4] + struct.pack(">H", header + len(part)) + ip[6:]
        total = ones_sum(pseudo_header(i, header + len(part)) + t + part)
        t = t[:16] + struct.pack(">H", 0xFFFF - total) + t[18:]
        packets.append(wire[:offset] + i + t + part)
    return packets


def cut_into(frame: bytes, segments: int) -> list[bytes]:
    """The pieces, made in place in the way the road makes them."""
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
    st.integers(20, 1400),
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
    frame = super_frame(bytes(3000), 1000, False, 0, b"", 0x10)
    udp = bytes((frame[0], 5)) + frame[2:]
    plain = bytes((frame[0], 0)) + frame[2:]
    with_ip_options = frame[: 16 + 14] + b"\x46" + frame[16 + 15 :]
    cut_short = frame[: 16 + 14 + 20 + 10]
    for other in (udp, plain, with_ip_options, cut_short):
        assert examine(memoryview(bytearray(other)), 0, len(other)) is None
