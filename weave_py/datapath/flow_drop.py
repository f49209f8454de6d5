"""Who is told that a queue stands? Each flow in it, once a round, by the loss of a segment.

One lost packet tells one TCP connection to slow down. If a hundred of them fill the queue, a loss
now and then tells hardly any of them before it overflows, and then whole super-frames get lost,
which is all that some of them had under way. So when the queue's law (`link.standing`) says that it
is time, each flow loses one segment: the first that it sends.
"""

from __future__ import annotations

from weave_py.datapath.super_frame import examine, shorten

ENOUGH = 16
"""Super-frames of flows that know already: so many, and the round is over."""
MAX_FLOWS = 1024


class FlowDrop:
    """Of one queue. `begin` a round; while `is_on`, show it each frame."""

    __slots__ = ("_known", "_told", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._told: set[bytes] = set()
        self._known = 0

    def begin(self) -> None:
        self.is_on = True
        self._told.clear()
        self._known = 0

    def end(self) -> None:
        """The queue stands no more."""
        self.is_on = False

    def cut(self, plain: memoryview, at: int, size: int) -> int:
        """Take the last segment off the frame `plain[at : at + size]` if its flow is to be told:
        its size after that, or 0 if it stays as it is."""
        cut = examine(plain, at, size)
        if cut is None:
            return 0
        flow = cut.flow
        if flow in self._told or len(self._told) >= MAX_FLOWS:
            self._known += 1
            self.is_on = self._known < ENOUGH
            return 0
        less = shorten(plain, at, cut)
        if less:
            self._told.add(flow)
        return less
