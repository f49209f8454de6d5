"""Who is out there? The link-state database: all peers' records, merged, and forgotten in time.

Only a peer itself writes its record; of two records of a peer the one with the higher
(incarnation, version) wins. So merging is commutative, associative and idempotent, and any way of
spreading records converges.

Of two keys with one name none has it (`disputes`): such a name is neither live nor expired.

Forgetting is the delicate part: a peer that has been unreachable for a while is taken out, but
its record must not come back from a neighbour that forgets a moment later. So it becomes one of the
*expired* ones: no longer told to anybody, but remembered; the same record coming in again changes
nothing, a newer one (only its owner can make it) brings the peer back, and so does the discovery
that it is reachable again (a partition that healed while nothing changed on its other side).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from weave_py.crypto.identity import peer_name_of
from weave_py.mesh.authorizer import Authorizer, Claimant, WhoeverGotIn
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.components import components
from weave_py.mesh.disputes import dispute_between, keys_of
from weave_py.mesh.gossip.digests import ALL_BUCKETS, Digests
from weave_py.mesh.gossip.introducers import TOO_MANY, IntroducerQuota, Introducers
from weave_py.mesh.ourself import Ourself
from weave_py.mesh.record_room import RecordRoom
from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.mesh.spf import ShortestPathTree
from weave_py.model.deadlines import Deadline
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.token_bucket import TokenBuckets
from weave_py.wire.gossip import Held, RecordKey, owner_of, record_key, slot_of
from weave_py.wire.topology import (
    Glance,
    Keys,
    PeerRecord,
    SignedRecord,
    glance_at_record_untrusted,
)


@dataclass(frozen=True, slots=True)
class TopologySettings:
    forget_after: float = 60.0
    """Seconds a peer may be unreachable before it goes to the expired ones."""
    max_expired: int = 10_000
    quota: IntroducerQuota = field(default_factory=IntroducerQuota)
    """Of records, live and expired, that a neighbour may bring."""
    burst: float = 60.0
    """News of one peer that is taken at once; and one a second for ever, which is what the
    busiest honest peer says (router.announcements)."""
    per_second: float = 1.0


class Topology:
    """All records. `merge_untrusted` what comes in, `refresh` after changes, then read `routes`."""

    def __init__(
        self,
        ourself: Ourself,
        settings: TopologySettings | None = None,
        verifier: RecordVerifier | None = None,
        authorizer: Authorizer | None = None,
        doubts: Callable[[PeerName, PeerUID], bool] = lambda name, uid: False,
    ) -> None:
        """`doubts`: whether a peer under that UID may be another router than the one we know."""
        self.ourself = ourself
        self._doubts = doubts
        self._authorizer = authorizer or WhoeverGotIn()
        self._verifier = verifier or RecordVerifier()
        self.routes = RouteTable()
        self.quarantined = 0
        """Records refused as malformed, forged or over quota."""
        self._settings = settings or TopologySettings()
        self._live: dict[PeerName, SignedRecord] = {}
        self._expired: dict[PeerName, SignedRecord] = {}
        self._disputed: dict[PeerName, SignedRecord] = {}
        """Of names that nobody has, as two keys have them."""
        self._news_of_disputes: list[tuple[PeerName, Keys, Keys]] = []
        self.is_disputed = False
        """Whether our own is such a name."""
        self._unreachable_since: dict[PeerName, float] = {}
        self._room = RecordRoom(self._settings.quota, self.way_to, self._drop)
        self._news_of: TokenBuckets[PeerName] = TokenBuckets(
            self._settings.burst, self._settings.per_second, self._settings.quota.all_records
        )
        """Authentic records that each peer may still have us take."""
        self._digests: Digests[SignedRecord] = Digests()
        self._owners: dict[bytes, PeerName] = {}
        """Whose the bodies of all live and expired records are."""
        self._changed: set[PeerName] = set()
        self._forgotten: set[PeerName] = set()
        self._born: set[PeerName] = set()
        self._dismissed: set[PeerName] = set()
        self._told_hops: Mapping[PeerName, int] = {ourself.name: 0}
        """Whom we reached when `take_reachability` was last called."""
        self._tree = ShortestPathTree(ourself.name, direct_only=False)
        self._direct_tree = ShortestPathTree(ourself.name, direct_only=True)
        self._records = {ourself.name: ourself.record}
        """All that ways may lead over: live, expired, and ours."""
        self._news = {ourself.name}
        """Whose of these have changed since routes were last computed."""

    # --- records -------------------------------------------------------------------------

    @property
    def introducers(self) -> Introducers:
        """Who has brought which record."""
        return self._room.introducers

    def record(self, name: PeerName) -> PeerRecord | None:
        """What `name` says about itself, if it is live."""
        if name == self.ourself.name:
            return self.ourself.record
        signed = self._live.get(name)
        return signed.record if signed else None

    def is_nobodys(self, name: PeerName) -> bool:
        """Whether two keys have this name."""
        return name in self._disputed

    def signed(self, key: RecordKey) -> SignedRecord | None:
        """(RecordStore; a peer has one record, in slot 0.)"""
        return None if slot_of(key) else self._signed(owner_of(key))

    def key_of(self, record: SignedRecord) -> RecordKey:
        return record_key(peer_name_of(record.record.identity))

    def key_of_body(self, body: bytes) -> RecordKey | None:
        owner = self._owners.get(body)
        return None if owner is None else record_key(owner)

    def _signed(self, name: PeerName) -> SignedRecord | None:
        if name == self.ourself.name:
            return self.ourself.signed
        return self._live.get(name) or self._disputed.get(name)

    def take_changed(self) -> set[PeerName]:
        """Peers whose record, or one that claims them, has come since last asked, and who became
        reachable."""
        taken, self._changed = self._changed, set()
        return taken

    def take_disputes(self) -> list[tuple[PeerName, Keys, Keys]]:
        """Names that have got a second key since last asked, perhaps ours; and both keys."""
        taken, self._news_of_disputes = self._news_of_disputes, []
        return taken

    def take_reachability(self) -> PeersChanged:
        """What has become of peers since last asked."""
        hops = self.routes.hops
        if hops is self._told_hops and not self._forgotten and not self._born:
            return PeersChanged()  # (nearly always the table is the same)
        before, reachable, self._told_hops = self._told_hops.keys(), hops.keys(), hops
        forgotten, self._forgotten = self._forgotten, set()
        born, self._born = self._born, set()
        forgotten -= self._live.keys()  # (they have come back)
        return PeersChanged(reachable - before, before - reachable, forgotten, born)

    def peers(self) -> Iterator[PeerName]:
        """All live peers but ourself, in the order of their names."""
        return iter(sorted(self._live))

    @property
    def names(self) -> KeysView[PeerName]:
        """All live peers but ourself."""
        return self._live.keys()

    def dismiss(self, name: PeerName) -> bool:
        """Forget this peer now, and nobody need look for it; False if it is reached, or unknown.
        It comes back by a newer record of its own, or by being reached again."""
        if name in self.routes.hops or not (name in self._live or name in self._expired):
            return False
        if name in self._live:
            self._unreachable_since.setdefault(name, 0.0)
            self._forget(name)
        self._dismissed.add(name)
        return True

    def forgotten(self, most: int) -> list[PeerName]:
        """The peers that went to the expired ones last, at most so many, the last one first;
        without those that were dismissed."""
        return list(islice((n for n in reversed(self._expired) if n not in self._dismissed), most))

    def known(self) -> list[PeerName]:
        """All peers but ourself, also those that were forgotten."""
        return [*self._live, *self._expired]

    def remembered(self, name: PeerName) -> PeerRecord | None:
        """What `name` said about itself last, though it may be expired."""
        return self._records.get(name)

    def __len__(self) -> int:
        return len(self._live)

    def merge_untrusted(
        self, body: bytes, signature: bytes, via: PeerName | None = None, now: float = 0.0
    ) -> SignedRecord | None:
        """Take a record in, which `via` has brought: returns it if it is news, None if not.
        PeerError if it is bad, or more than that neighbour, or its owner, may have us keep and do.

        Having it, being newer, and who pays are looked at before it is decoded, and its signature
        last: most records come several times.
        """
        if body in self._owners:
            return None
        try:
            signed = self._read_untrusted(body, signature, via, now)
        except PeerError:
            self.quarantined += 1
            raise
        if signed is None:
            return None
        name = peer_name_of(signed.record.identity)
        if signed.record.rival is not None:
            return self._dispute(name, signed, signed.record.rival, via)
        if self._doubts(name, signed.record.uid):
            return None
        if name == self.ourself.name:
            self.ourself.rival_seen(signed.record.order)
            return None  # the answer to it is our next announcement
        known = self.record(name)
        for old in (self._live.get(name), self._expired.pop(name, None)):
            if old is not None:
                self._owners.pop(old.body, None)
                self._changed.update(old.record.claims)
        if known is None or known.uid != signed.record.uid:
            self._born.add(name)
        self._owners[signed.body] = name
        self._changed.update((name, *signed.record.claims))
        self._live[name] = signed
        self._dismissed.discard(name)
        self._records[name] = signed.record
        self._news.add(name)
        self._digests.put(record_key(name), signed)
        self._unreachable_since.pop(name, None)
        self.introducers.keep(record_key(name), via, len(body))
        return signed

    def _dispute(
        self, name: PeerName, signed: SignedRecord, rival: Keys, via: PeerName | None
    ) -> SignedRecord | None:
        """From now on nobody has this name."""
        if name not in self._disputed:
            self._news_of_disputes.append((name, keys_of(signed.record), rival))
        if name == self.ourself.name:
            self.is_disputed = True
            return None  # (all others will say so, and we would only tell those who listen to us)
        if name in self._live or name in self._expired or name in self._disputed:
            self._drop(name)
        self._disputed[name] = signed
        self._owners[signed.body] = name
        self._changed.add(name)
        self._digests.put(record_key(name), signed)
        self.introducers.keep(record_key(name), via, len(signed.body))
        self.introducers.spare(record_key(name))
        return signed

    def _read_untrusted(
        self, body: bytes, signature: bytes, via: PeerName | None, now: float
    ) -> SignedRecord | None:
        glance = glance_at_record_untrusted(body)
        name = peer_name_of(glance.identity)
        if not self._is_news(name, glance, body):
            return None
        if via is not None and not self._news_of.of(name).has(now):
            raise PeerError("a peer says more than one thing a second")
        if self._room.has_turned_away(name, glance.order, via, now):
            raise PeerError(TOO_MANY)
        signed = self._verifier.decode_untrusted(body, signature)
        self._verifier.authenticate_untrusted(signed, self.record(name))
        known = self._signed(name) or self._expired.get(name)
        is_dispute = signed.record.rival is not None
        if known and not is_dispute and known.record.identity != signed.record.identity:
            signed = dispute_between(known.record, signed.record)
        why_not = self._authorizer.refusal(Claimant(name, signed.record.identity))
        if why_not and signed.record.rival is None:
            raise PeerError(why_not)
        if name != self.ourself.name:
            self._room.make(signed, via, self._leads_to(name, signed.record), now)
        self._news_of.of(name).take(now)  # (Only its own signature spends what is a peer's.)
        return signed

    def lacks(self, held: Held, of: PeerName | None = None, now: float = 0.0) -> bool:
        """Whether we would take this record from that neighbour. (What is expired we would not.)"""
        if slot_of(held.key):
            return False
        name = owner_of(held.key)
        ours = self._signed(name) or self._expired.get(name)
        if name == self.ourself.name and self.is_disputed:
            return False
        if ours is None:
            return not self._room.has_turned_away(name, held.order, of, now)
        return ours.mark != held.mark and ours.record.order <= held.order

    def _leads_to(self, name: PeerName, record: PeerRecord) -> Iterator[PeerName]:
        """Peers we reach that have a connection with it, as both say."""
        for other in record.claims:
            theirs = self._records.get(other) if other in self.routes.hops else None
            if theirs is not None and name in theirs.claims:
                yield other

    def _drop(self, name: PeerName) -> None:
        """As if we had never heard of it."""
        self.introducers.drop(record_key(name))
        self._dismissed.discard(name)
        self._unreachable_since.pop(name, None)
        signed = self._expired.pop(name, None)
        if signed is None:
            signed = self._live.pop(name, None) or self._disputed.pop(name)
            self._digests.remove(record_key(name))
            self._forgotten.add(name)
        self._owners.pop(signed.body, None)
        self._changed.update(signed.record.claims)
        self._records.pop(name, None)
        self._news.add(name)

    def _is_news(self, name: PeerName, glance: Glance, body: bytes) -> bool:
        known = self._signed(name) or self._expired.get(name)
        if known is None:
            return True
        if name == self.ourself.name and (
            glance.is_dispute or known.record.identity != glance.identity
        ):
            return not self.is_disputed
        if known.record.rival is not None:
            return glance.is_dispute and body > known.body
        if glance.is_dispute or known.record.identity != glance.identity:
            return True
        if name == self.ourself.name:
            # An earlier life's may have come just as far as ours: see Ourself.rival_seen.
            return glance.order >= known.record.order and body != known.body
        # The same order twice is an owner's fault; all must still keep the same one.
        return (glance.order, body) > (known.record.order, known.body)

    # --- who is connected with whom (Graph) ------------------------------------------------

    def degree(self, peer: PeerName) -> int | None:
        record = self.record(peer)
        return None if record is None else len(record.neighbours)

    def connected(self, peer: PeerName, among: Collection[PeerName]) -> Collection[PeerName]:
        record = self.record(peer)
        if record is None:
            return ()
        return [
            name
            for name in record.claims.keys() & among
            if (other := self.record(name)) is not None and peer in other.claims
        ]

    # --- reachability --------------------------------------------------------------------

    def refresh(self, now: float) -> None:
        """Recompute `routes` from the records; forget and revive peers accordingly."""
        before = self.routes.hops
        self._compute_routes()
        reachable = self.routes.hops
        self._changed.update(reachable.keys() - before.keys())
        for name in [n for n in self._expired if n in reachable]:
            self._live[name] = self._expired.pop(name)
            self._dismissed.discard(name)
            self._digests.put(record_key(name), self._live[name])
            self.introducers.needed(record_key(name))
        for name in [n for n in self._unreachable_since if n in reachable]:
            del self._unreachable_since[name]
            self.introducers.needed(record_key(name))
        if len(reachable) > len(self._live):  # ourself is not among the live: nobody is missing
            return
        for name in [n for n in self._live if n not in reachable]:
            if name not in self._unreachable_since:
                self._unreachable_since[name] = now
                self.introducers.spare(record_key(name))
            if now >= self._unreachable_since[name] + self._settings.forget_after:
                self._forget(name)

    def reachable_without(
        self, names: Collection[PeerName], connected: Collection[PeerName]
    ) -> set[PeerName]:
        """Those of these peers that could be reached if we had connections with none of them.
        `connected`: those we have one with now."""
        components = self.components(names)
        kept = {components[name] for name in self.sure_neighbours(connected) if name not in names}
        return {name for name in names if components.get(name) in kept}

    def components(self, names: Collection[PeerName] = ()) -> dict[PeerName, int]:
        """For each neighbour, and each of these peers, whose record we have, a number: those with
        the same one would still reach each other without us."""
        ours = self.ourself
        return components(self._records, ours.name, ours.record.claims.keys() | names)

    def way_to(self, name: PeerName) -> tuple[PeerName, ...]:
        """Whom the shortest way there leads over, from our neighbour to the peer itself; empty if
        there was none when routes were last computed."""
        return self._tree.way_to(name)

    def sure_neighbours(self, connected: Collection[PeerName]) -> list[PeerName]:
        """Those we are connected with now, and both our record and theirs tell of it. (Records
        still tell of connections that have just ended.)"""
        ours, records = self.ourself, self._records
        return [
            name
            for name in ours.record.claims
            if name in connected and name in records and ours.name in records[name].claims
        ]

    def next_deadline(self) -> Deadline | None:
        """When `refresh` is to be called though nothing came in."""
        if not self._unreachable_since:
            return None
        first = min(self._unreachable_since.values())
        return Deadline(first + self._settings.forget_after, "forget an unreachable peer")

    def _compute_routes(self) -> None:
        ours = self.ourself.record
        if self._records[self.ourself.name] is not ours:
            self._records[self.ourself.name] = ours
            self._news.add(self.ourself.name)
        news, self._news = self._news, set()
        self._room.routes_changed()
        old, tree, direct = self.routes, self._tree, self._direct_tree
        unicast, relay, hops = old.unicast, old.relay, old.hops
        if tree.update(self._records, news) or not hops:
            unicast = MappingProxyType(dict(tree.next_hops))
            hops = MappingProxyType(dict(tree.hops))
        if direct.update(self._records, news):
            relay = MappingProxyType(dict(direct.next_hops))
        self.routes = RouteTable(old.version + 1, unicast, relay, hops)

    def _forget(self, name: PeerName) -> None:
        del self._unreachable_since[name]
        self._forgotten.add(name)
        self._expired[name] = self._live.pop(name)
        self._digests.remove(record_key(name))
        while len(self._expired) > self._settings.max_expired:
            self._drop(next(iter(self._expired)))

    # --- what we hold, in short ----------------------------------------------------------

    def held(self, buckets: Iterable[int] = ALL_BUCKETS) -> list[Held]:
        """Keys and versions of all records, or of those in some buckets, sorted."""
        return self._up_to_date().held(buckets)

    def digest(self) -> bytes:
        """A hash over all we hold."""
        return self._up_to_date().root

    def bucket_hashes(self) -> tuple[bytes, ...]:
        """A hash per bucket of keys."""
        return self._up_to_date().hashes

    def _up_to_date(self) -> Digests[SignedRecord]:
        self._digests.put(record_key(self.ourself.name), self.ourself.signed)
        return self._digests
