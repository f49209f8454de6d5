"""TCP super-frames as a TAP hands them over, and what a device makes of them: both written from
the RFCs, every checksum computed from nothing."""

from __future__ import annotations

import struct
from typing import NamedTuple

from hypothesis import strategies as st

from weave_py.datapath.super_frame import GSO_TCPV4, GSO_TCPV6
from weave_py.wire.sleeve import FRAME_HEADER_BYTES

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
    payload: bytes,
    gso_size: int,
    ipv6: bool = False,
    tags: int = 0,
    options: bytes = b"",
    flags: int = 0x10,
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


class Odd(NamedTuple):
    """What a container may say and put in a frame that its kernel's bridge hands on: all of it."""

    kind: int
    """gso_type."""
    gso_size: int
    size: int
    """Bytes of the frame, the 16 in front of it included."""
    ipv6: bool = False
    tags: int = 0
    extensions: int = 0
    """Bytes between the IP header and TCP: options, or extension headers."""
    words: int = 5
    """Length of the TCP header, as it says."""
    flags: int = NEEDS_CHECKSUM
    hdr_len: int | None = None
    csum_start: int | None = None
    """None: the truth, as of `hdr_len`."""
    csum_offset: int = 16

    def frame(self) -> bytes:
        ethernet = b"\x02abcde\x02fghij" + b"\x81\x00\x00\x07" * self.tags
        length = max(self.size - FRAME_HEADER_BYTES - len(ethernet) - 2, 0) & 0xFFFF
        if self.ipv6:
            ip = b"\x86\xdd" + struct.pack(">IHBB", 0x6000_0000, length, 6, 64) + bytes(32)
        else:
            head = 0x45 + min(self.extensions // 4, 10)
            ip = b"\x08\x00" + struct.pack(">BBHHHBBH8x", head, 0, length, 1, 0x4000, 64, 6, 0)
        ip += b"\1\4\0\0" * (self.extensions // 4)
        tcp = struct.pack(">HHIIBBHHH", 40001, 443, 7, 7, self.words << 4, 0x18, 512, 0, 0)
        start = len(ethernet) + len(ip) if self.csum_start is None else self.csum_start
        head_bytes = start + self.words * 4 if self.hdr_len is None else self.hdr_len
        vnet = struct.pack(
            "<BBHHHHHI",
            self.flags,
            self.kind,
            head_bytes & 0xFFFF,
            self.gso_size,
            start & 0xFFFF,
            self.csum_offset,
            0,
            0,
        )
        frame = vnet + ethernet + ip + tcp
        return (frame + b"payload " * (self.size // 8))[: self.size]


def _mostly(usual: int, *others: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.one_of(st.just(usual), *others)


_u16 = st.integers(0, 0xFFFF)
_kinds = st.sampled_from([GSO_TCPV4, GSO_TCPV6, 0, 3, 5, 0x81, 0x84])
_segments = st.sampled_from([0, 1, 2, 8, 88, 255, 256, 500, 536, 700, 1324, 1448, 9000, 0xFFFF])
odd_frames = st.builds(
    Odd,
    kind=st.one_of(_kinds, st.integers(0, 255)),
    gso_size=st.one_of(_segments, _u16),
    size=st.one_of(st.integers(30, 65_600), st.integers(60_000, 65_600)),
    ipv6=st.booleans(),
    tags=_mostly(0, st.integers(0, 3), st.integers(0, 15_000)),
    extensions=_mostly(
        0, st.integers(0, 10).map(lambda n: 4 * n), st.integers(0, 15_000).map(lambda n: 4 * n)
    ),
    words=_mostly(5, st.integers(0, 15)),
    flags=_mostly(NEEDS_CHECKSUM, st.integers(0, 255)),
    hdr_len=st.one_of(st.none(), _u16),
    csum_start=st.one_of(st.none(), st.none(), _u16),
    csum_offset=_mostly(16, _u16),
)
"""Frames of every kind that a TAP can hand over, most of them nearly right."""
