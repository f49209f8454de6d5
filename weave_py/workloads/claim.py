"""What does somebody say who uses an address?"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

Address = IPv4Address | IPv6Address


class Claim(NamedTuple):
    """Somebody uses an address, or is about to."""

    address: Address
    mac: bytes
