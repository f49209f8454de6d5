"""How do a channel's records spread? Anti-entropy gossip: deltas at once, repair by digests.

Our own news goes to every neighbour. A record of somebody else that is news to us goes on to a few
neighbours (about EAGER of them, by a hash of the pair), coalesced: per neighbour at most one
pending record of each key, sent at most every `flush_every` seconds. The others are only told,
a little later, that we have it (key and version), unless they have told us first; whoever lacks
it then asks. So a record crosses few connections more than once (the idea is Plumtree's: Leitão,
Pereira and Rodrigues, 2007; here a hash draws the tree, with branches to spare).

What gets lost on the way (a connection that broke in between) is repaired by digests: on
connecting and from time to time a neighbour hears a hash over all we hold; only if it differs, the
two narrow it down to buckets, to versions, and to the records that one of them lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2s
from typing import Generic

from weave_py.mesh.gossip.digests import bucket_of
from weave_py.mesh.gossip.pending import OutboundQueue, PendingRequests
from weave_py.mesh.gossip.store import Graph, R, RecordStore
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
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

MAX_SUMMARY = 1500  # entries of 28 bytes: well below the size of a message
MANY = 200  # peers; with more than that deltas may be proportionally fewer, and are if each carries
MUCH = 5  # records, or the more in proportion
TOGETHER = 0.5  # of the pause between two deltas: whose turn comes so soon has it at once
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
        self._timers: TimerQueue[tuple[PeerName, bool]] = TimerQueue()
        """When each neighbour is to be sent records (True) or hints."""
        self._requests = PendingRequests()
        self._out: list[tuple[PeerName, bytes]] = []
        self._digest_at = now + self._settings.digest_every
        self._turn = 0
        self._pause = self._settings.flush_every
        """Seconds between two deltas to a neighbour."""
        self.errors: list[str] = []
        """What was wrong with records we refused, since last taken (for the log)."""

    @property
    def peers(self) -> int:
        """How many hear our news in the end."""
        return len(self._graph)

    # --- in ------------------------------------------------------------------------------

    def neighbour_joined(self, name: PeerName, now: float) -> None:
        low, high = sorted((self._ourself, name))
        draw = int.from_bytes(blake2s(low + high, digest_size=4).digest(), "big")
        self._neighbours[name] = OutboundQueue(draw, last_flush=now)
        if name == high:
            # One of the two begins: each asks the other for what it lacks in any case.
            self._say(name, Digest(self._store.digest()))

    def neighbour_left(self, name: PeerName) -> None:
        self._neighbours.pop(name, None)
        self._requests.lost(name)
        for is_flush in (True, False):
            self._timers.set((name, is_flush), None)

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
                differ = bytes(i for i, h in enumerate(hashes) if h != ours[i])
                if differ:
                    self._summarise(source, differ)
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
        due = [key for key, _ in self._timers.pending()]
        if due:
            self._tell(due, now)

    # --- out -----------------------------------------------------------------------------

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        """(Neighbour, body of a message of our channel) to be sent now."""
        taken, self._out = self._out, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return earliest([self._timers.first(), Deadline(self._digest_at, f"{self.channel} digest")])

    # --- inside --------------------------------------------------------------------------

    def _tell(self, due: Collection[tuple[PeerName, bool]], now: float) -> None:
        """Records and hints to those whose turn it is, and to those whose turn would be soon: from
        then on all have theirs together, and the router is woken once for all."""
        kinds = {is_flush for _, is_flush in due}
        soon = {
            True: now + TOGETHER * self._pause,
            False: now + TOGETHER * self._settings.hint_after / 2,
        }
        early = [k for k, at in self._timers.pending() if k[1] in kinds and at <= soon[k[1]]]
        most = 0
        for key in (*due, *early):
            name, is_flush = key
            self._timers.set(key, None)
            neighbour = self._neighbours[name]
            if is_flush:
                neighbour.is_flush_due = False
                neighbour.last_flush = now
                most = max(most, len(neighbour.pending))
                self._say_records(name, neighbour.pending.values())
                neighbour.pending.clear()
            else:
                neighbour.is_hint_due = False
                neighbour.last_hint = now
                self._hint(name, neighbour.hints)
                neighbour.hints.clear()
        if most:
            self._pause = self._pause_after(most)

    def _pause_after(self, most: int) -> float:
        """Deltas of that many records have just been sent. Where there is much news more of it
        comes soon, and it is many peers' work: fewer, larger messages then. A little goes on at
        once, however many there are to hear it."""
        slowest = max(1.0, self.peers / MANY)
        return self._settings.flush_every * min(max(1.0, most / MUCH), slowest)

    def _schedule(self, name: PeerName, neighbour: OutboundQueue[R], now: float) -> None:
        if neighbour.pending and not neighbour.is_flush_due:
            neighbour.is_flush_due = True
            at = max(now, neighbour.last_flush + self._pause)
            self._timers.set((name, True), Deadline(at, f"send {self.channel} delta"))
        if neighbour.hints and not neighbour.is_hint_due:
            neighbour.is_hint_due = True
            # (Not before what may come with the next delta of somebody else has come.)
            at = max(now + self._settings.hint_after, neighbour.last_hint + 2 * self._pause)
            self._timers.set((name, False), Deadline(at, f"mention {self.channel} records"))

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
        for body, signature in pairs:
            try:
                fresh = self._store.merge_untrusted(body, signature)
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

    def _summarise(self, to: PeerName, buckets: bytes) -> None:
        """Say what we hold in these buckets, in as many messages as it takes."""
        by_bucket: dict[int, list[Held]] = {bucket: [] for bucket in buckets}
        for held in self._store.held(buckets):
            by_bucket[bucket_of(held.key)].append(held)
        part: list[int] = []
        holdings: list[Held] = []
        for bucket, found in by_bucket.items():
            if part and len(holdings) + len(found) > MAX_SUMMARY:
                self._say(to, Summary(bytes(part), tuple(holdings)))
                part, holdings = [], []
            part.append(bucket)
            # Keys can be searched for until all lie in one bucket. What is left out of an
            # overfull one the other side takes for missing and sends: wasteful, but right.
            holdings += found[:MAX_SUMMARY]
        self._say(to, Summary(bytes(part), tuple(holdings)))

    def _hint(self, to: PeerName, hints: Mapping[RecordKey, R]) -> None:
        held = [Held(key, record.order, record.mark) for key, record in hints.items()]
        for at in range(0, len(held), MAX_SUMMARY):
            self._say(to, Summary(b"", tuple(held[at : at + MAX_SUMMARY])))

    def _answer_summary(self, source: PeerName, summary: Summary, now: float) -> None:
        """What they hold more or newer we ask for, and what they lack in the buckets of which
        they have told us all we send."""
        theirs = {held.key: held for held in summary.held}
        # Of two records of the same order (an owner's fault) both sides send theirs: see
        # RecordStore.merge_untrusted for which one stays.
        newer = [
            ours.key
            for ours in (self._store.held(summary.buckets) if summary.buckets else ())
            if (other := theirs.get(ours.key)) is None
            or (other != ours and other.order <= ours.order)
        ]
        # Each once, however often a peer asks: records are large.
        found = (self._store.signed(key) for key in dict.fromkeys((*newer, *summary.wanted)))
        self._say_records(source, [record for record in found if record is not None])
        wanted = tuple(
            held.key
            for held in theirs.values()
            if self._store.lacks(held) and self._requests.ask(held, source, now)
        )
        if wanted:
            self._say(source, Summary(b"", (), wanted))
        neighbour = self._neighbours.get(source)
        if neighbour is not None:
            for held in summary.held:
                neighbour.knows(held.key, held.mark, held.order)

    def _say_records(self, to: PeerName, records: Iterable[R]) -> None:
        part: list[tuple[bytes, bytes]] = []
        size = 0
        for record in records:
            cost = len(record.body) + 80
            if part and size + cost > MAX_GOSSIP_BYTES:
                self._say(to, Records(tuple(part)))
                part, size = [], 0
            part.append((record.body, record.signature))
            size += cost
        if part:
            self._say(to, Records(tuple(part)))

    def _say(self, to: PeerName, message: GossipMessage) -> None:
        self._out.append((to, encode_gossip(message)))
