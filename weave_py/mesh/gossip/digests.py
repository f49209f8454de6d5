"""What do we hold, in short? A hash tree of two levels: one per bucket of keys, and one of all.

Two stores are compared by the one hash; if it differs, by those of the buckets, and only then by
keys and versions. What has not changed is not hashed again: neighbours may ask as often as they
like, and in a large network something changes all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from struct import Struct
from typing import Generic

from weave_py.mesh.gossip.store import R
from weave_py.wire.gossip import BUCKET_HASH_BYTES, BUCKETS, DIGEST_BYTES, Held, RecordKey

ALL_BUCKETS = frozenset(range(BUCKETS))
_ORDER = Struct(">QQ")


class Digests(Generic[R]):
    """Told of every record that comes and goes."""

    def __init__(self) -> None:
        self._records: tuple[dict[RecordKey, R], ...] = tuple({} for _ in range(BUCKETS))
        self._hashes: list[bytes] = []
        self._root = b""
        self._stale = set(ALL_BUCKETS)

    def put(self, key: RecordKey, record: R) -> None:
        """This is the record of that key from now on. Saying it again costs nothing."""
        bucket = bucket_of(key)
        if self._records[bucket].get(key) is not record:
            self._records[bucket][key] = record
            self._stale.add(bucket)

    def remove(self, key: RecordKey) -> None:
        bucket = bucket_of(key)
        del self._records[bucket][key]
        self._stale.add(bucket)

    def held(self, buckets: Iterable[int] = ALL_BUCKETS) -> list[Held]:
        """Keys and versions of all records, or of those in some buckets, sorted. (Neighbours may
        ask for buckets that there are not.)"""
        return sorted(
            Held(key, record.order, record.mark)
            for bucket in ALL_BUCKETS.intersection(buckets)
            for key, record in self._records[bucket].items()
        )

    @property
    def root(self) -> bytes:
        """A hash over all we hold."""
        self._refresh()
        return self._root

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """A hash per bucket."""
        self._refresh()
        return tuple(self._hashes)

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._hashes = self._hashes or [b""] * BUCKETS
        for bucket in self._stale:
            digest = blake2s(digest_size=BUCKET_HASH_BYTES)
            for key in sorted(records := self._records[bucket]):
                record = records[key]
                digest.update(key + _ORDER.pack(*record.order) + record.mark)
            self._hashes[bucket] = digest.digest()
        self._stale.clear()
        self._root = blake2s(b"".join(self._hashes), digest_size=DIGEST_BYTES).digest()


def bucket_of(key: RecordKey) -> int:
    """Names are hashes, so their last byte spreads owners evenly, and the slot an owner's own."""
    return (key[-3] + key[-1]) % BUCKETS
