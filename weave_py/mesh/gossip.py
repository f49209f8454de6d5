"""How does news of the topology spread? Deltas at once, and repair by comparing digests.

A record that is news to us goes to every neighbour but the one it came from, coalesced: per
neighbour at most one pending record of each peer, sent at most every `flush_every` seconds. What
gets lost on the way (a connection that broke in between) is repaired by digests: on connecting
and from time to time a neighbour hears a hash over all we hold; only if it differs, the two
narrow it down to buckets, to versions, and to the records that one of them lacks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from weave_py.crypto.identity import peer_name_of
from weave_py.mesh.topology import Topology, bucket_of
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.wire.topology import (
    MAX_GOSSIP_BYTES,
    Buckets,
    Digest,
    Records,
    SignedRecord,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
)

CHANNEL = "topology"
MAX_SUMMARY = 1500  # entries of 30 bytes: well below the size of a message


@dataclass(frozen=True, slots=True)
class GossipSettings:
    flush_every: float = 0.05
    """Seconds between two deltas to the same neighbour."""
    digest_every: float = 10.0
    """Seconds between digests; each goes to one neighbour, in turn."""


@dataclass(slots=True)
class _Neighbour:
    pending: dict[PeerName, SignedRecord] = field(default_factory=dict)
    flush_at: float | None = None
    last_flush: float = float("-inf")


class TopologyGossip:
    """The gossip of one topology with all neighbours, each known by its name."""

    def __init__(
        self, topology: Topology, now: float, settings: GossipSettings | None = None
    ) -> None:
        self._topology = topology
        self._settings = settings or GossipSettings()
        self._neighbours: dict[PeerName, _Neighbour] = {}
        self._out: list[tuple[PeerName, bytes]] = []
        self._digest_at = now + self._settings.digest_every
        self._turn = 0
        self.errors: list[str] = []
        """What was wrong with records we refused, since last taken (for the log)."""

    # --- in ------------------------------------------------------------------------------

    def neighbour_joined(self, name: PeerName, now: float) -> None:
        self._neighbours[name] = _Neighbour(last_flush=now)
        self._say(name, Digest(self._topology.digest()))

    def neighbour_left(self, name: PeerName) -> None:
        self._neighbours.pop(name, None)

    def spread(self, records: Iterable[SignedRecord], now: float, source: PeerName | None) -> None:
        """Tell every neighbour but `source` about these records, soon."""
        fresh = {peer_name_of(signed.record.identity): signed for signed in records}
        if not fresh:
            return
        heard_by = {name: self._hear_it_from_owner(name) for name in fresh}
        for name, neighbour in self._neighbours.items():
            if name == source:
                continue
            news = {n: signed for n, signed in fresh.items() if name not in heard_by[n]}
            neighbour.pending.update(news)
            if news and neighbour.flush_at is None:
                neighbour.flush_at = max(now, neighbour.last_flush + self._settings.flush_every)

    def receive_untrusted(self, source: PeerName, body: bytes, now: float) -> list[SignedRecord]:
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
                if root != self._topology.digest():
                    self._say(source, Buckets(self._topology.bucket_hashes()))
            case Buckets(hashes):
                ours = self._topology.bucket_hashes()
                differ = bytes(i for i, h in enumerate(hashes) if h != ours[i])
                if differ:
                    self._summarise(source, differ)
            case Summary():
                self._answer_summary(source, message)
        return []

    def advance(self, now: float) -> None:
        for name, neighbour in self._neighbours.items():
            if neighbour.flush_at is not None and now >= neighbour.flush_at:
                self._say_records(name, neighbour.pending.values())
                neighbour.pending.clear()
                neighbour.flush_at = None
                neighbour.last_flush = now
        if now >= self._digest_at:
            self._digest_at = now + self._settings.digest_every
            if self._neighbours:
                self._turn = (self._turn + 1) % len(self._neighbours)
                chosen = sorted(self._neighbours)[self._turn]
                self._say(chosen, Digest(self._topology.digest()))

    # --- out -----------------------------------------------------------------------------

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        """(Neighbour, body of a message of our channel) to be sent now."""
        taken, self._out = self._out, []
        return taken

    def next_deadline(self) -> Deadline | None:
        flushes = (
            Deadline(n.flush_at, "send topology delta")
            for n in self._neighbours.values()
            if n.flush_at is not None
        )
        return earliest([*flushes, Deadline(self._digest_at, "topology digest")])

    # --- inside --------------------------------------------------------------------------

    def _hear_it_from_owner(self, owner: PeerName) -> frozenset[PeerName]:
        """Whom this peer tells its news itself: those it is connected with, as both ends claim.

        In a full mesh this saves all messages but the owner's own. Should such a connection just
        be breaking, the owner soon says so in a newer record, which no longer counts here.
        """
        record = self._topology.record(owner)
        if record is None or owner == self._topology.ourself.name:
            return frozenset()
        both = set()
        for neighbour in record.neighbours:
            other = self._topology.record(neighbour.name)
            if other is not None and any(n.name == owner for n in other.neighbours):
                both.add(neighbour.name)
        return frozenset(both)

    def _merge(
        self, source: PeerName, pairs: Iterable[tuple[bytes, bytes]], now: float
    ) -> list[SignedRecord]:
        news = []
        for body, signature in pairs:
            try:
                signed = self._topology.merge_untrusted(body, signature)
            except PeerError as error:
                self.errors.append(str(error))
                continue
            if signed is not None:
                news.append(signed)
        self.spread(news, now, source)
        return news

    def _summarise(self, to: PeerName, buckets: bytes) -> None:
        """Say what we hold in these buckets, in as many messages as it takes."""
        by_bucket = {b: self._topology.held(frozenset((b,))) for b in buckets}
        part: list[int] = []
        size = 0
        for bucket, held in by_bucket.items():
            if part and size + len(held) > MAX_SUMMARY:
                self._say_summary(to, part)
                part, size = [], 0
            part.append(bucket)
            size += len(held)
        self._say_summary(to, part)

    def _say_summary(self, to: PeerName, buckets: list[int]) -> None:
        # Names can be searched for until all lie in one bucket. What is left out of an overfull
        # one the other side takes for missing and sends: wasteful, but right.
        held = self._topology.held(frozenset(buckets))[:MAX_SUMMARY]
        self._say(to, Summary(bytes(buckets), tuple(held)))

    def _answer_summary(self, source: PeerName, summary: Summary) -> None:
        theirs = {held.name: held for held in summary.held}
        buckets = frozenset(summary.buckets)
        ours = {held.name: held for held in self._topology.held(buckets)}
        # Of two records of the same order (an owner's fault) both sides send theirs: see
        # Topology.merge_untrusted for which one stays.
        newer = [
            name
            for name, held in ours.items()
            if name not in theirs or (theirs[name] != held and theirs[name].order <= held.order)
        ]
        # Each once, however often a peer asks: records are large.
        found = (self._topology.signed(name) for name in dict.fromkeys((*newer, *summary.wanted)))
        self._say_records(source, [signed for signed in found if signed is not None])
        wanted = tuple(
            name
            for name, held in theirs.items()
            if bucket_of(name) in buckets
            and (name not in ours or (ours[name] != held and ours[name].order <= held.order))
        )
        if wanted:
            self._say(source, Summary(b"", (), wanted))

    def _say_records(self, to: PeerName, records: Iterable[SignedRecord]) -> None:
        part: list[tuple[bytes, bytes]] = []
        size = 0
        for signed in records:
            cost = len(signed.body) + 80
            if part and size + cost > MAX_GOSSIP_BYTES:
                self._say(to, Records(tuple(part)))
                part, size = [], 0
            part.append((signed.body, signed.signature))
            size += cost
        if part:
            self._say(to, Records(tuple(part)))

    def _say(self, to: PeerName, message: Records | Digest | Buckets | Summary) -> None:
        self._out.append((to, encode_gossip(message)))
