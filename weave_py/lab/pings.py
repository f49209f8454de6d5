"""Who reaches whom, how fast? Pings between all containers at once, and a table of the answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from weave_py.lab.namespaces import Lab
from weave_py.model.errors import HostError

AT_ONCE = 12
"""Pings running at a time: enough to be quick, few enough for a small machine."""

_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?")
_TIMES = re.compile(r"min/avg/max(?:/mdev)? = ([\d.]+)/([\d.]+)/([\d.]+)")


@dataclass(frozen=True, slots=True)
class PingResult:
    """What one run of ping said."""

    sent: int
    received: int
    duplicates: int = 0
    rtt: float | None = None
    """Seconds, the average; None without an answer."""

    @property
    def reached(self) -> bool:
        return self.received > 0

    @property
    def loss(self) -> float:
        """Share of requests without an answer, 0–1."""
        return 1 - self.received / self.sent if self.sent else 0.0

    @property
    def text(self) -> str:
        if self.rtt is None:
            return "lost" if not self.reached else "reached"
        partly = f" ({self.received}/{self.sent})" if self.received < self.sent else ""
        return f"{self.rtt * 1e3:.2f} ms{partly}"


def parse(output: str) -> PingResult:
    """Read the summary of iputils' `ping`; HostError if there is none."""
    counts = _COUNTS.search(output)
    if counts is None:
        raise HostError(f"ping said nothing we understand: {output.strip()[:80]!r}")
    times = _TIMES.search(output)
    return PingResult(
        sent=int(counts[1]),
        received=int(counts[2]),
        duplicates=int(counts[3] or 0),
        rtt=float(times[2]) / 1e3 if times else None,
    )


def ping(
    lab: Lab, source: str, address: str, *, count: int = 1, options: Sequence[str] = ()
) -> PingResult:
    """Ping `address` from a host or container, one request every 0.2 s, 1 s for the last answer."""
    words = ["ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W", "1", *options, address]
    done = lab.exec(source, words, check=False, timeout=count * 0.2 + 15)
    if "Network is unreachable" in done.stderr:  # no address, no route: nothing was sent
        return PingResult(sent=count, received=0)
    return parse(done.stdout or done.stderr)


def ping_pairs(
    lab: Lab,
    addresses: Mapping[str, str],
    wanted: Iterable[tuple[str, str]] | None = None,
    *,
    count: int = 1,
) -> dict[tuple[str, str], PingResult]:
    """Ping between all (ordered) pairs of the names in `addresses`, or only the `wanted` ones."""
    todo = list(all_pairs(addresses) if wanted is None else wanted)
    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    try:
        jobs = [
            pool.submit(partial(ping, lab, source, addresses[target], count=count))
            for source, target in todo
        ]
        return {pair: job.result() for pair, job in zip(todo, jobs, strict=True)}
    finally:  # an interrupt must not wait for pings that did not even start
        pool.shutdown(cancel_futures=True)


def all_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Every ordered pair of two different names."""
    listed = list(names)
    return [(a, b) for a in listed for b in listed if a != b]


def matrix(results: Mapping[tuple[str, str], PingResult]) -> str:
    """A table for people: from the row's name to the column's."""
    names = list(dict.fromkeys(name for pair in results for name in pair))
    rows = [["from \\ to", *names]]
    for source in names:
        cells = [
            "·" if source == target else _cell(results.get((source, target))) for target in names
        ]
        rows.append([source, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _cell(result: PingResult | None) -> str:
    return "" if result is None else result.text
