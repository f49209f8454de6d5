"""Is one way to the peer alive, how good is it, and what size passes? Probing one path.

A path in use is probed every second with a datagram as large as those it carries; when an answer
is missing, ten times a second with a large and a small one, so that another way takes over in
less than two seconds, a dead path is given up in about three, a path that has become narrower is
noticed in two, and a lost probe does no harm. A way
that does not answer is tried again for ever, ever more rarely.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from weave_py.link.egress import NextHop
from weave_py.link.path_mtu import BASE, PathMtu
from weave_py.model.deadlines import Deadline, after
from weave_py.wire.topology import MAX_ENDPOINTS


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Seconds, unless said otherwise; all ours to tune."""

    probe_in_use: float = 1.0
    probe_idle: float = 5.0
    """More rarely if there are many peers, but no NAT must forget us meanwhile:"""
    longest_idle: float = 25.0
    probe_missing: float = 0.1
    """While nothing comes back, until we doubt the path."""
    probe_suspect: float = 0.25
    dead_after: float = 2.25
    """From the first unanswered probe; it was sent at most `probe_in_use` after the path broke, so
    a path in use is given up within 3.25 s."""
    answer_timeout: float = 0.25
    longest_patience: float = 10.0
    """A network in which answers take that long is no use, but nor is it one that is dead."""
    first_retry: float = 0.2
    retry_factor: float = 1.7
    longest_retry: float = 10.0
    max_candidates: int = MAX_ENDPOINTS + 5
    """As many as a record holds, and room for what others say of the peer."""
    poke_every: float = 1.0
    max_heard: int = 4
    """Addresses that we only heard from, at a time."""
    max_unlisted: int = 8
    """Addresses that work though nobody tells of them, at a time."""
    hearsay_probes: int = 5
    """So many probes go to one of those before it is given up."""
    full_size_misses: int = 3
    """That many full-size probes lost in a row, while small ones pass, mean a black hole."""
    doubt_after: float = 0.75
    """From the first unanswered probe: then another way that works is used meanwhile. Ten probes
    in a row are lost by then."""
    grace: float = 2.0
    """Who is late itself (model.load) waits so much longer, for each second of it."""
    check_every: float = 0.5
    punch_every: float = 1.0
    better_by: float = 0.005
    """Another direct path must have a round trip this much shorter, and by a third."""


class PathState(Enum):
    UNPROVEN = auto()  #: never answered
    UP = auto()  #: answers
    DOWN = auto()  #: answered once, not any more


class Kind(Enum):
    """What a probe is for."""

    SMALL = auto()  #: is the path alive?
    FULL = auto()  #: do the datagrams we send still pass?
    MTU = auto()  #: would larger ones?


class _Outstanding(NamedTuple):
    kind: Kind
    sent_at: float
    size: int


MAX_OVERDUE = 16  # probes
JUMP = 4  # a round trip that is so much shorter is no jitter: a queue is gone
PATIENT = 1.5  # round trips, after which an answer is late, if those are long themselves
SMALL_PROBE = 64  # bytes of the datagram: room for every header


class Path:
    """One way to the peer. `advance` says which probes to send."""

    def __init__(self, next_hop: NextHop, now: float, settings: PathSettings) -> None:
        self.next_hop = next_hop
        self.state = PathState.UNPROVEN
        self.rtt: float | None = None
        self.mtu = PathMtu(now)
        self.heard_at = float("-inf")
        """When an authentic record last came from there (direct ways only)."""
        self.answered_at = float("-inf")
        self.grace = 0.0
        """Seconds more that an answer may take, because we are late ourselves."""
        self.silent_factor = 1.0
        """How much more rarely we ask who does not answer, because many do not."""
        self.scale_factor = 1.0
        """How much more rarely than `probe_idle`, because there are many peers."""
        self._settings = settings
        self._outstanding: dict[int, _Outstanding] = {}
        self._overdue: dict[int, _Outstanding] = {}
        """Probes that count as lost, unless their answers come after all."""
        self._probe_at = now
        self._heartbeat_at = now
        self._poked_at = float("-inf")
        self._checked_at = float("-inf")
        self._tries = 0
        self._proved_at = float("-inf")
        """When the last of the probes was sent that have been answered."""
        self._backoff = settings.first_retry
        self._missing_since: float | None = None
        """When the first probe was sent after which nothing came."""
        self._suspect_since: float | None = None
        self._full_turn = False
        self._full_misses = 0
        self._recent: deque[bool] = deque(maxlen=20)
        self._up_from = now
        """What was sent before was lost on nobody: there was no path yet."""

    def __repr__(self) -> str:
        return f"<Path {self.next_hop.text} {self.state.name} {self.mtu.size}>"

    @property
    def loss(self) -> float:
        """Share of the last 20 probes that were not answered, since the path has worked."""
        return 1 - sum(self._recent) / len(self._recent) if self._recent else 0.0

    @property
    def datagram_bytes(self) -> int:
        return self.mtu.size

    @property
    def is_sound(self) -> bool:
        """It works, as far as we know: no probe is overdue."""
        return self.state is PathState.UP and self._missing_since is None

    def is_doubtful(self, now: float) -> bool:
        """It works no more, or has not answered for a while: use another one, if there is one."""
        if self.state is not PathState.UP:
            return True
        patience = max(self._settings.doubt_after, 2 * self._patience())
        return self._missing_since is not None and now >= self._missing_since + patience

    def is_waiting_for(self, number: int) -> bool:
        return number in self._outstanding or number in self._overdue

    @property
    def is_waiting(self) -> bool:
        """For an answer, even a late one."""
        return bool(self._outstanding or self._overdue)

    def poke(self, now: float) -> None:
        """There is reason to believe that it works: probe at once (once a second at the most)."""
        if self.state is not PathState.UP and now >= self._poked_at + self._settings.poke_every:
            self._poked_at = now
            self._backoff = self._settings.first_retry
            self._probe_at = min(self._probe_at, now)

    def restart(self, now: float) -> None:
        """Probe at once, whatever we think of it."""
        self._backoff = self._settings.first_retry
        self._probe_at = min(self._probe_at, now)

    def check(self, now: float) -> None:
        """There is reason to doubt that it still works: probe at once (twice a second at most)."""
        if self.state is not PathState.UP:
            self.poke(now)
        elif now >= self._checked_at + self._settings.check_every:
            self._checked_at = now
            self._probe_at = min(self._probe_at, now)

    def rest(self, now: float) -> None:
        """It is not to be probed for now: what was not answered so far says nothing later. When
        it is wanted again it is to be proved at once, however lately that was done before."""
        self._outstanding.clear()
        self._overdue.clear()
        self._missing_since = self._suspect_since = None
        self._probe_at = min(self._probe_at, now)

    def hurry(self, now: float) -> None:
        """It is in use now: the next probe is due as if it had been all the time."""
        self._probe_at = min(self._probe_at, self._heartbeat_at + self._settings.probe_in_use)
        self._probe_at = max(self._probe_at, now)

    def advance(self, now: float, in_use: bool) -> list[tuple[Kind, int]]:
        """Time has passed: the (kind, size) of probes to send now."""
        for number in [n for n, o in self._outstanding.items() if now >= self._expiry(o)]:
            self._overdue[number] = missed = self._outstanding.pop(number)
            if len(self._overdue) > MAX_OVERDUE:
                del self._overdue[next(iter(self._overdue))]
            self._missed(missed, now)
        if self._suspect_since is not None and now >= self._dead_at(self._suspect_since):
            self._die(now)
        due: list[tuple[Kind, int]] = []
        if now >= self._probe_at:
            due += self._heartbeat(in_use)
            self._heartbeat_at = now
            self._probe_at = after(now, self._interval(now, in_use))
        if self.state is PathState.UP and self._suspect_since is None:
            size = self.mtu.due(now)
            if size is not None:
                due.append((Kind.MTU, size))
        return due

    @property
    def is_hopeless(self) -> bool:
        """Probed often enough, and never answered."""
        return self._tries >= self._settings.hearsay_probes

    def sent(self, number: int, kind: Kind, size: int, now: float) -> None:
        self._tries += 1
        self._outstanding[number] = _Outstanding(kind, now, size)

    def answered(self, number: int, size: int, now: float) -> None:
        """The probe's answer came; it says that `size` bytes arrived."""
        is_late = number in self._overdue
        outstanding = self._outstanding.pop(number, None) or self._overdue.pop(number)
        self._tries = 0
        sample = max(now - outstanding.sent_at, 1e-6)
        if self.rtt is None or is_late or sample < self.rtt / JUMP:
            self.rtt = sample
        else:
            self.rtt += (sample - self.rtt) / 8
        self._recent.append(True)
        self._missing_since = self._suspect_since = None
        self.answered_at = now
        self._proved_at = max(self._proved_at, outstanding.sent_at)
        self._backoff = self._settings.first_retry
        if self.state is not PathState.UP:
            self.state = PathState.UP
            self._up_from = outstanding.sent_at
            self._probe_at = min(self._probe_at, now + self._settings.probe_in_use)
        if outstanding.kind is Kind.FULL:
            self._full_misses = 0
        self.mtu.acknowledged(min(size, outstanding.size), now)

    def refused(self, number: int, now: float) -> None:
        """Our kernel said that the probe is too large for the interface."""
        outstanding = self._outstanding.pop(number, None) or self._overdue.pop(number)
        if outstanding.kind is Kind.MTU:
            self.mtu.refused(outstanding.size, now)
        else:
            if self.mtu.size > BASE:
                self.mtu.black_hole(now)
            self._full_misses = 1  # small probes must go on telling whether the path is alive

    def narrowed(self, now: float) -> None:
        """Less passes than before, as others found out: take no risk, and ask anew."""
        if self.mtu.size > BASE:
            self.mtu.black_hole(now)

    def next_deadline(self) -> Deadline:
        soonest = [Deadline(self._probe_at, f"probe {self.next_hop.text}")]
        if self._outstanding:
            first = min(self._expiry(o) for o in self._outstanding.values())
            soonest.append(Deadline(first, f"answer of {self.next_hop.text}"))
        if self._suspect_since is not None:
            dead_at = self._dead_at(self._suspect_since)
            soonest.append(Deadline(dead_at, f"give up {self.next_hop.text}"))
        elif self.state is PathState.UP:
            soonest.append(self.mtu.next_deadline())
        return min(soonest)

    # --- inside --------------------------------------------------------------------------

    def _expiry(self, outstanding: _Outstanding) -> float:
        return outstanding.sent_at + self._patience()

    def _patience(self) -> float:
        rtt = self.rtt or 0.3
        usual = max(self._settings.answer_timeout, min(3 * rtt, 2.0), PATIENT * rtt)
        return min(usual, self._settings.longest_patience) + self.grace

    def _dead_at(self, suspect_since: float) -> float:
        return suspect_since + max(self._settings.dead_after + self.grace, self._patience())

    def _pace(self, usual: float) -> float:
        """Seconds between probes while answers are missing. Where they come late the probes may be
        what they wait for, in a queue in front of a host that is too busy: no more of those."""
        late = min((self.rtt or 0.0) / 2, self._settings.probe_in_use)
        return max(usual, late) * self.silent_factor + self.grace

    def _heartbeat(self, in_use: bool) -> list[tuple[Kind, int]]:
        small, full = (Kind.SMALL, SMALL_PROBE), (Kind.FULL, self.mtu.size)
        if self.state is not PathState.UP:
            return [small]
        if self._full_misses or self._suspect_since is not None:
            # Both sizes are needed to tell a black hole from loss, and from a dead path.
            return [full, small]
        self._full_turn = not self._full_turn
        return [full if in_use or self._full_turn else small]

    def _interval(self, now: float, in_use: bool) -> float:
        s = self._settings
        if self.state is PathState.UP:
            if self._missing_since is not None and not self.is_doubtful(now):
                return self._pace(s.probe_missing)
            if self._suspect_since is not None or self._full_misses:
                return self._pace(s.probe_suspect)
            if in_use:
                return s.probe_in_use
            return min(s.probe_idle * self.scale_factor, s.longest_idle)
        pause = self._backoff
        self._backoff = min(self._backoff * s.retry_factor, s.longest_retry)
        return pause + self.grace

    def _missed(self, outstanding: _Outstanding, now: float) -> None:
        if outstanding.kind is Kind.MTU:
            return
        if self.state is not PathState.UP:
            return
        if outstanding.sent_at >= self._up_from:
            self._recent.append(False)
        # Whether the path has worked since then: a later probe was answered.
        is_overtaken = outstanding.sent_at <= self._proved_at
        if is_overtaken or self._missing_since is None:
            self._probe_at = min(self._probe_at, now)
        else:  # asked again at once already: from then on at a pace
            paced = self._heartbeat_at + self._pace(self._settings.probe_missing)
            self._probe_at = min(self._probe_at, max(now, paced))
        if not is_overtaken and self._missing_since is None:
            self._missing_since = outstanding.sent_at
        if outstanding.kind is Kind.FULL:
            self._full_misses += 1
            if self._full_misses >= self._settings.full_size_misses and self.mtu.size > BASE:
                self._full_misses = 0
                self.mtu.black_hole(now)
        elif not is_overtaken and self._suspect_since is None:
            self._suspect_since = self._missing_since

    def _die(self, now: float) -> None:
        self.state = PathState.DOWN
        self._missing_since = self._suspect_since = None
        self._full_misses = 0
        self._backoff = self._settings.first_retry
        self._probe_at = now
        self.mtu = PathMtu(now)
