"""A toy service: everybody has a counter, all see all of them, and one can be asked in person.

What `docs/extending.md` builds, step by step. It uses all that services may use: records, authentic
unicasts, state that is on disk before it is told, requests that wait, and time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.service import (
    Authentic,
    Keep,
    Publish,
    Records,
    Send,
    ServiceOutput,
    Start,
)
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.effects import Reply
from weave_py.model.names import PeerName

SLOT = 0
ASK_AGAIN = 1.0  # seconds: a unicast may get lost


@dataclass(frozen=True, slots=True)
class Add:
    """Request: add this much to our counter. Its reply is what all counters make together."""

    much: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Request: what does this peer's counter say? Its reply is a number; None: the peer is gone."""

    peer: PeerName


@dataclass(frozen=True, slots=True)
class All:
    """Request: everybody's counter, as far as it is known here."""


@dataclass(slots=True)
class _Question:
    peer: PeerName
    again_at: float


class CounterService:
    """A Service (mesh.service)."""

    name = "counter"

    def __init__(self) -> None:
        self._count = 0
        self._records: Records | None = None
        self._questions: dict[int, _Question] = {}
        self._outputs: list[ServiceOutput] = []

    def started(self, start: Start, now: float) -> None:
        self._records = start.records
        self._count = start.state if isinstance(start.state, int) else 0
        self._publish()

    def stopping(self, now: float) -> None:
        """Our counter goes with us: others forget it after a while."""

    def records_changed(self, owners: Collection[PeerName], now: float) -> None:
        """Nothing depends on others' counters but what is asked for."""

    def received(self, message: Authentic, now: float) -> None:
        match message.body.split():
            case [b"how-much?"]:
                self._outputs.append(Send(message.sender, b"so-much %d" % self._count))
            case [b"so-much", number] if number.isdigit():
                for ticket, question in list(self._questions.items()):
                    if question.peer == message.sender:
                        del self._questions[ticket]
                        self._outputs.append(Reply(ticket, int(number)))

    def peers_changed(self, change: PeersChanged, now: float) -> None:
        for ticket, question in list(self._questions.items()):
            if question.peer in change.forgotten:
                del self._questions[ticket]
                self._outputs.append(Reply(ticket, None))

    def requested(self, ticket: int, request: object, now: float) -> None:
        match request:
            case Add(much):
                self._count += much
                self._outputs.append(Keep(self._count))  # before anybody hears of it
                self._publish()
                self._outputs.append(Reply(ticket, self.total + much))
            case All():
                self._outputs.append(Reply(ticket, self.snapshot(now)))
            case Ask(peer):
                self._questions[ticket] = _Question(peer, now)
                self.advance(now)

    def cancelled(self, ticket: int, now: float) -> None:
        self._questions.pop(ticket, None)

    def advance(self, now: float) -> None:
        for question in self._questions.values():
            if now >= question.again_at:
                question.again_at = now + ASK_AGAIN
                self._outputs.append(Send(question.peer, b"how-much?"))

    def next_deadline(self) -> Deadline | None:
        return earliest(Deadline(q.again_at, "ask again") for q in self._questions.values())

    def take_outputs(self) -> list[ServiceOutput]:
        taken, self._outputs = self._outputs, []
        return taken

    def snapshot(self, now: float) -> dict[PeerName, int]:
        """Everybody's counter, as far as it is known here."""
        assert self._records is not None
        pages = {owner: self._records.payloads(owner) for owner in self._records.owners()}
        return {owner: int(slots[SLOT]) for owner, slots in pages.items() if SLOT in slots}

    @property
    def total(self) -> int:
        return sum(self.snapshot(0.0).values())

    def _publish(self) -> None:
        self._outputs.append(Publish(SLOT, b"%d" % self._count))
