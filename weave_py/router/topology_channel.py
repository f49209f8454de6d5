"""How does the topology travel? As a channel: records come in, and routes follow them."""

from __future__ import annotations

from collections.abc import Callable

from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.gossip.replicator import Replicator
from weave_py.mesh.ourself import Ourself
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import WARNING, Effect, LogEvent
from weave_py.model.names import PeerName
from weave_py.model.token_bucket import TokenBucket
from weave_py.router.announcements import Announcements
from weave_py.router.convergence import Convergence
from weave_py.router.duplicate_identity import DuplicateIdentity
from weave_py.wire.topology import SignedRecord

TOPOLOGY = "topology"
MAX_LOGGED = 3  # of a neighbour's bad records, per message
LOGGED, LOGGED_PER_SECOND = 20, 0.2  # of all neighbours': a flood of them must not fill the log


class TopologyChannel:
    """A Channel (mesh.channel)."""

    name = TOPOLOGY

    def __init__(
        self,
        gossip: Replicator[SignedRecord],
        ourself: Ourself,
        announcements: Announcements,
        convergence: Convergence,
        duplicates: DuplicateIdentity,
        describe: Callable[[PeerName], dict[str, object]],
    ) -> None:
        """`describe`: the log's fields for a neighbour."""
        self._gossip = gossip
        self._ourself = ourself
        self._announcements = announcements
        self._convergence = convergence
        self._duplicates = duplicates
        self._describe = describe
        self._effects: list[Effect] = []
        self._log_budget = TokenBucket(LOGGED, LOGGED_PER_SECOND)

    def neighbour_joined(self, neighbour: PeerName, now: float) -> None:
        self._gossip.neighbour_joined(neighbour, now)

    def neighbour_left(self, neighbour: PeerName) -> None:
        self._gossip.neighbour_left(neighbour)

    def stream_writable(self, neighbour: PeerName, is_writable: bool, now: float) -> None:
        self._gossip.stream_writable(neighbour, is_writable, now)

    def receive_gossip_untrusted(self, neighbour: PeerName, body: bytes, now: float) -> None:
        if self._gossip.receive_untrusted(neighbour, body, now):
            self._convergence.soon(now)
        if self._ourself.is_outranked and self._announcements.outranked(now):
            self._effects += self._duplicates.complaint(self._describe(neighbour), now)
        for error in self._gossip.errors[:MAX_LOGGED]:
            if not self._log_budget.take(now):
                break
            fields = {**self._describe(neighbour), "error": error}
            self._effects.append(LogEvent(WARNING, "topology record refused", fields))
        self._gossip.errors.clear()

    def receive_unicast_untrusted(
        self, source: PeerName, body: bytes, via: PeerName, now: float
    ) -> None:
        """The topology has none."""

    def peers_changed(self, change: PeersChanged, now: float) -> None:
        """It is the topology that says so."""

    def advance(self, now: float) -> None:
        self._gossip.advance(now)

    def next_deadline(self) -> Deadline | None:
        return self._gossip.next_deadline()

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        return self._gossip.take_messages()

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        return []

    def take_effects(self) -> list[Effect]:
        taken, self._effects = self._effects, []
        return taken
