"""Where do peers see us, so that we may say it to all? What one of them alone says may be a lie.

Peers that are reached through one neighbour are one witness: whoever lets many identities in is
still one. A host that two witnesses name is believed. In a small network there may be only one
who sees us from outside; it is believed as well, but with one host, and not if two others know
better: they see us at another outer address, or at an address of our own that nobody translates.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache

from weave_py.model.names import Endpoint, PeerName

Testimony = tuple[PeerName, Endpoint]
"""Through which neighbour, and where we were seen."""
_TRANSLATED = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)


def believed(testimonies: Iterable[Testimony], own: Collection[str]) -> list[Endpoint]:
    """Those of the places seen that may be announced, as often as they were seen. `own`: this
    host's addresses."""
    said = list(testimonies)
    witnesses: dict[str, set[PeerName]] = {}
    for witness, place in said:
        witnesses.setdefault(place.host, set()).add(witness)
    sure = {host for host, by in witnesses.items() if len(by) > 1}
    settled = {_family(h) for h in sure if h not in own or not _may_be_translated(h)}
    alone: dict[PeerName, Counter[str]] = {}
    for witness, place in said:
        if place.host not in sure and place.host not in own and _family(place.host) not in settled:
            alone.setdefault(witness, Counter())[place.host] += 1
    # (Of those named as often as each other the same one each time.)
    lone = {(w, max(sorted(count), key=lambda h: count[h])) for w, count in alone.items()}
    return [place for w, place in said if place.host in sure or (w, place.host) in lone]


def _family(host: str) -> int:
    return 6 if ":" in host else 4


@lru_cache(maxsize=4096)
def _may_be_translated(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return any(address in network for network in _TRANSLATED)
