"""Which of this host's addresses are those at which others reach it? Ranked, the likely ones first.

What is told of them is limited (wire.topology.MAX_ENDPOINTS), and a host with containers may have
dozens, mostly bridges of its container engines, whose addresses mean another place at every
reader's. So, in this order:

    used      the way to a peer that we reach leaves from it, or a peer sees it
    wires     all but those of bridges that have no wire
    default   the device of the default route
    global    before private
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from functools import lru_cache

from weave_py.model.underlay import OwnAddress

Rank = tuple[bool, bool, bool, bool, int, int]


def ranked(addresses: Iterable[OwnAddress], used: Collection[str]) -> list[OwnAddress]:
    """The likely ones first. `used`: from which we reach peers, or where they see us."""
    unique = {address.host: address for address in addresses}
    return sorted(unique.values(), key=lambda address: _rank(address, used))


def is_likely(address: OwnAddress, used: Collection[str]) -> bool:
    """Whether others may reach us there, as far as can be told."""
    return address.host in used or address.is_default or not address.is_lonely


def _rank(address: OwnAddress, used: Collection[str]) -> Rank:
    is_private, version, number = _facts(address.host)
    return (
        address.host not in used,
        not is_likely(address, used),
        not address.is_default,
        is_private,
        version,
        number,
    )


@lru_cache(maxsize=1024)
def _facts(host: str) -> tuple[bool, int, int]:
    address = ipaddress.ip_address(host.partition("%")[0])
    return not address.is_global, address.version, int(address)
