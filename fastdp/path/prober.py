"""When do we send probes, and which? Fast while there is something to prove or to doubt.

Nothing proven: bursts of a full-sized and a small probe, ever more rarely while nobody answers.
Proven: by use. In use probes are full-sized, since those notice all that can happen to data; once
one is missing both sizes go, quickly, to tell a dead path from one that has become narrower.
"""

from __future__ import annotations

from fastdp.path.evidence import Evidence, Series
from fastdp.path.settings import FastSettings
from weave_py.model.deadlines import after
from weave_py.model.fast import FastStatus
from weave_py.model.load import LocalLoad
from weave_py.wire import fast_probe
from weave_py.wire.fast_probe import FastProbe


class ProbeTimer:
    """While nothing is proven, bursts, ever more rarely; afterwards by use (the path says)."""

    def __init__(self, settings: FastSettings, now: float) -> None:
        self.due = now
        self.sent_at = float("-inf")
        self.is_unanswered = False
        """Whether the last burst was."""
        self._settings = settings
        self._left = settings.burst
        self._step = 0
        self._tries = 0

    def hurry(self, now: float) -> None:
        """There is new hope: start over, at once."""
        self.due = min(self.due, max(now, self.sent_at + self._settings.probe_suspect))
        self._left = self._settings.burst
        self._step = self._tries = 0
        self.is_unanswered = False

    def soon(self, at: float) -> None:
        self.due = min(self.due, at)

    def pause(self, until: float) -> None:
        self.due = until

    def answered(self, now: float) -> None:
        """A probe was acknowledged, but that is no proof yet."""
        self.is_unanswered = False
        if self._tries < self._settings.proving_tries:
            self.soon(max(now, self.sent_at + self._settings.probe_proving))

    def sent(self, now: float, pace: float | None) -> None:
        """The next one follows by this pace. None: it is to be proven."""
        s = self._settings
        self.sent_at = now
        if pace is not None:
            self.due = after(now, pace)
            self._left = s.burst
            self._step = self._tries = 0
            self.is_unanswered = False
            return
        self._tries = 1 if self._tries >= s.proving_tries else self._tries + 1
        self._left -= 1
        if self._left > 0:
            self.due = now + s.probe_proving
            return
        self._left = s.burst
        self.due = now + s.backoff[self._step]
        self._step = min(self._step + 1, len(s.backoff) - 1)
        # Acknowledged meanwhile: `answered` brings the next one forward, until the tries are up.
        self.is_unanswered = True


class Prober:
    """Makes the probes of one path."""

    def __init__(
        self,
        evidence: Evidence,
        incarnation: int,
        mtu: int,
        settings: FastSettings,
        load: LocalLoad,
        now: float,
    ) -> None:
        self._load = load
        self.timer = ProbeTimer(settings, now)
        self._evidence = evidence
        self._incarnation = incarnation
        self._mtu = mtu
        self._settings = settings
        self._full_turn = False

    def is_doubtful(self, now: float) -> bool:
        """Whether a probe is missing, even if no status says so yet."""
        doubt = self._evidence.doubt_at()
        return self._evidence.is_suspect or (doubt is not None and now >= doubt)

    def touched(self, now: float) -> None:
        """Frames flow, perhaps after a pause: check, unless we have just done so."""
        self.timer.soon(max(now, self.timer.sent_at + self._settings.touch_after))

    def frames(self, peer: FastStatus, is_lively: bool, in_use: bool, now: float) -> list[bytes]:
        """The probes to send now."""
        pace = self._pace(is_lively, in_use, now)
        if pace is not None:
            self.timer.soon(after(self.timer.sent_at, pace))
        if now < self.timer.due:
            return []
        self._full_turn = not self._full_turn
        is_idle = pace is not None and pace >= self._settings.probe_idle
        needs_both = pace is None or self.is_doubtful(now)
        frames = []
        if needs_both or not is_idle or self._full_turn:
            size = fast_probe.full_bytes(min(self._mtu, peer.mtu))
            frames.append(self._frame(self._evidence.full, size, peer.cookie, now))
        if needs_both or is_idle:
            small = fast_probe.SMALL_BYTES
            frames.append(self._frame(self._evidence.small, small, peer.cookie, now))
        self.timer.sent(now, pace)
        return frames

    def _pace(self, is_lively: bool, in_use: bool, now: float) -> float | None:
        """Seconds between probes; None while there is something to prove."""
        s = self._settings
        if not self._evidence.is_proven:
            return None
        if is_lively and self._evidence.is_suspect:
            return s.probe_suspect
        if is_lively and (in_use or self.is_doubtful(now)):
            return s.probe_in_use
        return min(s.probe_idle * self._load.scale_factor, s.longest_probe_idle)

    def _frame(self, series: Series, size: int, cookie: bytes, now: float) -> bytes:
        probe = FastProbe(series.send(now), self._incarnation, series is self._evidence.full)
        return fast_probe.encode(probe, size, cookie)
