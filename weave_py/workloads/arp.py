"""How is it asked, said and heard on the wire who has an IPv4 address? (RFC 826, RFC 5227)"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Final

from weave_py.workloads.claim import Claim

ETHER_TYPE: Final = 0x0806

_BROADCAST = b"\xff" * 6
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")  # Ethernet header, then RFC 826
_REQUEST, _REPLY = 1, 2
_FIXED = (ETHER_TYPE, 1, 0x0800, 6, 4)  # frame type, hardware, protocol, their address lengths
_UNSPECIFIED = IPv4Address(0)


def encode_request(mac: bytes, sender: IPv4Address, target: IPv4Address) -> bytes:
    """A broadcast ARP request: who has `target`? Tell `sender`."""
    return _FRAME.pack(
        _BROADCAST, mac, *_FIXED, _REQUEST, mac, sender.packed, bytes(6), target.packed
    )


def encode_probe(mac: bytes, wanted: IPv4Address) -> bytes:
    """Does anybody have it? Asked by one who has no address yet (RFC 5227 §2.1.1)."""
    return encode_request(mac, _UNSPECIFIED, wanted)


def encode_announcement(mac: bytes, own: IPv4Address) -> bytes:
    """It lives here now, so that stale caches mend (RFC 5227 §2.3)."""
    return encode_request(mac, own, own)


def decode_claim_untrusted(frame: bytes, own_mac: bytes) -> Claim | None:
    """Which address the frame's sender claims (RFC 5227 §2.1.1); None if it claims none.

    A claim is any ARP packet sent from an address, and a probe of another host for it.
    """
    if len(frame) < _FRAME.size:
        return None
    _, _, *fixed, operation, mac, sender, _, target = _FRAME.unpack_from(frame)
    if tuple(fixed) != _FIXED or operation not in (_REQUEST, _REPLY) or mac == own_mac:
        return None
    if IPv4Address(sender) != _UNSPECIFIED:
        return Claim(IPv4Address(sender), mac)
    return Claim(IPv4Address(target), mac) if operation == _REQUEST else None
