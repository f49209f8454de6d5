"""How is a super-frame cut into smaller ones that are frames in their own right?

A TAP hands over what the sender's TCP gave to its device: up to 64 KiB with one set of headers,
and a virtio-net header that says how to cut it (gso_size) and where its checksum goes. Where that
is more than a record should hold, we cut it as the kernel would, only into larger pieces: each
has the headers, corrected, and a whole number of segments, and is itself a valid super-frame (or
a plain frame). So a lost record costs its own pieces and nothing else.

Containers write what a TAP hands over, and each piece has all headers again. So only what TCP
stacks send is cut: headers are then short (at most 138 bytes, the 16 of the TAP included), and
segments longer. Whatever a frame says, its pieces are fewer than one for each 256 bytes of it,
and all together less than twice as long. What is odd is left as it is, and costs what its bytes
cost.

Everything happens in place. The payload stays where it is; a piece's headers are written in front
of it, over payload of the piece before, which has left by then. Formats: virtio 1.1 section
5.1.6; RFC 791, 8200 and 9293; of the checksum only the pseudo-header's part is there (the device
finishes it), and only its length changes (RFC 1624 for the arithmetic).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from weave_py.wire.sleeve import FRAME_HEADER_BYTES

GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_ECN = 0x80

LEAST_SEGMENT = 256
"""Bytes; what is said to be cut into smaller ones is left alone. The smallest that TCP has reason
for is 500 or so (RFC 9293 section 3.7.1: 536, less its options)."""

MAX_PACKETS = 512
"""Of one super-frame, for a kernel that must make them: TCP has reason for 122 (64 KiB in
segments of 536 bytes), UDP may ask for 128 (UDP_MAX_SEGMENTS)."""
GSO_TYPE_OFFSET = 1

_VNET = Struct("<BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_U16 = Struct(">H")
_U32 = Struct(">I")
_U16_LITTLE = Struct("<H")
_TEN_WORDS = Struct(">10H")

_NEEDS_CHECKSUM = 1
_HDR_LEN = 2
_TCP_SEQUENCE = 4
_TCP_DATA_OFFSET = 12
_TCP_FLAGS = 13
_TCP_CHECKSUM = 16
_TCP_HEADER = 20
_FIN_PSH = 0x09
_CWR = 0x80
_LEAST_WORDS = 5  # of 4 bytes, in a TCP header
_IPV4_PLAIN_HEADER = 0x45  # no options: what every TCP stack sends
_IPV4_HEADER, _IPV6_HEADER = 20, 40
_IPV4_PROTOCOL, _IPV6_NEXT_HEADER = 9, 6
_TCP = 6
_IPV4_TYPE, _IPV6_TYPE = 0x0800, 0x86DD
_ETHERTYPE = FRAME_HEADER_BYTES + 12
_VLAN_TYPES = (0x8100, 0x88A8)
_MAX_TAGS = 2  # IEEE 802.1Q: a service's and a customer's


class Cut(NamedTuple):
    """What cutting a TCP super-frame needs to know; offsets from its first byte."""

    headers: bytes
    """All headers as they were, the 16 bytes of the TAP included."""
    ip: int
    tcp: int
    is_ipv4: bool
    gso_size: int
    payload: int
    """Bytes of payload in the whole super-frame."""

    @property
    def flow(self) -> bytes:
        """The same for all of a connection's super-frames: addresses and ports."""
        return self.headers[self.ip + (12 if self.is_ipv4 else 8) : self.tcp + 4]


def examine(plain: memoryview, at: int, size: int) -> Cut | None:
    """What is needed to cut the frame `plain[at : at + size]`, or None if it is no TCP
    super-frame (or one that is too odd to touch: containers and peers may send anything)."""
    flags, gso_type, _, gso_size, csum_start, csum_offset = _VNET.unpack_from(plain, at)
    kind = gso_type & ~GSO_ECN
    if kind not in (GSO_TCPV4, GSO_TCPV6) or gso_size < LEAST_SEGMENT:
        return None
    tcp = FRAME_HEADER_BYTES + csum_start
    if not flags & _NEEDS_CHECKSUM or csum_offset != _TCP_CHECKSUM or tcp + _TCP_HEADER > size:
        return None
    is_ipv4 = kind == GSO_TCPV4
    ip = tcp - (_IPV4_HEADER if is_ipv4 else _IPV6_HEADER)
    if not _leads_to_tcp(plain, at, ip, is_ipv4):
        return None
    words = plain[at + tcp + _TCP_DATA_OFFSET] >> 4
    headers = tcp + words * 4
    if words < _LEAST_WORDS or headers >= size:
        return None
    return Cut(bytes(plain[at : at + headers]), ip, tcp, is_ipv4, gso_size, size - headers)


def is_endless(plain: memoryview, at: int, size: int) -> bool:
    """Whether the super-frame `plain[at : at + size]` is to become more than MAX_PACKETS. Where a
    device cannot do that, whoever writes the frame to a TAP waits until its kernel has."""
    gso_size: int = _VNET.unpack_from(plain, at)[3]
    return size > gso_size * MAX_PACKETS


def _leads_to_tcp(plain: memoryview, at: int, ip: int, is_ipv4: bool) -> bool:
    """Whether Ethernet, a VLAN tag or two perhaps, and an IP header at `ip` without options or
    extension headers are all that precedes TCP."""
    tags, rest = divmod(ip - 2 - _ETHERTYPE, 4)
    if rest or not 0 <= tags <= _MAX_TAGS:
        return False
    for tag in range(_ETHERTYPE, ip - 2, 4):
        if _U16.unpack_from(plain, at + tag)[0] not in _VLAN_TYPES:
            return False
    ethertype = _U16.unpack_from(plain, at + ip - 2)[0]
    if is_ipv4:
        return (
            ethertype == _IPV4_TYPE
            and plain[at + ip] == _IPV4_PLAIN_HEADER
            and plain[at + ip + _IPV4_PROTOCOL] == _TCP
        )
    return ethertype == _IPV6_TYPE and plain[at + ip + _IPV6_NEXT_HEADER] == _TCP


def write_piece(plain: memoryview, at: int, cut: Cut, skip: int, take: int) -> None:
    """Write the headers of the piece that has `take` bytes of payload, from `skip` on, at `at`;
    its payload lies behind them already. `skip` is a multiple of the segment size."""
    headers, tcp, ip = cut.headers, at + cut.tcp, at + cut.ip
    plain[at : at + len(headers)] = headers
    # A kernel may say that more lay in one piece than the headers, and takes no frame shorter than
    # what it is told.
    _U16_LITTLE.pack_into(plain, at + _HDR_LEN, len(headers) - FRAME_HEADER_BYTES)
    if take <= cut.gso_size:
        plain[at + GSO_TYPE_OFFSET] = GSO_NONE
        plain[at + 4 : at + 6] = b"\0\0"
    sequence = (_U32.unpack_from(headers, cut.tcp + _TCP_SEQUENCE)[0] + skip) & 0xFFFF_FFFF
    _U32.pack_into(plain, tcp + _TCP_SEQUENCE, sequence)
    if skip + take < cut.payload:
        plain[tcp + _TCP_FLAGS] &= ~_FIN_PSH & 0xFF
    if skip:
        plain[tcp + _TCP_FLAGS] &= ~_CWR & 0xFF
    # The TCP length is part of the pseudo-header's sum.
    checksum = _U16.unpack_from(headers, cut.tcp + _TCP_CHECKSUM)[0]
    checksum += 0xFFFF - (cut.payload - take)
    _U16.pack_into(plain, tcp + _TCP_CHECKSUM, _fold(checksum))
    if cut.is_ipv4:
        total = len(headers) - cut.ip + take
        identification = _U16.unpack_from(headers, cut.ip + 4)[0] + skip // cut.gso_size
        _U16.pack_into(plain, ip + 2, total)
        _U16.pack_into(plain, ip + 4, identification & 0xFFFF)
        plain[ip + 10 : ip + 12] = b"\0\0"
        _U16.pack_into(plain, ip + 10, 0xFFFF - _fold(sum(_TEN_WORDS.unpack_from(plain, ip))))
    else:
        _U16.pack_into(plain, ip + 4, len(headers) - cut.tcp + take)


def shorten(plain: memoryview, at: int, cut: Cut) -> int:
    """Take the last segment off the super-frame at `at`; its size after that, or 0 if it has only
    one."""
    if cut.payload <= cut.gso_size:
        return 0
    take = (cut.payload - 1) // cut.gso_size * cut.gso_size
    write_piece(plain, at, cut, 0, take)
    return len(cut.headers) + take


def _fold(total: int) -> int:
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)
