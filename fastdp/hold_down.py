"""How long must a path that fell stay on the sleeve? Longer, the more often it fell lately.

So a path that flaps costs its containers ever less.
"""

from __future__ import annotations

from collections import deque

from fastdp.settings import FastSettings

_REMEMBERED = 16


class HoldDown:
    def __init__(self, settings: FastSettings) -> None:
        self.until = float("-inf")
        self._settings = settings
        self._falls: deque[float] = deque(maxlen=_REMEMBERED)

    def fell(self, now: float) -> None:
        s = self._settings
        while self._falls and now >= self._falls[0] + s.fall_memory:
            self._falls.popleft()
        self.until = now + min(s.hold_down * 2 ** len(self._falls), s.longest_hold_down)
        self._falls.append(now)

    def holds(self, now: float) -> bool:
        return now < self.until
