"""Which records of a service's channel are there? Signed by their owners, the newest of each slot.

A peer has a record for each of a fixed number of slots (`wire.owned_record`), and only it can
change them. Whether one is taken depends on itself and on whose life the topology tells of, and on
no other record: so merging is commutative, associative and idempotent.

Only peers that take part, as far as we know now, have records here, and only those that they signed
in their present life: the one that their topology record tells of by its UID. Others are refused,
to be asked for when that life becomes known (`take_missed`), and what was said in a life that is
over is dropped: also if its owner never speaks on the channel again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from weave_py.crypto.identity import Identity, peer_name_of, verify_untrusted
from weave_py.mesh.gossip.digests import ALL_BUCKETS, Digests
from weave_py.mesh.gossip.introducers import TOO_MANY, IntroducerQuota, Introducers
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.gossip import Held, RecordKey, RecordVersion, owner_of, record_key, slot_of
from weave_py.wire.owned_record import (
    MAX_PAYLOAD,
    SLOTS,
    OwnedRecord,
    context_of,
    decode_owned_untrusted,
    encode_body,
)

MAX_MISSED = 4096


RECORDS_QUOTA = IntroducerQuota(
    records=8000, bytes=4 * 1024 * 1024, all_records=40_000, all_bytes=16 * 1024 * 1024
)
"""Of all owners' records of one channel."""


class Life(Protocol):
    """Who a peer is, and since when (its topology record says so)."""

    @property
    def identity(self) -> bytes: ...
    @property
    def uid(self) -> PeerUID: ...


class OwnedRecords:
    """A store (mesh.gossip.store) for a Replicator, with our own records in it."""

    def __init__(
        self,
        channel: str,
        identity: Identity,
        uid: PeerUID,
        life_of: Callable[[PeerName], Life | None],
        introduced: IntroducerQuota | None = None,
    ) -> None:
        """`uid`: ours; `life_of`: what is known of a peer that takes part, None of any other;
        `introduced`: what a neighbour may bring."""
        self.ourself = identity.name
        self._context = context_of(channel)
        self._identity = identity
        self._uid = uid
        self._version = 0
        self._life_of = life_of
        self._records: dict[PeerName, dict[int, OwnedRecord]] = {}
        self._keys: dict[bytes, RecordKey] = {}
        """Whose the bodies of all records are."""
        self._digests: Digests[OwnedRecord] = Digests()
        self._changed: set[PeerName] = set()
        self._missed: dict[tuple[PeerName, int], PeerName | None] = {}
        """Owners and lives of records that were refused, or dropped, for now; and who has told of
        them."""
        self.introducers = Introducers(introduced or RECORDS_QUOTA)
        """Who has brought which of these."""
        self.refused = 0

    # --- ours ----------------------------------------------------------------------------

    def publish(self, slot: int, payload: bytes | None) -> OwnedRecord | None:
        """Our record of this slot from now on; returns it if that is news. ValueError for what
        others would refuse."""
        payload = payload or b""
        if not 0 <= slot < SLOTS or len(payload) > MAX_PAYLOAD:
            raise ValueError(
                f"{len(payload)} bytes in slot {slot}: a record has at most {MAX_PAYLOAD},"
                f" and slots are 0 to {SLOTS - 1}"
            )
        known = self._records.get(self.ourself, {}).get(slot)
        if payload == (known.payload if known else b""):
            return None
        self._version += 1
        order = RecordVersion(self._uid, self._version)
        body = encode_body(self._identity.public, slot, order, payload)
        signature = self._identity.sign(self._context, body)
        record = OwnedRecord(body, signature, self._identity.public, slot, order, payload)
        self._put(self.ourself, record)
        return record

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

    def born(self, peers: Iterable[PeerName]) -> None:
        """What these said in an earlier life than the one that we know now is gone."""
        for peer in peers:
            life = self._life_of(peer)
            if life is not None and self._life_held(peer) != life.uid:
                self.forget([peer])

    def take_missed(
        self, known: Collection[PeerName], neighbours: Collection[PeerName]
    ) -> set[PeerName]:
        """Which of our neighbours may have records of these that we refused, or did not ask for,
        while we did not know them, or not in the life that we know now."""
        if len(self._missed) >= MAX_MISSED:  # too many to note: anybody may be among them
            self._missed.clear()
            return set(neighbours) if known else set()
        lives = {(owner, life.uid) for owner in known if (life := self._life_of(owner)) is not None}
        told = {self._missed.pop(missed) for missed in self._missed.keys() & lives}
        return {name for name in neighbours if None in told or name in told}

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
            if not self._is_news(owner, record, via):
                return None
            key = record_key(owner, record.slot)
            if self._in_the_way(key, via, len(body)) is None:
                raise PeerError(TOO_MANY)
            verify_untrusted(record.identity, self._context, body, signature)
            self._make_room(key, via, len(body))
        except PeerError:
            self.refused += 1
            raise
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
        owner, slot = owner_of(held.key), slot_of(held.key)
        if owner == self.ourself or slot >= SLOTS:
            return False
        life = self._life_of(owner)
        if life is None or life.uid != held.order.incarnation:
            self._miss(owner, held.order.incarnation, of)
            return False
        ours = self.signed(held.key)
        if ours is None or ours.life != life.uid:
            return of is None or not self.introducers.is_full(of)
        return ours.mark != held.mark and ours.order <= held.order

    def held(self, buckets: Iterable[int] = ALL_BUCKETS) -> list[Held]:
        return self._digests.held(buckets)

    def digest(self) -> bytes:
        return self._digests.root

    def bucket_hashes(self) -> tuple[bytes, ...]:
        return self._digests.hashes

    # --- inside ----------------------------------------------------------------------------

    def _is_news(self, owner: PeerName, record: OwnedRecord, via: PeerName | None) -> bool:
        if owner == self.ourself:  # an earlier life's: our topology record says that it is over
            return False
        life = self._life_of(owner)
        if life is not None and life.identity != record.identity:
            raise PeerError("another key for a peer name that is taken")
        if life is None or life.uid != record.life:
            # A stranger's, of a life that is over, or of one that we have not heard of yet.
            self._miss(owner, record.life, via)
            return False
        known = self._records.get(owner, {}).get(record.slot)
        if known is None or known.life != record.life:
            return True
        # The same order twice is an owner's fault; all must still keep the same one.
        return (record.order, record.body) > (known.order, known.body)

    def _life_held(self, owner: PeerName) -> PeerUID | None:
        """In which life the owner signed the records of it that are here: all in one."""
        records = self._records.get(owner)
        return next(iter(records.values())).life if records else None

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

    def _put(self, owner: PeerName, record: OwnedRecord) -> None:
        if self._life_held(owner) != record.life:
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
        records = self._records.pop(owner, {})
        for slot, record in records.items():
            self._remove(owner, slot, record)
        for record in records.values():  # should it be back, in that life
            self._miss(owner, record.life, None)

    def _remove(self, owner: PeerName, slot: int, record: OwnedRecord) -> None:
        del self._keys[record.body]
        self._digests.remove(record_key(owner, slot))
        self.introducers.drop(record_key(owner, slot))

    def _miss(self, owner: PeerName, uid: int, told_by: PeerName | None) -> None:
        if len(self._missed) < MAX_MISSED:
            self._missed[owner, uid] = told_by
