"""What does a replicator need to know of the records it spreads, and of who is connected?

Two protocols. A *store* holds the records of one gossip channel: the topology is one, each
service's records are another (`mesh.gossip.owned_records`). The *graph* is always the topology's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from weave_py.mesh.gossip.introducers import Introducers
from weave_py.model.names import PeerName
from weave_py.wire.gossip import Held, RecordKey, RecordVersion


class Record(Protocol):
    """A record as it travels, verbatim."""

    @property
    def body(self) -> bytes: ...
    @property
    def signature(self) -> bytes: ...
    @property
    def mark(self) -> bytes:
        """Of the body: see wire.gossip.mark_of."""

    @property
    def order(self) -> RecordVersion: ...


R = TypeVar("R", bound=Record)


class RecordStore(Protocol[R]):
    """The records of one channel, the newest of each key. Merging is commutative, associative and
    idempotent, so that any way of spreading them converges."""

    @property
    def introducers(self) -> Introducers:
        """Who pays for each record."""

    def merge_untrusted(self, body: bytes, signature: bytes, via: PeerName, now: float) -> R | None:
        """Take a record in, which the neighbour `via` has brought: returns it if it is news, None
        if not. PeerError if it is bad, or too much of that neighbour."""

    def signed(self, key: RecordKey) -> R | None:
        """The record that is told to others under this key."""

    def key_of(self, record: R) -> RecordKey: ...

    def key_of_body(self, body: bytes) -> RecordKey | None:
        """Which record this is, if we hold exactly it."""

    def lacks(self, held: Held, of: PeerName, now: float) -> bool:
        """Whether this record would be news to us, and taken from that neighbour."""

    def held(self, buckets: Iterable[int]) -> Sequence[Held]:
        """What we hold in these buckets of keys, sorted."""

    def digest(self) -> bytes:
        """A hash over all we hold."""

    def bucket_hashes(self) -> tuple[bytes, ...]: ...


class Graph(Protocol):
    """Who is connected with whom, as far as we know."""

    def __len__(self) -> int:
        """How many peers there are besides us."""

    def degree(self, peer: PeerName) -> int | None:
        """How many neighbours a peer claims; None: we do not know the peer."""

    def connected(self, peer: PeerName, among: Collection[PeerName]) -> Collection[PeerName]:
        """Those of `among` that have a connection with `peer`, as both ends claim."""
