"""What share of our datagrams gets lost, and how long may a record be then?

A lost datagram costs its whole record. On a clean path long records are worth two or three times
the throughput; at one per cent of loss a record of 44 datagrams would be lost every third time.
So the length follows the measured loss: about one record in a hundred may be lost, whatever
the loss of datagrams.
"""

from __future__ import annotations

from weave_py.wire.sleeve import MAX_SEGMENTS

U32 = 0xFFFF_FFFF
FEWEST = 100  # datagrams between two answers that are worth a sample
WEIGHT = 0.5  # of a sample: with two a second, the last second counts for three quarters
RECORD_LOSS = 0.01  # share of records that may be lost for their length
NEGLIGIBLE = RECORD_LOSS / MAX_SEGMENTS


class LossMeter:
    """Fed with the counts that answers to probes carry."""

    def __init__(self) -> None:
        self.loss = 0.0
        """Share of data datagrams lost on the way to the peer, 0–1, smoothed."""
        self._sent: int | None = None
        self._received = 0

    @property
    def record_datagrams(self) -> int:
        """How many datagrams a record may take."""
        if self.loss <= NEGLIGIBLE:
            return MAX_SEGMENTS
        return max(1, int(RECORD_LOSS / self.loss))

    def sample(self, sent: int, received: int) -> None:
        """When we had sent `sent` datagrams, `received` of them had arrived (both modulo 2^32)."""
        if self._sent is None:
            self._sent, self._received = sent, received
            return
        went = (sent - self._sent) & U32
        came = (received - self._received) & U32
        if went > U32 // 2 or went < FEWEST:
            return  # an answer that was overtaken, or too few to say anything
        self._sent, self._received = sent, received
        lost = max(0.0, 1 - came / went) if came <= U32 // 2 else 0.0
        self.loss += WEIGHT * (lost - self.loss)

    def restart(self) -> None:
        """The peer counts anew."""
        self._sent = None
