"""What happened, in order, so that a person can read it? What routers log, and what we do to them.

    12.340  h17  connection established  connection=->10.0.0.1:6783 peer=8a:3e:…(h1)
    12.500  !    cut h3 - h9

Times are seconds since the start. The last lines are kept for when something goes wrong; with a
sink all go there too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from weave_py.sim.host import Logged, SimHost

KEPT = 60
DEBUG = 10

Sink = Callable[[str], object]


class Trace:
    """Collects lines. `sink` takes each, with its line end."""

    def __init__(self, start: float, sink: Sink | None = None) -> None:
        self.recent: deque[str] = deque(maxlen=KEPT)
        self._start = start
        self._sink = sink

    def logged(self, host: SimHost, entry: Logged) -> None:
        """A router logs something."""
        if entry.level > DEBUG:
            fields = " ".join(f"{key}={value}" for key, value in entry.fields.items())
            self._line(entry.at, host.engine.nickname, f"{entry.event}  {fields}".rstrip())

    def did(self, now: float, what: str) -> None:
        """The scenario does something to the network."""
        self._line(now, "!", what)

    def _line(self, now: float, who: str, what: str) -> None:
        line = f"{now - self._start:9.3f}  {who:6} {what}"
        self.recent.append(line)
        if self._sink is not None:
            self._sink(line + "\n")
