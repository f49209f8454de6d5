"""What share of our datagrams gets lost, and how long may a record be then? Loss measurement.

A lost datagram costs its whole record. On a clean path long records are worth two or three times
the throughput; at one per cent of loss a record of 44 datagrams would be lost every third time.
So where datagrams get lost, a record takes one more than it needs, by which any other can be made
good (datapath.parity), and its length follows the measured loss: such that no more than some three
records in a thousand lose two.

Losses that come in bursts, as of a queue that overflows, are not made good, and shall not be: they
tell TCP to slow down.
"""

from __future__ import annotations

import math

from weave_py.wire.sleeve import MAX_SEGMENTS

U32 = 0xFFFF_FFFF
FEWEST = 64  # datagrams between two answers that are worth a sample
SOLID = 1000  # datagrams of which a sample counts as much as all before it
FORGET = 0.05  # weight of samples that are better than what we believe: seconds, not an instant
RECORD_LOSS = 0.003  # share of records that may be lost in spite of their parity
NEGLIGIBLE = 0.000_05  # loss at which parity is not worth its cost: one record of 44 in 500
HOPELESS = 0.06  # loss at which the path has too little room already, most likely


class LossMeter:
    """Fed with the counts that answers to probes carry."""

    def __init__(self) -> None:
        self.loss = 0.0
        """Share of data datagrams lost on the way to the peer, 0–1, smoothed."""
        self._sent: int | None = None
        self._received = 0

    @property
    def parity(self) -> bool:
        """Whether records of several datagrams take one more for parity."""
        return NEGLIGIBLE < self.loss < HOPELESS

    @property
    def record_datagrams(self) -> int:
        """How many datagrams a record may take, without that for parity."""
        if self.loss <= NEGLIGIBLE:
            return MAX_SEGMENTS
        if not self.parity:
            return 1
        # Two of n + 1 are lost with a probability of about (n + 1)² × loss² / 2.
        return max(2, min(MAX_SEGMENTS, int(math.sqrt(2 * RECORD_LOSS) / self.loss) - 1))

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
        weight = went / (went + SOLID) if lost > self.loss else FORGET
        self.loss += weight * (lost - self.loss)

    def another_way(self) -> None:
        """What got lost on the way that was left says nothing of this one."""
        self.loss = 0.0
        self.restart()

    def restart(self) -> None:
        """The peer counts anew."""
        self._sent = None
