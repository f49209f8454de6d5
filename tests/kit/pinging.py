"""How long was it that nothing got through? Pings all the time, and when their answers came."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.standstills import MACHINE, clock
from tests.kit.waiting import until
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import PingResult, parse

INTERVAL = 0.05


class Pinging:
    """`source` pings an address every 50 ms while the context lasts."""

    def __init__(
        self, lab: Lab, source: str, address: str, log: Path, options: Sequence[str] = ()
    ) -> None:
        self._lab = lab
        self._source = source
        self._log = log
        self._words = ["ping", "-n", "-D", "-i", str(INTERVAL), *options, address]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = self._lab.popen(self._source, self._words, log=output)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def answers(self) -> list[float]:
        """When each answer came, on `clock`."""
        return [moment for moment, _ in self._answers()]

    def _answers(self) -> list[tuple[float, int]]:
        pattern = r"\[([\d.]+)\] \d+ bytes from .*? icmp_seq=(\d+)"
        found = re.findall(pattern, self._log.read_text())
        return [(float(moment), int(number)) for moment, number in found]

    def wait_answer(self, since: float, seconds: float, count: int = 1) -> float:
        """Until that many answers came after `since`; how long after it the first one did."""

        def enough() -> list[float]:
            after = [moment for moment in self.answers if moment > since]
            return after if len(after) >= count else []

        return until(enough, seconds, f"{' '.join(self._words)} is answered")[0] - since

    def outage(self, since: float, before: float | None = None) -> float:
        """The longest time without an answer that began after `since` (an interval before it, to
        be exact) and ended before `before` (or now), less what is excused."""
        end = clock() if before is None else before
        times = [t for t in self.answers if since - INTERVAL <= t <= end]
        return max(b - a - MACHINE.excused(a, b) for a, b in pairwise([since, *times, end]))

    def loss(self, since: float, before: float) -> float:
        """Share of the pings between the first and the last answer of that time without one."""
        numbers = {number for moment, number in self._answers() if since <= moment <= before}
        return 1 - len(numbers) / (max(numbers) - min(numbers) + 1) if numbers else 1.0

    @property
    def lost(self) -> int:
        """Pings without an answer although later ones have theirs. (The last may be under way.)"""
        numbers = {number for _, number in self._answers()}
        return max(numbers) - min(numbers) + 1 - len(numbers)

    def stop(self) -> PingResult:
        """What it says in the end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(5)
        return parse(self._log.read_text())

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
