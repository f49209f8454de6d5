"""What has a neighbour still to be told, and what have we asked for already?"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple

from weave_py.mesh.gossip.store import R
from weave_py.model.names import PeerName
from weave_py.wire.gossip import Held, RecordKey, RecordVersion

ASK_AGAIN = 1.0  # seconds in which who was asked has answered
MAX_ASKED = 20_000  # records at a time: more keys than that are somebody's invention


class Kind(Enum):
    """What there is to say to a neighbour."""

    RECORDS = "send {} delta"
    HINTS = "mention {} records"
    ANSWERS = "answer about {}"


@dataclass(slots=True)
class OutboundQueue(Generic[R]):
    """One neighbour that hears our gossip: what it is owed, each thing once, however often it asks
    and however little its connection takes. It becomes bytes a message at a time."""

    draw: int = 0
    """32 bits, the same at both ends: see Replicator._is_eager."""
    pending: dict[RecordKey, R] = field(default_factory=dict)
    """Records to be sent."""
    hints: dict[RecordKey, R] = field(default_factory=dict)
    """Records to be mentioned, in good time."""
    buckets: dict[int, None] = field(default_factory=dict)
    """Of whose contents it wants to be told."""
    mentions: dict[RecordKey, None] = field(default_factory=dict)
    """Records that it does not seem to have."""
    wanted: dict[RecordKey, None] = field(default_factory=dict)
    """Records that it has asked for."""
    last_flush: float = float("-inf")
    last_hint: float = float("-inf")
    due: set[Kind] = field(default_factory=set)
    """What a timer is set for."""
    is_blocked: bool = False
    """Whether its connection takes no more for now."""

    @property
    def is_answered(self) -> bool:
        return not (self.buckets or self.mentions or self.wanted)

    def add(self, key: RecordKey, record: R, is_eager: bool) -> None:
        """It is to be told of this record, instead of an older one."""
        waiting, other = self.pending, self.hints
        if not is_eager:
            waiting, other = other, waiting
        waiting[key] = record
        other.pop(key, None)

    def knows(self, key: RecordKey, mark: bytes, order: RecordVersion) -> None:
        """It told us of this record, so we need not tell it of that, or of an older one."""
        for waiting in (self.pending, self.hints):
            ours = waiting.get(key)
            if ours is not None and (ours.mark == mark or ours.order < order):
                del waiting[key]


class _Question(NamedTuple):
    mark: bytes
    to: PeerName
    until: float


class PendingRequests:
    """Records that are on their way because we asked for them: several neighbours mention the
    same one at the same time, and one copy is enough."""

    def __init__(self) -> None:
        self._open: OrderedDict[RecordKey, _Question] = OrderedDict()
        """The oldest first."""

    def ask(self, held: Held, of: PeerName, now: float) -> bool:
        """Whether to ask `of` for this record; it counts as asked for then."""
        question = self._open.get(held.key)
        if question is not None and question.mark == held.mark and now < question.until:
            return False
        self._drop_old(now)
        self._open.pop(held.key, None)
        if len(self._open) >= MAX_ASKED:
            return False  # digests will mention it again
        self._open[held.key] = _Question(held.mark, of, now + ASK_AGAIN)
        return True

    def _drop_old(self, now: float) -> None:
        """The oldest come first: each is looked at once more than it is dropped."""
        while self._open:
            key = next(iter(self._open))
            if now < self._open[key].until:
                return
            del self._open[key]

    def came(self, key: RecordKey) -> None:
        """A record of this key did."""
        self._open.pop(key, None)

    def lost(self, neighbour: PeerName) -> None:
        """It will not answer any more."""
        left = ((key, q) for key, q in self._open.items() if q.to != neighbour)
        self._open = OrderedDict(left)
