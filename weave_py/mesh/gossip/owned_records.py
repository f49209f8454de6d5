"""Which records of a service's channel are there? Signed by their owners, the newest of each slot.

A peer has up to `most_slots` records, and only it can change them. An owner's records all belong to
one incarnation of it, the latest of which anything is known here: with the first record of a new
one all that it said before is gone, so nothing of an earlier life can linger. Merging is
commutative, associative and idempotent.

Only peers that take part, as far as we know now, have records here: those of others are refused, to
be asked for when their owner becomes known (`take_missed`), and dropped when it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from weave_py.crypto.identity import Identity, peer_name_of, verify_untrusted
from weave_py.mesh.gossip.digests import ALL_BUCKETS, Digests
from weave_py.mesh.gossip.introducers import TOO_MANY, IntroducerQuota, Introducers
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.wire.gossip import U63, Held, RecordKey, RecordVersion, owner_of, record_key, slot_of
from weave_py.wire.owned_record import (
    MAX_PAYLOAD,
    OwnedRecord,
    context_of,
    decode_owned_untrusted,
    encode_body,
)

MAX_MISSED = 4096


@dataclass(frozen=True, slots=True)
class Quota:
    """What one owner may have others keep, bytes of payload and slots."""

    most_slots: int = 64
    most_bytes: int = 128 * 1024


RECORDS_QUOTA = IntroducerQuota(
    records=8000, bytes=4 * 1024 * 1024, all_records=40_000, all_bytes=16 * 1024 * 1024
)
"""Of all owners' records of one channel."""


class OwnedRecords:
    """A store (mesh.gossip.store) for a Replicator, with our own records in it."""

    def __init__(
        self,
        channel: str,
        identity: Identity,
        incarnation: int,
        identity_of: Callable[[PeerName], bytes | None],
        quota: Quota | None = None,
        introduced: IntroducerQuota | None = None,
    ) -> None:
        """`identity_of`: the key of a peer that takes part, None of any other; `incarnation`
        grows with each start of ours; `introduced`: what a neighbour may bring."""
        self.ourself = identity.name
        self._context = context_of(channel)
        self._identity = identity
        self._incarnation = incarnation
        self._version = 0
        self._identity_of = identity_of
        self._quota = quota or Quota()
        self._records: dict[PeerName, dict[int, OwnedRecord]] = {}
        self._keys: dict[bytes, RecordKey] = {}
        """Whose the bodies of all records are."""
        self._digests: Digests[OwnedRecord] = Digests()
        self._changed: set[PeerName] = set()
        self._missed: set[PeerName] = set()
        self._rival: RecordVersion | None = None
        self.introducers = Introducers(introduced or RECORDS_QUOTA)
        """Who has brought which of these."""
        self.refused = 0

    # --- ours ----------------------------------------------------------------------------

    def publish(self, slot: int, payload: bytes | None) -> OwnedRecord | None:
        """Our record of this slot from now on; returns it if that is news. ValueError for what
        others would refuse."""
        ours = self._records.get(self.ourself, {})
        payload = payload or b""
        known = ours.get(slot)
        if payload == (known.payload if known else b""):
            return None
        self._check_quota(self.ourself, slot, payload)
        return self._sign(slot, payload)

    def begin(self) -> OwnedRecord:
        """Our first record of this incarnation, which says nothing: what an earlier one published
        is void from now on."""
        return self._sign(0, b"")

    @property
    def is_outranked(self) -> bool:
        """Others hold records of ours that are newer than ours (see Ourself.rival_seen)."""
        return self._rival is not None

    def outrank(self) -> list[OwnedRecord]:
        """Our records again, newer than any that are about."""
        if self._rival is None:
            return []
        self._incarnation = min(max(self._rival.incarnation, self._incarnation) + 1, U63)
        self._rival = None
        ours = self._records.get(self.ourself, {})
        if not ours:  # we only carry the channel: an earlier life of ours did not
            return [self.begin()]
        return [self._sign(slot, record.payload) for slot, record in sorted(ours.items())]

    # --- views (mesh.service.Records) ------------------------------------------------------

    def owners(self) -> Collection[PeerName]:
        return self._records.keys()

    def payloads(self, owner: PeerName) -> Mapping[int, bytes]:
        records = self._records.get(owner, {})
        return {slot: record.payload for slot, record in records.items() if record.payload}

    def take_changed(self) -> set[PeerName]:
        """Owners whose records are new, newer or gone since last asked."""
        taken, self._changed = self._changed, set()
        return taken

    # --- others come and go ----------------------------------------------------------------

    def take_missed(self, known: Collection[PeerName]) -> bool:
        """Whether records of these were refused, or not asked for, while we did not know them."""
        if len(self._missed) >= MAX_MISSED:  # too many to note: anybody may be among them
            self._missed.clear()
            return bool(known)
        missed = self._missed.intersection(known)
        self._missed -= missed
        return bool(missed)

    def forget(self, owners: Iterable[PeerName]) -> None:
        for owner in owners:
            if owner != self.ourself and self._records.get(owner):
                self._drop(owner)
                self._changed.add(owner)

    # --- RecordStore -----------------------------------------------------------------------

    def merge_untrusted(
        self, body: bytes, signature: bytes, via: PeerName | None = None, now: float = 0.0
    ) -> OwnedRecord | None:
        """Cheap looks first: most records come several times."""
        if body in self._keys:
            return None
        try:
            record = decode_owned_untrusted(body, signature)
            owner = peer_name_of(record.identity)
            if not self._is_news(owner, record):
                return None
            self._check_quota(owner, record.slot, record.payload, record.order.incarnation)
            key, is_ours = record_key(owner, record.slot), owner == self.ourself
            if not is_ours and self._in_the_way(key, via, len(body)) is None:
                raise PeerError(TOO_MANY)
            verify_untrusted(record.identity, self._context, body, signature)
            if not is_ours:
                self._make_room(key, via, len(body))
        except PeerError:
            self.refused += 1
            raise
        if owner == self.ourself:
            if self._rival is None or record.order > self._rival:
                self._rival = record.order
            return None
        self._put(owner, record)
        self.introducers.keep(record_key(owner, record.slot), via, len(body))
        return record

    def signed(self, key: RecordKey) -> OwnedRecord | None:
        return self._records.get(owner_of(key), {}).get(slot_of(key))

    def key_of(self, record: OwnedRecord) -> RecordKey:
        return record_key(peer_name_of(record.identity), record.slot)

    def key_of_body(self, body: bytes) -> RecordKey | None:
        return self._keys.get(body)

    def lacks(self, held: Held, of: PeerName | None = None, now: float = 0.0) -> bool:
        owner = owner_of(held.key)
        if self._identity_of(owner) is None:
            self._miss(owner)
            return False
        if held.order.incarnation < self._latest(owner):
            return False
        ours = self.signed(held.key)
        if ours is None:
            return of is None or not self.introducers.is_full(of)
        return ours.mark != held.mark and ours.order <= held.order

    def held(self, buckets: Iterable[int] = ALL_BUCKETS) -> list[Held]:
        return self._digests.held(buckets)

    def digest(self) -> bytes:
        return self._digests.root

    def bucket_hashes(self) -> tuple[bytes, ...]:
        return self._digests.hashes

    # --- inside ----------------------------------------------------------------------------

    def _is_news(self, owner: PeerName, record: OwnedRecord) -> bool:
        identity = self._identity_of(owner)
        if identity is None:
            self._miss(owner)
            return False
        if identity != record.identity:
            raise PeerError("another key for a peer name that is taken")
        if record.order.incarnation < self._latest(owner):
            return False
        known = self._records.get(owner, {}).get(record.slot)
        # The same order twice is an owner's fault; all must still keep the same one.
        return known is None or (record.order, record.body) > (known.order, known.body)

    def _in_the_way(self, key: RecordKey, via: PeerName | None, size: int) -> RecordKey | None:
        """What has to go for a record of this size: another introducer's last one (`key` itself:
        nothing has to); None: it is to be refused."""
        account = self.introducers.must_give(key, via, size)
        if account is None:
            return key
        if account == self.introducers.payer(key, via):
            return None
        return next(self.introducers.latest(account, key), None)

    def _make_room(self, key: RecordKey, via: PeerName | None, size: int) -> None:
        while (victim := self._in_the_way(key, via, size)) != key:
            if victim is None:
                raise PeerError(TOO_MANY)
            owner, slot = owner_of(victim), slot_of(victim)
            self._remove(owner, slot, self._records[owner].pop(slot))
            self._changed.add(owner)

    def _check_quota(
        self, owner: PeerName, slot: int, payload: bytes, incarnation: int | None = None
    ) -> None:
        """PeerError for another's record that is too much; ValueError for one of ours."""
        records = self._records.get(owner, {})
        if incarnation is not None and incarnation > self._latest(owner):
            records = {}  # theirs go when it comes
        size = len(payload) + sum(len(r.payload) for s, r in records.items() if s != slot)
        slots = len(records.keys() | {slot})
        quota = self._quota
        if slots <= quota.most_slots and size <= quota.most_bytes and len(payload) <= MAX_PAYLOAD:
            return
        what = f"{slots} records with {size} bytes, of which {len(payload)} are this one's"
        if owner == self.ourself:
            raise ValueError(what)
        raise PeerError(f"more than a peer may have others keep: {what}")

    def _latest(self, owner: PeerName) -> int:
        """The incarnation to which the owner's records belong."""
        records = self._records.get(owner)
        if not records:
            return 0
        return next(iter(records.values())).order.incarnation

    def _put(self, owner: PeerName, record: OwnedRecord) -> None:
        if record.order.incarnation > self._latest(owner):
            self._drop(owner)
        records = self._records.setdefault(owner, {})
        key = record_key(owner, record.slot)
        old = records.get(record.slot)
        if old is not None:
            del self._keys[old.body]
        records[record.slot] = record
        self._keys[record.body] = key
        self._digests.put(key, record)
        self._changed.add(owner)

    def _drop(self, owner: PeerName) -> None:
        for slot, record in self._records.pop(owner, {}).items():
            self._remove(owner, slot, record)

    def _remove(self, owner: PeerName, slot: int, record: OwnedRecord) -> None:
        del self._keys[record.body]
        self._digests.remove(record_key(owner, slot))
        self.introducers.drop(record_key(owner, slot))

    def _sign(self, slot: int, payload: bytes) -> OwnedRecord:
        self._version += 1
        order = RecordVersion(self._incarnation, self._version)
        body = encode_body(self._identity.public, slot, order, payload)
        signature = self._identity.sign(self._context, body)
        record = OwnedRecord(body, signature, self._identity.public, slot, order, payload)
        self._put(self.ourself, record)
        return record

    def _miss(self, owner: PeerName) -> None:
        if len(self._missed) < MAX_MISSED:
            self._missed.add(owner)
