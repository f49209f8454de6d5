"""Which messages that come through the mesh are worth work? Those that their neighbour can pay for.

What is forged costs a hash (`crypto.pair_mac`) and is booked to nobody. Of what is true, a peer may
say so much, and all of those behind a neighbour together what that may pay for: whoever lets many
identities in shares one budget with all of them. Of services' messages a little is kept for each
peer: those that say much cannot silence those that say little.
"""

from __future__ import annotations

from weave_py.model.names import PeerName
from weave_py.model.token_bucket import TokenBucket, TokenBuckets

# Handshakes through one neighbour, each 4 exchanges. A thousand peers that all start at once behind
# it, and are late, try four times each, and need 8 a second from then on.
HANDSHAKES = 4000
HANDSHAKES_PER_SECOND = 100.0
# Messages to services: of one peer, of all behind one neighbour, and what a peer has in any case.
OF_PEER = 1000
OF_PEER_PER_SECOND = 100.0
MESSAGES = 4000
MESSAGES_PER_SECOND = 500.0
KEPT = 8
KEPT_PER_SECOND = 0.2
# Messages for others through one neighbour, in started KiB.
FORWARDED = 20_000
FORWARDED_PER_SECOND = 2000.0
MOST_NEIGHBOURS = 1024
MOST_PEERS = 12_000  # more than there can be


class UnicastBudget:
    """Token buckets per neighbour, and per peer whose messages are known to be its own."""

    def __init__(self) -> None:
        self._handshakes = _buckets(HANDSHAKES, HANDSHAKES_PER_SECOND)
        self._messages = _buckets(MESSAGES, MESSAGES_PER_SECOND)
        self._of_peer = _buckets(OF_PEER, OF_PEER_PER_SECOND, MOST_PEERS)
        self._kept = _buckets(KEPT, KEPT_PER_SECOND, MOST_PEERS)
        self._forwarded = _buckets(FORWARDED, FORWARDED_PER_SECOND)

    def may_forward(self, neighbour: PeerName, body: bytes, now: float) -> bool:
        """Whether a message for somebody else that this neighbour sent goes on."""
        return self._forwarded.of(neighbour).take(now, 1 + len(body) // 1024)

    def may_hear(self, peer: PeerName, neighbour: PeerName, now: float) -> bool:
        """Whether a service is given a message that this peer has really said, and that came
        through this neighbour."""
        if not self._of_peer.of(peer).take(now):
            return False
        return self._messages.of(neighbour).take(now) or self._kept.of(peer).take(now)

    def handshakes(self, neighbour: PeerName) -> TokenBucket:
        """What pays for session handshakes that come through this neighbour."""
        return self._handshakes.of(neighbour)


def _buckets(burst: int, per_second: float, most: int = MOST_NEIGHBOURS) -> TokenBuckets[PeerName]:
    return TokenBuckets(burst, per_second, most)
