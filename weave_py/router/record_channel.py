"""How does a service get its records spread, its messages authentic and its promises kept in order?

A `RecordChannel` is the channel of one service: a store of owned records, a replicator for it, and
the service itself, if this router runs it. Without one the channel is only carried: who has no use
for a service is still a bridge for those that have.
"""

from __future__ import annotations

from collections import deque

from weave_py.mesh.authentic_unicasts import AuthenticUnicasts
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.gossip.replicator import GossipSettings, Replicator
from weave_py.mesh.gossip.store import Graph
from weave_py.mesh.service import Keep, Publish, Send, Service, ServiceOutput, Start
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.effects import ERROR, WARNING, Effect, KeepState, LogEvent
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.model.token_bucket import TokenBucket
from weave_py.router.unicast_budget import UnicastBudget
from weave_py.wire.owned_record import OwnedRecord

MAX_WAITING = 1024  # outputs behind a Keep from which on unicasts get lost: is the disk full?
MAX_LOGGED = 3  # of a neighbour's bad records, per message
LOGGED, LOGGED_PER_SECOND = 20, 0.2  # of all neighbours': a flood of them must not fill the log
COMPARE_EVERY = 1.0  # seconds, at least: anybody may start anew again and again


class RecordChannel:
    """A Channel (mesh.channel)."""

    def __init__(
        self,
        name: str,
        service: Service | None,
        records: OwnedRecords,
        graph: Graph,
        unicasts: AuthenticUnicasts,
        budget: UnicastBudget,
        now: float,
        settings: GossipSettings,
    ) -> None:
        self.name = name
        self.service = service
        self.records = records
        self.undeliverable = 0
        """Messages to peers that we do not know (any more)."""
        self.refused = 0
        """Unicasts that were not authentic, came twice, or were too many (of one peer, through one
        neighbour, or while we wait for the disk)."""
        self._gossip: Replicator[OwnedRecord] = Replicator(
            name, records.ourself, records, graph, now, settings
        )
        self._unicasts = unicasts
        self._budget = budget
        self._neighbours: set[PeerName] = set()
        self._waiting: deque[ServiceOutput] = deque()
        """What the service wants done, in order; behind a Keep all waits for the disk."""
        self._ticket = 0
        self._kept = 0
        """The last Keep that is on disk."""
        self._out: list[tuple[PeerName, bytes]] = []
        self._effects: list[Effect] = []
        self._log_budget = TokenBucket(LOGGED, LOGGED_PER_SECOND)
        self._compare_with: set[PeerName] = set()
        """Neighbours that have records of peers whom, or whose life, we did not know until now."""
        self._compared_at = float("-inf")

    def __repr__(self) -> str:
        return f"<RecordChannel {self.name} waiting={len(self._waiting)}>"

    # --- the service's own life ------------------------------------------------------------

    def start(self, state: object, now: float) -> None:
        """`state`: what the service kept last."""
        if self.service is not None:
            self.service.started(Start(self.records.ourself, self.records, state), now)
        self._settle(now)

    def stop(self, now: float) -> None:
        if self.service is not None:
            self.service.stopping(now)
        self._settle(now)
        values = [output.value for output in self._waiting if isinstance(output, Keep)]
        if values:  # nothing that waits for it can be said any more, but it can be kept
            self._effects.append(KeepState(self.name, values[-1]))
        self._waiting.clear()
        self._gossip.flush(now)

    def request(self, ticket: int, request: object, now: float) -> None:
        if self.service is not None:
            self.service.requested(ticket, request, now)
        self._settle(now)

    def cancel(self, ticket: int, now: float) -> None:
        if self.service is not None:
            self.service.cancelled(ticket, now)
        self._settle(now)

    def state_kept(self, ticket: int, now: float) -> None:
        """What we wanted kept with this ticket is on disk."""
        self._kept = max(self._kept, ticket)
        self._settle(now)

    # --- Channel ---------------------------------------------------------------------------

    def neighbour_joined(self, neighbour: PeerName, now: float) -> None:
        self._neighbours.add(neighbour)
        self._gossip.neighbour_joined(neighbour, now)

    def neighbour_left(self, neighbour: PeerName) -> None:
        self._neighbours.discard(neighbour)
        self._gossip.neighbour_left(neighbour)

    def stream_writable(self, neighbour: PeerName, is_writable: bool, now: float) -> None:
        self._gossip.stream_writable(neighbour, is_writable, now)

    def receive_gossip_untrusted(self, neighbour: PeerName, body: bytes, now: float) -> None:
        if neighbour not in self._neighbours:
            return
        self._gossip.receive_untrusted(neighbour, body, now)
        for error in self._gossip.errors[:MAX_LOGGED]:
            if not self._log_budget.take(now):
                break
            fields = {"channel": self.name, "neighbour": neighbour.hex(":"), "error": error}
            self._effects.append(LogEvent(WARNING, "record refused", fields))
        self._gossip.errors.clear()
        self._settle(now)

    def receive_unicast_untrusted(
        self, source: PeerName, body: bytes, via: PeerName, now: float
    ) -> None:
        if self.service is None:
            return
        try:
            message = self._unicasts.open_untrusted(self.name, source, body)
        except PeerError:
            self.refused += 1
            return
        if len(self._waiting) >= MAX_WAITING or not self._budget.may_hear(source, via, now):
            self.refused += 1
            return
        self.service.received(message, now)
        self._settle(now)

    def peers_changed(self, change: PeersChanged, now: float) -> None:
        known = change.reachable | change.born
        self._compare_with |= self.records.take_missed(known, self._neighbours)
        self.records.forget(change.forgotten)
        self.records.born(change.born)
        self._compare(now)
        if self.service is not None:
            self.service.peers_changed(change, now)
        self._settle(now)

    def advance(self, now: float) -> None:
        self._gossip.advance(now)
        self._compare(now)
        if self.service is not None:
            due = self.service.next_deadline()
            if due is not None and now >= due.at:
                self.service.advance(now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        due = [self._gossip.next_deadline()]
        if self._compare_with:
            at = self._compared_at + COMPARE_EVERY
            due.append(Deadline(at, f"compare {self.name} records"))
        if self.service is not None:
            due.append(self.service.next_deadline())
        return earliest(due)

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        return self._gossip.take_messages()

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        taken, self._out = self._out, []
        return taken

    def take_effects(self) -> list[Effect]:
        taken, self._effects = self._effects, []
        return taken

    # --- inside ----------------------------------------------------------------------------

    def _compare(self, now: float) -> None:
        if self._compare_with and now >= self._compared_at + COMPARE_EVERY:
            self._gossip.compare(self._compare_with & self._neighbours)
            self._compare_with.clear()
            self._compared_at = now

    def _settle(self, now: float) -> None:
        changed = self.records.take_changed()
        if changed and self.service is not None:
            self.service.records_changed(changed, now)
        if self.service is not None:
            self._waiting.extend(self.service.take_outputs())
        while self._waiting and self._ticket == self._kept:
            output = self._waiting.popleft()
            try:
                self._do(output, now)
            except ValueError as error:  # a service's fault must not be the network's
                fields = {"service": self.name, "output": type(output).__name__, "error": error}
                self._effects.append(LogEvent(ERROR, "a service says too much", fields))
        # What we have just published is no news to the service.
        self.records.take_changed()

    def _do(self, output: ServiceOutput, now: float) -> None:
        match output:
            case Publish(slot, payload):
                record = self.records.publish(slot, payload)
                if record is not None:
                    self._gossip.spread([record], now, None)
            case Send(peer, message):
                body = self._unicasts.seal(self.name, peer, message)
                if body is None:
                    self.undeliverable += 1
                else:
                    self._out.append((peer, body))
            case Keep(value):
                self._ticket += 1
                self._effects.append(KeepState(self.name, value, self._ticket))
            case _:
                self._effects.append(output)
