"""Which inner MTU fits on a path, if the kernel carries the frames?

    plain    IP | UDP 8 | VXLAN 8 | Ethernet 14 | inner packet
    sealed   IP | ESP 8 | IV 8 | UDP 8 | VXLAN 8 | Ethernet 14 | inner packet | pad | 2 | ICV 16

(RFC 7348 §5; RFC 4303 §2 and RFC 4106 §8: ESP fills up to a multiple of 4.) What passes is known
from the sleeve, as the UDP payload that does: so the outer IP header does not matter.
"""

from __future__ import annotations

from typing import Final

_UDP: Final = 8
_INSIDE_UDP: Final = 8 + 14
_ESP: Final = 8 + 8 + 16
_TRAILER: Final = 2


def inner_mtu(datagram_bytes: int, sealed: bool) -> int:
    """Bytes of the largest inner packet, given the UDP payload that passes; 0: none does."""
    room = datagram_bytes - _INSIDE_UDP
    if sealed:
        filled = (datagram_bytes + _UDP - _ESP) // 4 * 4
        room = filled - _TRAILER - _UDP - _INSIDE_UDP
    return max(room, 0)
