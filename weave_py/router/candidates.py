"""Where can a peer be reached? Addresses from all that we heard, the best guess first."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from functools import lru_cache

from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.topology import MAX_ENDPOINTS, PeerRecord

# A record holds MAX_ENDPOINTS of a peer's addresses: as many are told, and all of them are read.
MAX_SEEN_PLACES = 4  # besides, of those where its neighbours say that it is
PORTS_PER_HOST, MAX_ANNOUNCED_SEEN = 2, 5

RecordOf = Callable[[PeerName], PeerRecord | None]


class CandidateAddresses(Mapping[PeerName, tuple[Endpoint, ...]]):
    """For each peer: where we reach it, where it says that it is, where others reached it.

    Worked out when asked for: in a large network few peers are asked for at a time.
    """

    def __init__(
        self,
        peers: KeysView[PeerName],
        record_of: RecordOf,
        reached: Callable[[PeerName], Endpoint | None],
        is_left_out: Callable[[str], bool],
    ) -> None:
        """`is_left_out` tells of an address whether hearing of it is not enough to go there."""
        self._peers = peers
        self._record_of = record_of
        self._reached = reached
        self._is_left_out = is_left_out

    def __getitem__(self, name: PeerName) -> tuple[Endpoint, ...]:
        record = self._record_of(name)
        if record is None:
            raise KeyError(name)
        first = self._reached(name)
        own = usable(record.endpoints, self._is_left_out)
        seen = seen_by_neighbours(name, self._record_of)
        others = usable(seen[:MAX_SEEN_PLACES], self._is_left_out)
        return tuple(dict.fromkeys([*([first] if first else []), *own, *others]))

    def __iter__(self) -> Iterator[PeerName]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, name: object) -> bool:
        return name in self._peers

    def keys(self) -> KeysView[PeerName]:
        return self._peers


def seen_by_neighbours(name: PeerName, record_of: RecordOf) -> list[Endpoint]:
    """Where a peer was successfully called by others, as both sides of the connection say, sorted.
    (One side alone could say anything of anybody.)"""
    record = record_of(name)
    callers = [] if record is None else [n.name for n in record.neighbours if not n.outbound]
    seen = set()
    for caller in callers:
        other = record_of(caller)
        claim = None if other is None else other.claims.get(name)
        if claim is not None and claim.outbound:
            seen.add(claim.address)
    return sorted(seen)


def announced(
    likely: Iterable[Endpoint], observed: Iterable[Endpoint], unlikely: Iterable[Endpoint] = ()
) -> list[Endpoint]:
    """Where we say that we are: the host's own addresses, and those that peers see; no more than
    a record holds, and those least that nobody is likely to reach.

    Of those that peers see at the same host the two that most of them see: a NAT that gives every
    peer another port (`is_symmetric`) would otherwise make us announce them all, and anew with
    each peer; two are enough to tell that it does.
    """
    first, last = list(likely), list(unlikely)
    own = {*first, *last}
    ports: dict[str, Counter[int]] = {}
    for place in observed:
        if place not in own:
            ports.setdefault(place.host, Counter())[place.port] += 1
    seen = [
        Endpoint(host, port)
        for host in sorted(ports)
        for port in sorted(ports[host], key=lambda p: (-ports[host][p], p))[:PORTS_PER_HOST]
    ][:MAX_ANNOUNCED_SEEN]
    return [*first[: MAX_ENDPOINTS - len(seen)], *seen, *last][:MAX_ENDPOINTS]


def is_symmetric(record: PeerRecord) -> bool:
    """Whether a NAT seems to give different peers different ports: then nobody can be told where
    to send to. (See `announced`. With one peer that it reaches directly it does not show.)"""
    hosts = Counter(place.host for place in record.endpoints)
    return any(count > 1 for count in hosts.values())


def usable(
    places: Iterable[Endpoint], is_left_out: Callable[[str], bool] = lambda host: False
) -> tuple[Endpoint, ...]:
    """Those that may be called on somebody else's word: not left out, and plainly unicast.

    A member could otherwise make us call our own loopback, or flood a multicast group.
    """
    return tuple(
        place
        for place in dict.fromkeys(places)
        if not is_left_out(place.host) and _is_plain(place.host)
    )


@lru_cache(maxsize=16_384)
def _is_plain(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return not (
        address.is_loopback
        or address.is_multicast
        or address.is_unspecified
        or address.is_link_local
    )
