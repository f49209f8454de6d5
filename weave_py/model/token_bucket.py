"""How often may somebody cost us something? Token buckets, one or one for each source."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class TokenBucket:
    """`burst` at once, and `per_second` more for ever."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._at = float("-inf")
        """When `_tokens` was right."""

    def has(self, now: float, cost: float = 1.0) -> bool:
        """Whether `take` would be granted."""
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
            self._at = now
        return self._tokens >= cost

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Pay for it, if there is enough; a refusal costs nothing."""
        granted = self.has(now, cost)
        if granted:
            self._tokens -= cost
        return granted

    def give(self, amount: float) -> None:
        """Somebody has earned so much more; what does not go in is lost."""
        self._tokens = min(self._burst, self._tokens + amount)


class TokenBuckets(Generic[K]):
    """A bucket for each source; of the `most` that asked last, or the table itself would be a way
    to fill our memory. Who is forgotten begins anew with a full one."""

    def __init__(self, burst: float, per_second: float, most: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._buckets: dict[K, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def forget(self, source: K) -> None:
        """Begin anew with a full one."""
        self._buckets.pop(source, None)

    def of(self, source: K) -> TokenBucket:
        bucket = self._buckets.pop(source, None) or TokenBucket(self._burst, self._per_second)
        self._buckets[source] = bucket
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]  # the one that has not asked for longest
        return bucket
