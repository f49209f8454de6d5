"""How do the handshakes of sessions travel? As a channel of unicasts, which prove themselves.

A message that the peer it names has not made costs a hash (`link.handshake_mac`); only one that it
has made is paid from the budget of the neighbour that it came through, before it costs exchanges of
X25519. Renewals need none of it: they also travel inside the session.
"""

from __future__ import annotations

from weave_py.crypto.identity import Identity
from weave_py.link.handshake_mac import HandshakeMac
from weave_py.mesh.authorizer import Authorizer, Claimant
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.topology import Topology
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import Effect
from weave_py.model.errors import HandshakeError
from weave_py.model.names import PeerName, PeerUID
from weave_py.router.convergence import Convergence
from weave_py.router.links import Links
from weave_py.router.unicast_budget import UnicastBudget
from weave_py.wire.topology import PeerRecord

SESSION = "session"
MOST_STRANGERS = 10_000  # as many as there can be records (`mesh.topology`)


class SessionChannel:
    """A Channel (mesh.channel). What comes is a Noise message: it needs no signature."""

    name = SESSION

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        topology: Topology,
        links: Links,
        convergence: Convergence,
        authorizer: Authorizer,
        budget: UnicastBudget,
    ) -> None:
        self._identity = identity
        self._uid = uid
        self._topology = topology
        self._links = links
        self._convergence = convergence
        self._authorizer = authorizer
        self._budget = budget
        self._strangers: dict[PeerName, tuple[bytes, PeerUID, HandshakeMac | None]] = {}
        """Of known peers without a link how to tell what they say (None: there is no way), under
        which static key and UID. Who was named last comes last."""

    def neighbour_joined(self, neighbour: PeerName, now: float) -> None:
        self._links.neighbour_joined(neighbour, now)

    def neighbour_left(self, neighbour: PeerName) -> None:
        """Sessions do not depend on who is a neighbour."""

    def stream_writable(self, neighbour: PeerName, is_writable: bool, now: float) -> None:
        """Handshakes are few and small."""

    def receive_gossip_untrusted(self, neighbour: PeerName, body: bytes, now: float) -> None:
        """Sessions gossip nothing."""

    def receive_unicast_untrusted(
        self, source: PeerName, body: bytes, via: PeerName, now: float
    ) -> None:
        record = self._topology.record(source)
        if record is None or source == self._identity.name:
            return
        if self._authorizer.refusal(Claimant(source, record.identity)):
            return
        if not self._links.has_told(source, record):
            if self._links.get(source) is None and not self._has_said_untrusted(
                source, record, body
            ):
                return
            self._convergence.make_link(source, now)
        self._links.receive_unicast_untrusted(source, body, now, self._budget.handshakes(via))

    def peers_changed(self, change: PeersChanged, now: float) -> None:
        """Links follow routes (router.convergence)."""

    def advance(self, now: float) -> None:
        """Links have deadlines of their own (Engine.advance)."""

    def next_deadline(self) -> Deadline | None:
        return None

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        return []

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        return self._links.take_unicasts()

    def take_effects(self) -> list[Effect]:
        return []

    # --- inside ----------------------------------------------------------------------------

    def _has_said_untrusted(self, stranger: PeerName, record: PeerRecord, message: bytes) -> bool:
        """Whether a peer without a link has made this message: only then it gets one. Takes an
        exchange of X25519 for each life of a peer, less than its record took when it came."""
        known = self._strangers.pop(stranger, None)
        if known is None or known[:2] != (record.static, record.uid):
            try:
                mac = HandshakeMac(self._identity, self._uid, stranger, record.static, record.uid)
            except HandshakeError:
                mac = None
            known = record.static, record.uid, mac
        self._strangers[stranger] = known
        if len(self._strangers) > MOST_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        return known[2] is not None and known[2].has_made_untrusted(message)
