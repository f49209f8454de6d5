"""How is it asked, said and heard on the wire who has an IPv6 address? (RFC 4861, RFC 4862)"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Final

from weave_py.workloads.claim import Claim

ETHER_TYPE: Final = 0x86DD

_ETHERNET = struct.Struct("!6s6sH")
_IPV6 = struct.Struct("!IHBB16s16s")  # version, class and label; length; next header; hop limit
_ND = struct.Struct("!BBHI16s")  # type, code, checksum, flags (NA) or nothing (NS), target
_ND_AT = _ETHERNET.size + _IPV6.size
_OPTION_UNIT = 8  # bytes
_TARGET_MAC_OPTION = b"\x02\x01"  # target link-layer address, one unit long

_VERSION = 6 << 28
_ICMPV6 = 58
_HOP_LIMIT = 255
"""Whatever has fewer was forwarded by a router, and may come from anywhere."""
_SOLICITATION, _ADVERTISEMENT = 135, 136
_FROM_ROUTER, _OVERRIDE = 1 << 31, 1 << 29

_UNSPECIFIED = IPv6Address("::")
_ALL_NODES = IPv6Address("ff02::1")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))

KERNEL_FILTER: Final = (
    # (code, jump if true, jump if false, operand): classic BPF, linux/filter.h
    (0x30, 0, 0, _ETHERNET.size + 6),  # load the byte: next header
    (0x15, 0, 6, _ICMPV6),  # equal, or drop
    (0x30, 0, 0, _ETHERNET.size + 7),  # hop limit
    (0x15, 0, 4, _HOP_LIMIT),
    (0x30, 0, 0, _ND_AT),  # ICMPv6 type
    (0x15, 1, 0, _SOLICITATION),
    (0x15, 0, 1, _ADVERTISEMENT),
    (0x06, 0, 0, 2048),  # pass: so many bytes of it
    (0x06, 0, 0, 0),  # drop
)
"""Lets neighbour discovery into a packet socket, and nothing else of IPv6: a container's traffic
would fill the socket and push out the one answer that is waited for."""


def encode_probe(mac: bytes, wanted: IPv6Address) -> bytes:
    """Does anybody have it? Asked by one who has no address yet (RFC 4862 §5.4.2)."""
    group = solicited_node(wanted)
    return _frame(mac, _UNSPECIFIED, group, _SOLICITATION, 0, wanted, b"")


def encode_announcement(mac: bytes, own: IPv6Address, *, from_router: bool) -> bytes:
    """It lives here now, so that stale caches mend (RFC 4861 §7.2.6).

    `from_router`: whether we forward. Said wrongly, others forget that we are their router, or
    take us for one.
    """
    flags = _OVERRIDE | (_FROM_ROUTER if from_router else 0)
    return _frame(mac, own, _ALL_NODES, _ADVERTISEMENT, flags, own, _TARGET_MAC_OPTION + mac)


def decode_claim_untrusted(frame: bytes, own_mac: bytes) -> Claim | None:
    """Which address the frame's sender claims (RFC 4862 §5.4.3, §5.4.4); None if it claims none.

    A claim is an advertisement of an address, and a probe of another host for it. The MAC is the
    one advertised, else the sender's.
    """
    if len(frame) < _ND_AT + _ND.size:
        return None
    _, mac, ether_type = _ETHERNET.unpack_from(frame)
    first, length, header, hops, source, to = _IPV6.unpack_from(frame, _ETHERNET.size)
    body = frame[_ND_AT : _ND_AT + length]
    if (ether_type, first >> 28, header, hops) != (ETHER_TYPE, 6, _ICMPV6, _HOP_LIMIT):
        return None
    if mac == own_mac or len(body) != length or length < _ND.size:
        return None
    kind, code, _, _, packed = _ND.unpack_from(body)
    options = _options(body[_ND.size :])
    target = IPv6Address(packed)
    if code != 0 or options is None or target.is_multicast or _checksum(source, to, body) != 0:
        return None
    if kind == _ADVERTISEMENT:
        return Claim(target, options.get(2, mac)[:6])
    # With a source it only looks for the target.
    if kind == _SOLICITATION and source == bytes(16) and to == solicited_node(target).packed:
        return Claim(target, mac)
    return None


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The multicast group that whoever has `address` listens to (RFC 4291 §2.7.1)."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def _frame(
    mac: bytes,
    source: IPv6Address,
    to: IPv6Address,
    kind: int,
    flags: int,
    target: IPv6Address,
    options: bytes,
) -> bytes:
    body = _ND.pack(kind, 0, 0, flags, target.packed) + options
    checksum = _checksum(source.packed, to.packed, body)
    body = _ND.pack(kind, 0, checksum, flags, target.packed) + options
    group = b"\x33\x33" + to.packed[-4:]  # RFC 2464 §7
    return (
        _ETHERNET.pack(group, mac, ETHER_TYPE)
        + _IPV6.pack(_VERSION, len(body), _ICMPV6, _HOP_LIMIT, source.packed, to.packed)
        + body
    )


def _checksum(source: bytes, to: bytes, body: bytes) -> int:
    """ICMPv6's (RFC 4443 §2.3): what belongs into its field; 0 if it is in there already."""
    pseudo_header = source + to + struct.pack("!II", len(body), _ICMPV6)
    data = pseudo_header + body + bytes(len(body) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _options(data: bytes) -> dict[int, bytes] | None:
    """The options' values by type; None if one is of length 0 or cut off (RFC 4861 §7.1)."""
    found: dict[int, bytes] = {}
    while data:
        if len(data) < _OPTION_UNIT or not 0 < data[1] * _OPTION_UNIT <= len(data):
            return None
        end = data[1] * _OPTION_UNIT
        found[data[0]] = data[2:end]
        data = data[end:]
    return found
