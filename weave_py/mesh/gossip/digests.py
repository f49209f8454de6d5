"""What do we hold, in short? A hash tree of two levels: one per bucket of names, and one of all.

Two topologies are compared by the one hash; if it differs, by those of the buckets, and only then
by names and versions. What has not changed is not hashed again: neighbours may ask as often as they
like, and in a large network something changes all the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s
from struct import Struct

from weave_py.model.names import PeerName
from weave_py.wire.topology import BUCKET_HASH_BYTES, BUCKETS, DIGEST_BYTES, Held, SignedRecord

ALL_BUCKETS = frozenset(range(BUCKETS))
_ORDER = Struct(">QQ")


class Digests:
    """Told of every record that comes and goes."""

    def __init__(self) -> None:
        self._records: tuple[dict[PeerName, SignedRecord], ...] = tuple({} for _ in range(BUCKETS))
        self._hashes: list[bytes] = []
        self._root = b""
        self._stale = set(ALL_BUCKETS)

    def put(self, name: PeerName, signed: SignedRecord) -> None:
        """This is the peer's record from now on. Saying it again costs nothing."""
        bucket = bucket_of(name)
        if self._records[bucket].get(name) is not signed:
            self._records[bucket][name] = signed
            self._stale.add(bucket)

    def remove(self, name: PeerName) -> None:
        bucket = bucket_of(name)
        del self._records[bucket][name]
        self._stale.add(bucket)

    def held(self, buckets: Iterable[int] = ALL_BUCKETS) -> list[Held]:
        """Names and versions of all records, or of those in some buckets, sorted. (Neighbours may
        ask for buckets that there are not.)"""
        return sorted(
            Held(name, signed.record.order, signed.mark)
            for bucket in ALL_BUCKETS.intersection(buckets)
            for name, signed in self._records[bucket].items()
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
            for name, signed in sorted(self._records[bucket].items()):
                digest.update(name + _ORDER.pack(*signed.record.order) + signed.mark)
            self._hashes[bucket] = digest.digest()
        self._stale.clear()
        self._root = blake2s(b"".join(self._hashes), digest_size=DIGEST_BYTES).digest()


def bucket_of(name: PeerName) -> int:
    """Names are hashes, so their last byte spreads them evenly."""
    return name[-1] % BUCKETS
