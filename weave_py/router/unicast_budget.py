"""Which messages that come through the mesh are worth work? Those that their neighbour can pay for.

Their source is what they say themselves, so what they cost is booked to the neighbour that they
came through. A session message that the named peer has not made costs a hash
(`link.handshake_mac`); only those that it has made are paid from the neighbour's budget, each
before it costs exchanges of X25519. So forgeries cannot spend it; a member with many identities
can, up to the limit, and then first handshakes through the same neighbour have to wait. Renewals
have not: they also travel inside the session.
"""

from __future__ import annotations

from weave_py.crypto.identity import Identity
from weave_py.link.handshake_mac import HandshakeMac
from weave_py.mesh.topology import Topology
from weave_py.model.errors import HandshakeError
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.token_bucket import TokenBuckets
from weave_py.router.convergence import Convergence
from weave_py.router.links import Links
from weave_py.wire.topology import PeerRecord

# Handshakes through one neighbour, each 4 exchanges. A thousand peers that all start at once behind
# it, and are late, try four times each, and need 8 a second from then on.
HANDSHAKES = 4000
HANDSHAKES_PER_SECOND = 100.0
# Messages for others through one neighbour, in started KiB.
FORWARDED = 20_000
FORWARDED_PER_SECOND = 2000.0
MOST_NEIGHBOURS = 1024
MOST_STRANGERS = 10_000  # as many as there can be records (`mesh.topology`)


class UnicastBudget:
    """Takes in session messages, and says which messages for others go on."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        topology: Topology,
        links: Links,
        convergence: Convergence,
    ) -> None:
        self._identity = identity
        self._uid = uid
        self._topology = topology
        self._links = links
        self._convergence = convergence
        self._handshakes: TokenBuckets[PeerName] = TokenBuckets(
            HANDSHAKES, HANDSHAKES_PER_SECOND, MOST_NEIGHBOURS
        )
        self._forwarded: TokenBuckets[PeerName] = TokenBuckets(
            FORWARDED, FORWARDED_PER_SECOND, MOST_NEIGHBOURS
        )
        self._strangers: dict[PeerName, tuple[bytes, PeerUID, HandshakeMac | None]] = {}
        """Of known peers without a link how to tell what they say (None: there is no way), under
        which static key and UID. Who was named last comes last."""

    def may_forward(self, neighbour: PeerName, body: bytes, now: float) -> bool:
        """Whether a message for somebody else that this neighbour sent goes on."""
        return self._forwarded.of(neighbour).take(now, 1 + len(body) // 1024)

    def receive_session_untrusted(
        self, neighbour: PeerName, source: PeerName, message: bytes, now: float
    ) -> None:
        """A session message of `source`, as it says, came through `neighbour`."""
        record = self._topology.record(source)
        if record is None or source == self._identity.name:
            return
        if not self._links.has_told(source, record):
            if self._links.get(source) is None and not self._has_said_untrusted(
                source, record, message
            ):
                return
            self._convergence.make_link(source, now)
        introducer = self._handshakes.of(neighbour)
        self._links.receive_unicast_untrusted(source, message, now, introducer)

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
