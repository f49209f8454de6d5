"""How long was a container silent, while something happened to the way to another one?"""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.kit.standstills import MACHINE
from weave_py.lab.namespaces import Lab

INTERVAL = 0.01
_REPLY = re.compile(r"^\[([\d.]+)\] .*icmp_seq=(\d+) ", re.MULTILINE)
_SENT = re.compile(r"^(\d+) packets transmitted", re.MULTILINE)


@dataclass(slots=True)
class Trace:
    """What a ping every 10 ms saw; filled when it ends."""

    sent: int = 0
    replies: list[tuple[float, int]] = field(default_factory=list)
    """(When, which), in the order of arrival."""

    @property
    def lost(self) -> int:
        return self.sent - len({number for _, number in self.replies})

    @property
    def duplicates(self) -> int:
        counts = Counter(number for _, number in self.replies)
        return sum(counts.values()) - len(counts)

    @property
    def gap(self) -> float:
        """Seconds of the longest silence that cost something: from the last reply before the first
        of several requests in a row that were lost, to the next reply, less what is excused."""
        return max(
            (
                later - sooner - MACHINE.excused(sooner, later)
                for (sooner, a), (later, b) in pairwise(sorted(self.replies, key=lambda r: r[1]))
                if b - a > 1
            ),
            default=0.0,
        )

    def __str__(self) -> str:
        return (
            f"{self.sent} pings, {self.lost} lost, {self.duplicates} doubled, "
            f"longest gap {self.gap:.2f} s"
        )


@contextmanager
def pinging(
    lab: Lab, source: str, address: str, directory: Path, payload: int = 56
) -> Iterator[Trace]:
    """Ping every 10 ms while the block runs.

    `payload`: bytes in each. `directory`: for ping's output.
    """
    path = directory / f"ping-{source}-{address}.txt"
    argv = ["ping", "-n", "-D", "-i", str(INTERVAL), "-s", str(payload), address]
    trace = Trace()
    with path.open("wb") as log:
        process = lab.popen(source, argv, log=log)
        try:
            yield trace
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    text = path.read_text()
    trace.replies = [(float(at), int(number)) for at, number in _REPLY.findall(text)]
    sent = _SENT.search(text)
    assert sent is not None, text[-500:]
    # The last ones may have been on their way when ping was told to stop.
    trace.sent = int(sent[1])
    last = max((number for _, number in trace.replies), default=0)
    if trace.sent - last <= 2:
        trace.sent = last
