"""How do a channel's records spread? Anti-entropy gossip: deltas at once, repair by digests.

Our own news goes to every neighbour. A record of somebody else that is news to us goes on to a few
neighbours (about EAGER of them, by a hash of the pair), coalesced: per neighbour at most one
pending record of each key, sent at most every `flush_every` seconds. The others are only told,
a little later, that we have it (key and version), unless they have told us first; whoever lacks
it then asks. So a record crosses few connections more than once (the idea is Plumtree's: Leitão,
Pereira and Rodrigues, 2007; here a hash draws the tree, with branches to spare).

What gets lost on the way (a connection that broke in between) is repaired by digests: on
connecting and from time to time a neighbour hears a hash over all we hold; only if it differs, the
two narrow it down to buckets, to versions, and to the records that one of them lacks, which it asks
for: nobody is sent what it would not keep.

What a neighbour is owed is kept as names (`mesh.gossip.pending`), and becomes bytes a message at a
time, as its connection takes them: a slow one has less waiting in it, not more. And what a
neighbour brings is paid for by it before it is looked at: see `mesh.gossip.introducers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2s
from itertools import islice
from types import MappingProxyType
from typing import Generic

from weave_py.mesh.gossip.pending import Kind, OutboundQueue, PendingRequests
from weave_py.mesh.gossip.store import Graph, R, RecordStore
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.model.token_bucket import TokenBuckets
from weave_py.wire.gossip import (
    MAX_GOSSIP_BYTES,
    Buckets,
    Digest,
    GossipMessage,
    Held,
    RecordKey,
    Records,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
    owner_of,
)

MAX_SUMMARY = 1000  # entries of 40 bytes: well below the size of a message
MOST_TOGETHER = 700  # records in a message: more do not fit
MANY = 200  # peers; with more than that deltas may be proportionally fewer, and are if each carries
MUCH = 5  # records, or the more in proportion
TOGETHER = 0.5  # of the pause between two deltas: whose turn comes so soon has it at once
# What a neighbour's records may cost: each that we do not hold, and each KiB of it, some 0.1 ms.
WORK = 10_000
WORK_PER_SECOND = 500.0
MOST_NEIGHBOURS = 1024
EAGER = 4  # neighbours, about, that get others' records themselves: a connected random graph


@dataclass(frozen=True, slots=True)
class GossipSettings:
    flush_every: float = 0.05
    """Seconds between two deltas to the same neighbour."""
    hint_after: float = 0.2
    """Seconds until a neighbour that is not sent a record hears that we have it: by then it has
    mostly got it from elsewhere, and said so."""
    digest_every: float = 10.0
    """Seconds between digests; each goes to one neighbour, in turn."""


class Replicator(Generic[R]):
    """The gossip of one channel's records with all neighbours that hear it."""

    def __init__(
        self,
        channel: str,
        ourself: PeerName,
        store: RecordStore[R],
        graph: Graph,
        now: float,
        settings: GossipSettings | None = None,
    ) -> None:
        self.channel = channel
        self._ourself = ourself
        self._store = store
        self._graph = graph
        self._settings = settings or GossipSettings()
        self._neighbours: dict[PeerName, OutboundQueue[R]] = {}
        self._timers: TimerQueue[tuple[PeerName, Kind]] = TimerQueue()
        """When each neighbour is to be told what."""
        self._work: TokenBuckets[PeerName] = TokenBuckets(WORK, WORK_PER_SECOND, MOST_NEIGHBOURS)
        """What each neighbour may still have us look at."""
        self._requests = PendingRequests()
        self._out: list[tuple[PeerName, bytes]] = []
        self._digest_at = now + self._settings.digest_every
        self._turn = 0
        self._pause = self._settings.flush_every
        """Seconds between two deltas to a neighbour."""
        self.errors: list[str] = []
        """What was wrong with records we refused, since last taken (for the log)."""
        self.looked_at = 0
        """Records that were not known, and not refused at once."""
        self.put_off = 0
        """Records that were too much at a time for their neighbour: digests will bring them."""

    @property
    def peers(self) -> int:
        """How many hear our news in the end."""
        return len(self._graph)

    # --- in ------------------------------------------------------------------------------

    def neighbour_joined(self, name: PeerName, now: float) -> None:
        low, high = sorted((self._ourself, name))
        draw = int.from_bytes(blake2s(low + high, digest_size=4).digest(), "big")
        self._neighbours[name] = OutboundQueue(draw, last_flush=now)
        self._store.introducers.joined(name)
        if name == high:
            # One of the two begins: each asks the other for what it lacks in any case.
            self._say(name, Digest(self._store.digest()))

    def neighbour_left(self, name: PeerName) -> None:
        if self._neighbours.pop(name, None) is not None:
            self._store.introducers.left(name)
        self._requests.lost(name)
        for kind in Kind:
            self._timers.set((name, kind), None)

    def stream_writable(self, name: PeerName, is_writable: bool, now: float) -> None:
        """The connection with a neighbour takes no more for now, or takes more again."""
        neighbour = self._neighbours.get(name)
        if neighbour is None:
            return
        neighbour.is_blocked = not is_writable
        for kind in neighbour.due:
            self._timers.set((name, kind), None)
        neighbour.due.clear()
        self._schedule(name, neighbour, now)

    def compare(self, with_whom: Iterable[PeerName]) -> None:
        """Find out, and repair, what these neighbours hold otherwise than we do."""
        for name in with_whom:
            if name in self._neighbours:
                self._say(name, Digest(self._store.digest()))

    def spread(self, records: Iterable[R], now: float, source: PeerName | None) -> None:
        """Tell every neighbour but `source` about these records, soon."""
        fresh = {self._store.key_of(record): record for record in records}
        if not fresh:
            return
        owners = {owner_of(key) for key in fresh}
        heard_by = {owner: self._hear_it_from_owner(owner) for owner in owners}
        for name, neighbour in self._neighbours.items():
            if name == source:
                continue
            is_eager = source is None or self._is_eager(name, neighbour)
            for key, record in fresh.items():
                if name not in heard_by[owner_of(key)]:
                    neighbour.add(key, record, is_eager)
            self._schedule(name, neighbour, now)

    def receive_untrusted(self, source: PeerName, body: bytes, now: float) -> list[R]:
        """A gossip message came from a neighbour; returns the records that were news to us.

        A bad record is dropped alone, a malformed message as a whole; neither ends anything.
        """
        try:
            message = decode_gossip_untrusted(body)
        except PeerError as error:
            self.errors.append(str(error))
            return []
        match message:
            case Records(pairs):
                return self._merge(source, pairs, now)
            case Digest(root):
                if root != self._store.digest():
                    self._say(source, Buckets(self._store.bucket_hashes()))
            case Buckets(hashes):
                ours = self._store.bucket_hashes()
                differ = {i: None for i, h in enumerate(hashes) if h != ours[i]}
                self._owe(source, now, buckets=differ)
            case Summary():
                self._answer_summary(source, message, now)
        return []

    def advance(self, now: float) -> None:
        due = self._timers.take_due(now)
        if due:
            self._tell(due, now)
        if now >= self._digest_at:
            self._digest_at = now + self._settings.digest_every
            if self._neighbours:
                self._turn = (self._turn + 1) % len(self._neighbours)
                chosen = sorted(self._neighbours)[self._turn]
                self._say(chosen, Digest(self._store.digest()))

    def flush(self, now: float) -> None:
        """We are about to leave: what is still to be told is told now."""
        while due := [key for key, _ in self._timers.pending()]:
            self._tell(due, now)

    # --- out -----------------------------------------------------------------------------

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        """(Neighbour, body of a message of our channel) to be sent now."""
        taken, self._out = self._out, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return earliest([self._timers.first(), Deadline(self._digest_at, f"{self.channel} digest")])

    # --- inside --------------------------------------------------------------------------

    def _tell(self, due: Collection[tuple[PeerName, Kind]], now: float) -> None:
        """Records and hints to those whose turn it is, and to those whose turn would be soon: from
        then on all have theirs together, and the router is woken once for all."""
        kinds = {kind for _, kind in due}
        soon = {
            Kind.RECORDS: now + TOGETHER * self._pause,
            Kind.HINTS: now + TOGETHER * self._settings.hint_after / 2,
            Kind.ANSWERS: now,
        }
        early = [k for k, at in self._timers.pending() if k[1] in kinds and at <= soon[k[1]]]
        most = 0
        for key in (*due, *early):
            name, kind = key
            self._timers.set(key, None)
            neighbour = self._neighbours[name]
            neighbour.due.discard(kind)
            if kind is Kind.RECORDS:
                neighbour.last_flush = now
                most = max(most, len(neighbour.pending))
                self._say_records(name, neighbour.pending)
                if neighbour.pending:  # the rest goes on at once, but after whatever else is due
                    self._set(name, neighbour, kind, now)
            elif kind is Kind.HINTS:
                neighbour.last_hint = now
                self._hint(name, neighbour.hints)
                if neighbour.hints:
                    self._set(name, neighbour, kind, now)
            else:
                self._answer(name, neighbour)
            self._schedule(name, neighbour, now)
        if most:
            self._pause = self._pause_after(most)

    def _pause_after(self, most: int) -> float:
        """Deltas of that many records have just been sent. Where there is much news more of it
        comes soon, and it is many peers' work: fewer, larger messages then. A little goes on at
        once, however many there are to hear it."""
        slowest = max(1.0, self.peers / MANY)
        return self._settings.flush_every * min(max(1.0, most / MUCH), slowest)

    def _schedule(self, name: PeerName, neighbour: OutboundQueue[R], now: float) -> None:
        if neighbour.is_blocked:
            return
        if neighbour.pending and Kind.RECORDS not in neighbour.due:
            at = max(now, neighbour.last_flush + self._pause)
            self._set(name, neighbour, Kind.RECORDS, at)
        if neighbour.hints and Kind.HINTS not in neighbour.due:
            # (Not before what may come with the next delta of somebody else has come.)
            at = max(now + self._settings.hint_after, neighbour.last_hint + 2 * self._pause)
            self._set(name, neighbour, Kind.HINTS, at)
        if not neighbour.is_answered and Kind.ANSWERS not in neighbour.due:
            self._set(name, neighbour, Kind.ANSWERS, now)

    def _set(self, name: PeerName, neighbour: OutboundQueue[R], kind: Kind, at: float) -> None:
        neighbour.due.add(kind)
        self._timers.set((name, kind), Deadline(at, kind.value.format(self.channel)))

    def _is_eager(self, name: PeerName, neighbour: OutboundQueue[R]) -> bool:
        """Whether records of others are sent to this neighbour unasked: both ends find the same,
        as far as they know how many neighbours the other has."""
        if neighbour.draw * len(self._neighbours) >= EAGER << 32:
            return False
        degree = self._graph.degree(name)
        return degree is None or neighbour.draw * degree < EAGER << 32

    def _hear_it_from_owner(self, owner: PeerName) -> Collection[PeerName]:
        """Whom this peer tells its news itself, among our neighbours: those it is connected with,
        as both ends claim.

        In a full mesh this saves all messages but the owner's own. Should such a connection just
        be breaking, the owner soon says so in a newer record, which no longer counts here.
        """
        if owner == self._ourself:
            return ()
        return self._graph.connected(owner, self._neighbours.keys())

    def _merge(self, source: PeerName, pairs: Iterable[tuple[bytes, bytes]], now: float) -> list[R]:
        news = []
        neighbour: OutboundQueue[R] = self._neighbours.get(source) or OutboundQueue()
        work = self._work.of(source)
        for body, signature in pairs:
            key = self._store.key_of_body(body)
            if key is None:
                if not work.take(now, 1 + len(body) / 1024):
                    self.put_off += 1
                    continue
                self.looked_at += 1
                try:
                    fresh = self._store.merge_untrusted(body, signature, source, now)
                except PeerError as error:
                    self.errors.append(str(error))
                    continue
                if fresh is not None:
                    news.append(fresh)
                key = self._store.key_of_body(body)
                if key is None:
                    continue
            self._requests.came(key)
            held = self._store.signed(key)
            if held is not None:
                neighbour.knows(key, held.mark, held.order)
        self.spread(news, now, source)
        return news

    def _answer_summary(self, source: PeerName, summary: Summary, now: float) -> None:
        """What they hold more or newer we ask for; what they lack in the buckets of which they have
        told us all we mention; and what they ask for they get."""
        theirs = {held.key: held for held in summary.held}
        # Of two records of the same order (an owner's fault) both sides mention theirs: see
        # RecordStore.merge_untrusted for which one stays.
        newer = {
            ours.key: None
            for ours in (self._store.held(summary.buckets) if summary.buckets else ())
            if (other := theirs.get(ours.key)) is None
            or (other != ours and other.order <= ours.order)
        }
        wanted = tuple(
            held.key
            for held in theirs.values()
            if self._store.lacks(held, source, now) and self._requests.ask(held, source, now)
        )
        if wanted:
            self._say(source, Summary(b"", (), wanted))
        neighbour = self._neighbours.get(source)
        if neighbour is not None:
            for held in summary.held:
                neighbour.knows(held.key, held.mark, held.order)
        ours_wanted = {key: None for key in summary.wanted if self._store.signed(key) is not None}
        self._owe(source, now, mentions=newer, wanted=ours_wanted)

    def _owe(
        self,
        to: PeerName,
        now: float,
        *,
        buckets: Mapping[int, None] = MappingProxyType({}),
        mentions: Mapping[RecordKey, None] = MappingProxyType({}),
        wanted: Mapping[RecordKey, None] = MappingProxyType({}),
    ) -> None:
        """A neighbour is to be told this. The first message at once, if none has gone since the
        router was woken last: who asks a thousand times in one breath is not answered as often."""
        neighbour = self._neighbours.get(to)
        if neighbour is None or not (buckets or mentions or wanted):
            return
        neighbour.buckets.update(buckets)
        neighbour.mentions.update(mentions)
        neighbour.wanted.update(wanted)
        if not neighbour.is_blocked and Kind.ANSWERS not in neighbour.due:
            self._answer(to, neighbour)
            self._set(to, neighbour, Kind.ANSWERS, now)

    def _answer(self, to: PeerName, neighbour: OutboundQueue[R]) -> None:
        """One message of what it is owed."""
        if neighbour.buckets:
            self._summarise(to, neighbour.buckets)
        elif neighbour.mentions:
            keys = list(islice(neighbour.mentions, MAX_SUMMARY))
            found = [(key, self._store.signed(key)) for key in keys]
            self._say_held(to, [Held(k, r.order, r.mark) for k, r in found if r is not None])
            for key in keys:
                del neighbour.mentions[key]
        elif neighbour.wanted:
            keys = list(islice(neighbour.wanted, MOST_TOGETHER))
            records = {key: r for key in keys if (r := self._store.signed(key)) is not None}
            self._say_records(to, records)
            for key in keys:
                if key not in records:
                    del neighbour.wanted[key]

    def _summarise(self, to: PeerName, buckets: dict[int, None]) -> None:
        """Say what we hold in these buckets, as far as one message holds it."""
        part: list[int] = []
        holdings: list[Held] = []
        for bucket in list(buckets):
            found = self._store.held((bucket,))
            if part and len(holdings) + len(found) > MAX_SUMMARY:
                break
            part.append(bucket)
            # Keys can be searched for until all lie in one bucket. What is left out of an
            # overfull one the other side takes for missing and mentions: wasteful, but right.
            holdings += found[:MAX_SUMMARY]
            del buckets[bucket]
        self._say(to, Summary(bytes(part), tuple(holdings)))

    def _hint(self, to: PeerName, hints: dict[RecordKey, R]) -> None:
        some = {key: hints.pop(key) for key in list(islice(hints, MAX_SUMMARY))}
        self._say_held(to, [Held(key, record.order, record.mark) for key, record in some.items()])

    def _say_held(self, to: PeerName, held: Collection[Held]) -> None:
        if held:
            self._say(to, Summary(b"", tuple(held)))

    def _say_records(self, to: PeerName, records: dict[RecordKey, R]) -> None:
        """As many of these as one message holds; they are taken out."""
        part: list[tuple[bytes, bytes]] = []
        size = 0
        for key in list(records):
            record = records[key]
            size += len(record.body) + 80
            if part and (size > MAX_GOSSIP_BYTES or len(part) == MOST_TOGETHER):
                break
            part.append((record.body, record.signature))
            del records[key]
        if part:
            self._say(to, Records(tuple(part)))

    def _say(self, to: PeerName, message: GossipMessage) -> None:
        self._out.append((to, encode_gossip(message)))
