"""Who is out there? The set of all peers' records, merged, verified, and forgotten in time.

Only a peer itself writes its record; of two records of a peer the one with the higher
(epoch, version) wins. So merging is commutative, associative and idempotent, and any way of
spreading records converges.

Forgetting is the delicate part: a peer that has been unreachable for a while is taken out, but
its record must not come back from a neighbour that forgets a moment later. So the record goes to
*limbo*: no longer told to anybody, but remembered; the same record coming in again changes
nothing, a newer one (only its owner can make it) brings the peer back, and so does the discovery
that it is reachable again (a partition that healed while nothing changed on its other side).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2s

from weave_py.crypto.identity import check_certificate_untrusted, peer_name_of, verify_untrusted
from weave_py.mesh.ourself import RECORD_CONTEXT, Ourself
from weave_py.mesh.routes import compute_routes
from weave_py.model.deadlines import Deadline
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.topology import (
    BUCKET_HASH_BYTES,
    BUCKETS,
    DIGEST_BYTES,
    MARK_BYTES,
    Held,
    PeerRecord,
    SignedRecord,
    decode_record_untrusted,
)

ALL_BUCKETS = frozenset(range(BUCKETS))


@dataclass(frozen=True, slots=True)
class TopologySettings:
    forget_after: float = 60.0
    """Seconds a peer may be unreachable before it goes to limbo."""
    max_peers: int = 10_000
    max_limbo: int = 10_000


@dataclass(frozen=True, slots=True)
class _Holdings:
    """What we hold, in short, as long as nothing changes."""

    ours: SignedRecord
    by_bucket: list[list[Held]]
    hashes: tuple[bytes, ...]
    root: bytes


class Topology:
    """All records. `merge_untrusted` what comes in, `refresh` after changes, then read `routes`."""

    def __init__(self, ourself: Ourself, settings: TopologySettings | None = None) -> None:
        self.ourself = ourself
        self.routes = RouteTable()
        self.quarantined = 0
        """Records refused as malformed, forged or over quota."""
        self._settings = settings or TopologySettings()
        self._live: dict[PeerName, SignedRecord] = {}
        self._limbo: dict[PeerName, SignedRecord] = {}
        self._unreachable_since: dict[PeerName, float] = {}
        self._cached: _Holdings | None = None
        self._bodies: set[bytes] = set()
        """The bodies of all live and limbo records."""

    # --- records -------------------------------------------------------------------------

    def record(self, name: PeerName) -> PeerRecord | None:
        """What `name` says about itself, if it is live."""
        if name == self.ourself.name:
            return self.ourself.record
        signed = self._live.get(name)
        return signed.record if signed else None

    def signed(self, name: PeerName) -> SignedRecord | None:
        return self.ourself.signed if name == self.ourself.name else self._live.get(name)

    def peers(self) -> Iterator[PeerName]:
        """All live peers but ourself, in the order of their names."""
        return iter(sorted(self._live))

    def __len__(self) -> int:
        return len(self._live)

    def merge_untrusted(self, body: bytes, signature: bytes) -> SignedRecord | None:
        """Take a record in: returns it if it is news, None if not. PeerError if it is bad.

        Being newer is looked at before the signature, and having it before decoding: most records
        come several times.
        """
        if body in self._bodies:
            return None
        try:
            signed = decode_record_untrusted(body, signature)
            name = peer_name_of(signed.record.identity)
            if not self._is_news(name, signed):
                return None
            self._authenticate_untrusted(name, signed)
        except PeerError:
            self.quarantined += 1
            raise
        if name == self.ourself.name:
            self.ourself.rival_seen(signed.record.order)
            return None  # the answer to it is our next announcement
        for old in (self._live.get(name), self._limbo.pop(name, None)):
            if old is not None:
                self._bodies.discard(old.body)
        while len(self._live) >= self._settings.max_peers and self._unreachable_since:
            # Who cannot be reached makes room first, the longest of them.
            self._forget(min(self._unreachable_since, key=lambda n: self._unreachable_since[n]))
        self._bodies.add(signed.body)
        self._live[name] = signed
        self._cached = None
        self._unreachable_since.pop(name, None)
        return signed

    def _is_news(self, name: PeerName, signed: SignedRecord) -> bool:
        known = self.signed(name) or self._limbo.get(name)
        if known is None:
            if len(self._live) >= self._settings.max_peers and not self._unreachable_since:
                raise PeerError(f"the network has more than {self._settings.max_peers} peers")
            return True
        if known.record.identity != signed.record.identity:
            # 48 bits can be searched for: the first key seen under a name keeps it.
            raise PeerError("another key for a peer name that is taken")
        if name == self.ourself.name:
            # An earlier life's may have come just as far as ours: see Ourself.rival_seen.
            return signed.record.order >= known.record.order and signed.body != known.body
        # The same order twice is an owner's fault; all must still keep the same one.
        return (signed.record.order, signed.body) > (known.record.order, known.body)

    def _authenticate_untrusted(self, name: PeerName, signed: SignedRecord) -> None:
        record = signed.record
        known = self.record(name)
        if known is None or (known.identity, known.static, known.certificate) != (
            record.identity,
            record.static,
            record.certificate,
        ):  # what was checked once need not be checked for every version
            check_certificate_untrusted(record.identity, record.static, record.certificate)
        verify_untrusted(record.identity, RECORD_CONTEXT, signed.body, signed.signature)

    # --- reachability --------------------------------------------------------------------

    def refresh(self, now: float) -> None:
        """Recompute `routes` from the records; forget and revive peers accordingly."""
        self.routes = compute_routes(self.ourself.name, self._claims(), self.routes.version + 1)
        reachable = self.routes.hops
        for name in [n for n in self._limbo if n in reachable]:
            self._live[name] = self._limbo.pop(name)
            self._cached = None
        for name in list(self._live):
            if name in reachable:
                self._unreachable_since.pop(name, None)
            elif now >= self._unreachable_since.setdefault(name, now) + self._settings.forget_after:
                self._forget(name)

    def is_reachable_without_us(self, name: PeerName) -> bool:
        """Whether a peer could be reached by others' connections alone, if we had none with it."""
        claims = dict(self._claims())
        record = claims[self.ourself.name]
        rest = tuple(n for n in record.neighbours if n.name != name)
        claims[self.ourself.name] = replace(record, neighbours=rest)
        return name in compute_routes(self.ourself.name, claims).hops

    def next_deadline(self) -> Deadline | None:
        """When `refresh` is to be called though nothing came in."""
        if not self._unreachable_since:
            return None
        first = min(self._unreachable_since.values())
        return Deadline(first + self._settings.forget_after, "forget an unreachable peer")

    def _claims(self) -> Mapping[PeerName, PeerRecord]:
        claims = {name: signed.record for name, signed in self._limbo.items()}
        claims.update((name, signed.record) for name, signed in self._live.items())
        claims[self.ourself.name] = self.ourself.record
        return claims

    def _forget(self, name: PeerName) -> None:
        del self._unreachable_since[name]
        self._limbo[name] = self._live.pop(name)
        self._cached = None
        while len(self._limbo) > self._settings.max_limbo:
            self._bodies.discard(self._limbo.pop(next(iter(self._limbo))).body)

    # --- digests (what we hold, in short) ------------------------------------------------

    def held(self, buckets: frozenset[int] = ALL_BUCKETS) -> list[Held]:
        """Names and versions of all records, or of those in some buckets, sorted."""
        holdings = self._holdings()
        return sorted(h for b in buckets if b < BUCKETS for h in holdings.by_bucket[b])

    def digest(self) -> bytes:
        """A hash over all we hold."""
        return self._holdings().root

    def bucket_hashes(self) -> tuple[bytes, ...]:
        """A hash per bucket of names."""
        return self._holdings().hashes

    def _holdings(self) -> _Holdings:
        """Made once per change: neighbours may ask as often as they like."""
        if self._cached is None or self._cached.ours is not self.ourself.signed:
            by_bucket: list[list[Held]] = [[] for _ in range(BUCKETS)]
            ours = self.ourself.signed
            for name, signed in [*self._live.items(), (self.ourself.name, ours)]:
                mark = blake2s(signed.body, digest_size=MARK_BYTES).digest()
                by_bucket[bucket_of(name)].append(Held(name, signed.record.order, mark))
            hashes = tuple(_hash(sorted(bucket)) for bucket in by_bucket)
            root = blake2s(b"".join(hashes), digest_size=DIGEST_BYTES).digest()
            self._cached = _Holdings(ours, by_bucket, hashes, root)
        return self._cached


def bucket_of(name: PeerName) -> int:
    """Names are hashes, so their last byte spreads them evenly."""
    return name[-1] % BUCKETS


def _hash(held: list[Held]) -> bytes:
    digest = blake2s(digest_size=BUCKET_HASH_BYTES)
    for name, (epoch, version), mark in held:
        digest.update(name + epoch.to_bytes(8, "big") + version.to_bytes(8, "big") + mark)
    return digest.digest()
