"""How long must a path that fell stay on the sleeve? Longer, the more often it fell lately.

So a path that flaps costs its containers ever less.
"""

from __future__ import annotations

from collections import deque

from fastdp.path.settings import FastSettings

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


class MtuPause:
    """Full-sized frames do not pass: when is the next time to try? Ever later."""

    def __init__(self, settings: FastSettings) -> None:
        self.until = float("-inf")
        self._steps = settings.mtu_retry
        self._step = 0

    def narrow(self, now: float) -> None:
        """They did not pass, once more."""
        self.until = now + self._steps[self._step]
        self._step = min(self._step + 1, len(self._steps) - 1)

    def void(self) -> None:
        """Something is different now: try at once."""
        self.until = float("-inf")

    def passed(self) -> None:
        self._step = 0
