"""Do our packets reach the peer through the kernel? Reachability: one direction's proof.

A status names the highest numbers of our probes that arrived, and how many packets its kernel has
received. It takes a while to be made and to come, so only what was sent longer ago than our
*patience* can be missed by it: patience follows the delays of acknowledgements as TCP's
retransmission timeout follows round trips (RFC 6298 §2).

    proven     probes in a row were seen, each of them
    probe-lost several in a row were not, and nothing else arrived either
    mtu        full-sized ones were not, though small ones sent after them were
    stall      over several statuses nothing arrived at all, though we sent between them

No status is no evidence: time alone changes nothing here.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from fastdp.path.reasons import Reason
from fastdp.path.settings import FastSettings
from weave_py.model.fast import FastStatus

_SMOOTHED, _VARIANCE = 1 / 8, 1 / 4  # RFC 6298 §2: alpha, beta
_WAITING = 128  # probes per kind that we remember


class _Waiting(NamedTuple):
    number: int
    at: float


class Series:
    """Probes of one kind: numbers, and which of them were seen."""

    def __init__(self) -> None:
        self.number = 0
        self.seen = 0
        self.run = 0
        """How many in a row were seen, each by a status of its own."""
        self.seen_sent_at = float("-inf")
        self.waiting: deque[_Waiting] = deque(maxlen=_WAITING)

    def restart(self) -> None:
        """What was sent so far proves nothing, and is not missed."""
        self.seen = self.number
        self.run = 0
        self.seen_sent_at = float("-inf")
        self.waiting.clear()

    def send(self, now: float) -> int:
        self.number += 1
        self.waiting.append(_Waiting(self.number, now))
        return self.number

    def report(self, seen: int, now: float) -> float | None:
        """The peer has seen this number. How long after it was sent we learn of it, if just now."""
        if not self.seen < seen <= self.number:
            return None
        self.run = self.run + 1 if seen == self.seen + 1 else 1
        self.seen = seen
        delay = None
        while self.waiting and self.waiting[0].number <= seen:
            probe = self.waiting.popleft()
            if probe.number == seen:
                self.seen_sent_at = probe.at
                delay = now - probe.at
        return delay

    def overdue(self, by: float) -> list[float]:
        """When those were sent, up to then, that have not been seen."""
        return [probe.at for probe in self.waiting if probe.at <= by]


class Evidence:
    """What the peer's statuses say of our direction."""

    def __init__(self, settings: FastSettings) -> None:
        self.small = Series()
        self.full = Series()
        self.is_proven = False
        self.is_suspect = False
        """As of the last status, a probe is missing."""
        self.patience = settings.first_patience
        self._settings = settings
        self._delay: float | None = None
        self._variation = 0.0
        self._sent: deque[tuple[float, int]] = deque(maxlen=256)
        self._last: tuple[int, int, int] | None = None
        self._arrived_at = float("-inf")
        self._still = 0
        self._still_sent = 0

    # --- in ------------------------------------------------------------------------------

    def restart(self) -> None:
        """Prove it from scratch."""
        self.is_proven = False
        self.void()

    def adopt(self) -> None:
        """It is in use, and nothing speaks against it."""
        self.is_proven = True

    def void(self) -> None:
        """The peer knows nothing of what we sent before: that is not missed."""
        self.small.restart()
        self.full.restart()
        self.is_suspect = False
        self.forget_reports()

    def transmitted(self, packets: int, now: float) -> None:
        """Our device's counter, read now."""
        if self._sent and packets < self._sent[-1][1]:
            self._sent.clear()
            self.forget_reports()
        self._sent.append((now, packets))

    def report(self, status: FastStatus, follows: bool, now: float) -> bool:
        """The peer's status came. Whether it acknowledges something new. `follows`: no status was
        lost before it, so its news are fresh."""
        fresh = [
            self.small.report(status.small_seen, now),
            self.full.report(status.full_seen, now),
        ]
        for delay in fresh:
            if delay is not None and follows:
                self._measure(delay)
        self._compare(status, now)
        by = now - self.patience
        self.is_suspect = bool(self.small.overdue(by) or self.full.overdue(by))
        s = self._settings
        if self.small.run >= s.proof_small and self.full.run >= 1:
            self.is_proven = True
        return any(delay is not None for delay in fresh)

    def forget_reports(self) -> None:
        """The next one says nothing about what was before it."""
        self._last = None
        self._arrived_at = float("-inf")
        self._still = 0
        self._still_sent = 0

    # --- out -----------------------------------------------------------------------------

    def verdict(self, in_use: bool, now: float) -> Reason:
        """What the reports so far, the last of them from now, say against the path; NONE if
        nothing does. Only what is in use can stall."""
        by, misses = now - self.patience, self._settings.misses
        small, full = self.small.overdue(by), self.full.overdue(by)
        if in_use and self._still >= self._settings.stall_reports:
            return Reason.COUNTER_STALL
        # Of two that were sent together the full-sized one was first.
        passed = [at for at in full if at <= self.small.seen_sent_at]
        if len(passed) >= misses:
            return Reason.MTU
        for missing in (small, full):
            if len(missing) >= misses and self._nothing_since(missing[-misses], missing[0], now):
                return Reason.PROBE_LOST
        return Reason.NONE

    def doubt_at(self) -> float | None:
        """When the absence of acknowledgements begins to look odd, status or not."""
        firsts = [s.waiting[0].at for s in (self.small, self.full) if s.waiting]
        return min(firsts) + 2 * self.patience if firsts else None

    # --- inside --------------------------------------------------------------------------

    def _nothing_since(self, last: float, first: float, now: float) -> bool:
        """Whether nothing arrived after the last few missing probes were sent; or whether they
        have been missing for so long that what arrives does not matter."""
        return self._arrived_at < last + self.patience or now >= first + self._settings.long_miss

    def _measure(self, delay: float) -> None:
        s = self._settings
        if self._delay is None:
            self._delay, self._variation = delay, delay / 2
        else:
            self._variation += _VARIANCE * (abs(self._delay - delay) - self._variation)
            self._delay += _SMOOTHED * (delay - self._delay)
        wanted = self._delay + max(4 * self._variation, s.status_ack)
        self.patience = min(max(wanted, s.least_patience), s.most_patience)

    def _compare(self, status: FastStatus, now: float) -> None:
        """Count the statuses over which nothing arrived, though something was sent."""
        arrived = (status.received, status.small_seen, status.full_seen)
        if self._last is not None and status.received != self._last[0]:
            self._arrived_at = now
        if arrived != self._last or not self._sent:
            self._last = arrived
            self._still = 0
            # What was sent until now may have been on its way already.
            self._still_sent = self._sent[-1][1] if self._sent else 0
            return
        sent = self._sent_by(now - self.patience)
        if sent > self._still_sent:
            self._still_sent = sent
            self._still += 1

    def _sent_by(self, at: float) -> int:
        for when, packets in reversed(self._sent):
            if when <= at:
                return packets
        return 0
