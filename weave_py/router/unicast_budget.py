"""Which messages that come through the mesh are worth work? Those that their neighbour can pay for.

What is forged costs a hash (`crypto.pair_mac`) and is booked to nobody. Of what is true, a peer may
say so much, and all of those behind a neighbour together what that may pay for: whoever lets many
identities in shares one budget with all of them. Of services' messages a little is kept for each
peer: those that say much cannot silence those that say little.

A relay cannot tell what is forged. What it passes on is booked to the neighbour that it comes from,
and all that goes to one neighbour is as much as that one takes; of this a part is kept for those
neighbours that have little to be passed on there.
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
# Messages for others, in started KiB: from one neighbour, and to one neighbour, from all others
# together (more the next relay would not take from us, and it would drop any of them). Who has said
# less than LITTLE may use the last that goes there, others leave KEPT_FREE: 256 neighbours' LITTLE.
FORWARDED = ONWARD = 20_000
FORWARDED_PER_SECOND = ONWARD_PER_SECOND = 2000.0
LITTLE = 40
LITTLE_PER_SECOND = 2.0
KEPT_FREE = 10_000
MOST_NEIGHBOURS = 1024
MOST_PAIRS = 65_536  # of 256 neighbours
MOST_PEERS = 12_000  # more than there can be


class UnicastBudget:
    """Token buckets per neighbour, and per peer whose messages are known to be its own."""

    def __init__(self) -> None:
        self._handshakes = _buckets(HANDSHAKES, HANDSHAKES_PER_SECOND)
        self._messages = _buckets(MESSAGES, MESSAGES_PER_SECOND)
        self._of_peer = _buckets(OF_PEER, OF_PEER_PER_SECOND, MOST_PEERS)
        self._kept = _buckets(KEPT, KEPT_PER_SECOND, MOST_PEERS)
        self._forwarded = _buckets(FORWARDED, FORWARDED_PER_SECOND)
        self._onward = _buckets(ONWARD, ONWARD_PER_SECOND)
        self._little: TokenBuckets[tuple[PeerName, PeerName]] = TokenBuckets(
            LITTLE, LITTLE_PER_SECOND, MOST_PAIRS
        )

    def may_forward(self, neighbour: PeerName, to: PeerName, body: bytes, now: float) -> bool:
        """Whether a message for somebody else that one neighbour sent goes on to another one."""
        cost = 1 + len(body) // 1024
        if not self._forwarded.of(neighbour).take(now, cost):
            return False
        kept = 0 if self._little.of((neighbour, to)).take(now, cost) else KEPT_FREE
        onward = self._onward.of(to)
        return onward.has(now, cost + kept) and onward.take(now, cost)

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
