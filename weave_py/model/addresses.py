"""Which addresses may an interface in the overlay have, and how are they written?

One rule for every door: the command line, and whoever else attaches workloads.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def written_addresses(texts: Iterable[str]) -> list[str]:
    """The addresses in canonical form, each once; ValueError, one line, for what is none.

    `10.2.1.1/24`; Weave's `ip:` before it is taken off. What is to be taken away need not be
    usable: it is there, whoever gave it.
    """
    return list(dict.fromkeys(str(_written(text)) for text in texts))


def usable_addresses(texts: Iterable[str]) -> list[str]:
    """The same; ValueError also for an address that no interface should be given."""
    found = written_addresses(texts)
    for text in found:
        if why := _why_unusable(ipaddress.ip_interface(text)):
            raise ValueError(f"'{text}' is not an address for an interface: {why}")
    return found


def _written(text: str) -> Interface:
    bare = text.removeprefix("ip:")
    try:
        if "/" not in bare or "%" in bare:
            raise ValueError
        return ipaddress.ip_interface(bare)
    except ValueError:
        raise ValueError(
            f"'{text}' is not an address with its prefix length: write it like 10.2.1.1/24"
        ) from None


def _why_unusable(address: Interface) -> str:
    if address.ip.is_multicast or address.ip.is_unspecified or address.ip.is_loopback:
        return "choose a unicast one"
    if address.ip == _BROADCAST:
        return "it is for all hosts at once: choose a unicast one"
    network = address.network
    if network.max_prefixlen - network.prefixlen < 2:
        return ""  # a link of two, or one host alone: every address is a host's
    if address.ip == network.network_address:
        return f"it is that of the network {network}: choose one within"
    if address.version == 4 and address.ip == network.broadcast_address:
        return f"it is the broadcast address of {network}: choose another one"
    return ""
