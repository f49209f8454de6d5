"""How hard is it for us at the moment? The local load, which no engine should blame others for.

On a machine that has too much to do a router reads what others said long after they said it, and
so do those that share the machine with it. Nobody is dead then, only late. How much later than it
asked for an engine is woken tells how bad it is: by that much everything becomes more patient, and
whatever makes more work waits. And if many do not answer at once, it is hardly they who have a
problem: to ask them all more and more often would make it worse.
"""

from __future__ import annotations

NOTABLE = 0.02  # seconds; less than that is how schedulers are
MOST = 2.0  # seconds; whoever stood still for longer begins anew, rather than wait for ever
HALF_LIFE = 2.0  # seconds in which an observation loses half its weight
FEW = 4  # peers who may be silent at once before we ask them less often
SOME = 8  # links; of more than that each is looked after less often while it is idle


class LocalLoad:
    """Shared by all engines of a router."""

    __slots__ = ("_at", "_worst", "links", "silent")

    def __init__(self) -> None:
        self.links = 0
        """How many peers we look after."""
        self.silent = 0
        """How many peers miss an answer at the moment."""
        self._worst = 0.0
        self._at = 0.0

    def late(self, seconds: float, now: float) -> None:
        """We were woken so long after the time that we had asked for."""
        seconds = min(seconds, MOST)
        if seconds > NOTABLE and seconds > self.delay(now):
            self._worst, self._at = seconds, now

    def delay(self, now: float) -> float:
        """Seconds by which we have to expect to be late now; 0 if that is not worth a thought."""
        if not self._worst:
            return 0.0
        delay: float = self._worst * 0.5 ** ((now - self._at) / HALF_LIFE)
        if delay <= NOTABLE:
            self._worst = 0.0
            return 0.0
        return delay

    @property
    def silent_factor(self) -> float:
        """By what to divide the pace of questions to those who do not answer."""
        return max(1.0, self.silent / FEW)

    @property
    def scale_factor(self) -> float:
        """By what to divide the pace at which idle peers are looked after: what a router costs
        that has nothing to do should not grow with the network."""
        return max(1.0, self.links / SOME)
