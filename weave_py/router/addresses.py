"""Where can a peer be reached? Addresses from all that we heard, the best guess first."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping

from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.topology import PeerRecord

# Of a peer's addresses: as many that it says itself, and that its neighbours say.
MAX_OWN_PLACES, MAX_SEEN_PLACES = 11, 4


def places_of(
    records: Mapping[PeerName, PeerRecord],
    reached: Mapping[PeerName, Endpoint | None],
    own_hosts: Collection[str],
) -> dict[PeerName, tuple[Endpoint, ...]]:
    """For each peer: where we reach it, where it says that it is, where others reached it."""
    seen = seen_by_neighbours(records)
    places = {}
    for name, record in records.items():
        first = reached.get(name)
        own = usable(record.endpoints[:MAX_OWN_PLACES], own_hosts)
        others = usable(seen.get(name, [])[:MAX_SEEN_PLACES], own_hosts)
        places[name] = tuple(dict.fromkeys([*([first] if first else []), *own, *others]))
    return places


def seen_by_neighbours(
    records: Mapping[PeerName, PeerRecord],
) -> dict[PeerName, list[Endpoint]]:
    """Where peers were successfully called by others, as both sides of the connection say: for
    every peer, sorted. (One side alone could say anything of anybody.)"""
    called = {
        name: {n.name for n in record.neighbours if not n.outbound}
        for name, record in records.items()
    }
    seen: dict[PeerName, set[Endpoint]] = {}
    for name, record in records.items():
        outbound = {n.name: n.address for n in record.neighbours if n.outbound}
        for other, address in outbound.items():
            if name in called.get(other, ()):
                seen.setdefault(other, set()).add(address)
    return {name: sorted(places) for name, places in seen.items()}


def usable(places: Iterable[Endpoint], own_hosts: Collection[str]) -> tuple[Endpoint, ...]:
    """Those that may be called on somebody else's word: not ours, and plainly unicast.

    A member could otherwise make us call our own loopback, or flood a multicast group.
    """
    return tuple(
        place for place in dict.fromkeys(places) if place.host not in own_hosts and _plain(place)
    )


def _plain(place: Endpoint) -> bool:
    address = ipaddress.ip_address(place.host.partition("%")[0])
    return not (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
    )
