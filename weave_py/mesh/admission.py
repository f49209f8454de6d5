"""Who may try to get in, and how often? Limits for those that have not proved anything yet.

A wrong password costs the guesser one connection. Sources (an IPv4 address, or an IPv6 /64, which
is what one customer has) get a few failures at once and then one a second; who succeeds never
notices.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

BURST = 5.0  # failed handshakes
PER_SECOND = 1.0
MAX_SOURCES = 10_000  # remembered; beyond that the ones that failed longest ago are forgotten


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@lru_cache(maxsize=1024)  # asked for each handshake in progress, at each connection
def source_of(host: str) -> str:
    """What counts as one source: the address, or the /64 of an IPv6 one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))


class Admission:
    """Token buckets of failures, per source."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def admits(self, host: str, now: float) -> bool:
        """Whether this source may try again."""
        bucket = self._buckets.get(source_of(host))
        return bucket is None or self._refilled(bucket, now) >= 1.0

    def failed(self, host: str, now: float) -> None:
        """A handshake that came from there was not completed."""
        source = source_of(host)
        bucket = self._buckets.pop(source, None)
        tokens = BURST if bucket is None else self._refilled(bucket, now)
        self._buckets[source] = _Bucket(max(tokens - 1.0, 0.0), now)
        while len(self._buckets) > MAX_SOURCES:
            del self._buckets[next(iter(self._buckets))]  # the one that failed longest ago

    @staticmethod
    def _refilled(bucket: _Bucket, now: float) -> float:
        return min(BURST, bucket.tokens + (now - bucket.at) * PER_SECOND)
