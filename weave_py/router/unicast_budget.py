"""Which messages that come through the mesh are worth work? Those that their neighbour can pay for.

Their source is what they say themselves, so what they cost is booked to the neighbour that they
came through: forgeries cannot spend what is somebody else's, and whoever lets many identities in
shares one budget with all of them.
"""

from __future__ import annotations

from weave_py.model.names import PeerName
from weave_py.model.token_bucket import TokenBucket, TokenBuckets

# Handshakes through one neighbour, each 4 exchanges. A thousand peers that all start at once behind
# it, and are late, try four times each, and need 8 a second from then on.
HANDSHAKES = 4000
HANDSHAKES_PER_SECOND = 100.0
# Signatures of services' messages, about 0.1 ms each.
SIGNATURES = 4000
SIGNATURES_PER_SECOND = 500.0
# Messages for others through one neighbour, in started KiB.
FORWARDED = 20_000
FORWARDED_PER_SECOND = 2000.0
MOST_NEIGHBOURS = 1024


class UnicastBudget:
    """Token buckets per neighbour."""

    def __init__(self) -> None:
        self._handshakes = _buckets(HANDSHAKES, HANDSHAKES_PER_SECOND)
        self._signatures = _buckets(SIGNATURES, SIGNATURES_PER_SECOND)
        self._forwarded = _buckets(FORWARDED, FORWARDED_PER_SECOND)

    def may_forward(self, neighbour: PeerName, body: bytes, now: float) -> bool:
        """Whether a message for somebody else that this neighbour sent goes on."""
        return self._forwarded.of(neighbour).take(now, 1 + len(body) // 1024)

    def may_verify(self, neighbour: PeerName, now: float) -> bool:
        """Whether the signature of a message that came through this neighbour is looked at."""
        return self._signatures.of(neighbour).take(now)

    def handshakes(self, neighbour: PeerName) -> TokenBucket:
        """What pays for session handshakes that come through this neighbour."""
        return self._handshakes.of(neighbour)


def _buckets(most: int, per_second: float) -> TokenBuckets[PeerName]:
    return TokenBuckets(most, per_second, MOST_NEIGHBOURS)
