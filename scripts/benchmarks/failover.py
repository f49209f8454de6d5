"""What do containers notice when the fast path is cut one way, and when it comes back?

A ping every 10 ms runs through both. The cut is made between the hosts, and nobody is told.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

from scripts.benchmarks.field import Field, Tunnel
from scripts.benchmarks.measures import Figures
from weave_py.model.errors import HostError
from weave_py.model.fast import VXLAN_PORT

EVERY_SECONDS = 0.01
BEFORE_SECONDS, AFTER_SECONDS = 0.5, 0.5
FALL_SECONDS, BACK_SECONDS = 10.0, 60.0
"""The most that is waited for."""
POLL_SECONDS = 0.02
_ANSWER = re.compile(r"^\[([\d.]+)\] \d+ bytes from .* icmp_seq=(\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back of a row of pings."""

    lost: int
    """Of those up to the last that was answered: a later one may still have been on its way."""
    doubled: int
    silence: float
    """Seconds, the longest between two answers."""


def parse(output: str) -> Answers:
    """Read what `ping -D` printed; HostError unless there are at least two answers."""
    found = [(float(at), int(sequence)) for at, sequence in _ANSWER.findall(output)]
    if len(found) < 2:
        raise HostError(f"ping had {len(found)} answer(s): {output.strip()[-200:]!r}")
    times = Counter(sequence for _, sequence in found)
    return Answers(
        lost=max(times) - len(times),
        doubled=len(found) - len(times),
        silence=max(later - earlier for (earlier, _), (later, _) in pairwise(found)),
    )


def failover(field: Field, tunnel: Tunnel, source: str, target: str) -> Figures:
    """Drop what `source` sends to `target` by VXLAN until the sleeve has taken over; mend it."""
    tunnel.check()
    with _pinging(field, tunnel) as falling:
        cut = field.lab.block(source, target, protocol="udp", port=VXLAN_PORT, both_ways=False)
        _wait(lambda: not _is_on(tunnel), FALL_SECONDS, "the fast path was not left")
    with _pinging(field, tunnel) as rising:
        mended_at = time.monotonic()
        field.lab.heal(*cut)
        _wait(lambda: _is_on(tunnel), BACK_SECONDS, "the fast path did not come back")
        back_s = time.monotonic() - mended_at
    fall, rise = falling[0], rising[0]
    return {
        "gap_ms": fall.silence * 1e3,
        "fall_lost": fall.lost,
        "fall_doubled": fall.doubled,
        "rise_lost": rise.lost,
        "rise_doubled": rise.doubled,
        "back_s": back_s,
    }


def _is_on(tunnel: Tunnel) -> bool:
    with suppress(HostError):
        tunnel.check()
        return True
    return False


def _wait(test: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            raise HostError(f"{otherwise} in {seconds:g} s")
        time.sleep(POLL_SECONDS)


@contextmanager
def _pinging(field: Field, tunnel: Tunnel) -> Iterator[list[Answers]]:
    """A ping that runs a little longer than the block, both ends; then its answers are there."""
    path = field.directory / "pings"
    found: list[Answers] = []
    with path.open("wb") as log:
        words = f"ping -n -D -i {EVERY_SECONDS:g} {tunnel.address}"
        process = field.lab.popen(tunnel.source, words.split(), log=log)
        try:
            time.sleep(BEFORE_SECONDS)
            yield found
            time.sleep(AFTER_SECONDS)
        finally:
            _interrupt(process)
    found.append(parse(path.read_text()))


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
