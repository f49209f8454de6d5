"""How much CPU and memory did the tunnel take, and was the machine ours meanwhile? From /proc."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_KERNEL_THREADS = 2
"""The process whose children are the kernel's threads."""


class Process(NamedTuple):
    parent: int
    cpu: float
    """Seconds, user and system together."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used over an interval."""

    seconds: float
    tunnel: float
    """CPU seconds of the tunnel's processes and their children."""
    machine: float
    """CPU seconds of everything, the kernel's threads and interrupts too."""
    foreign: float
    """Cores that processes not started by us used on average: a figure taken in bad company."""


def processes() -> dict[int, Process]:
    """Every process there is, by its id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue  # it has just ended
            words = text[text.rindex(")") + 2 :].split()
            found[int(entry.name)] = Process(
                int(words[1]), (int(words[11]) + int(words[12])) / _TICK
            )
    return found


def family(roots: Iterable[int], among: Mapping[int, Process]) -> set[int]:
    """Those processes and all their descendants."""
    children = defaultdict(list)
    for pid, process in among.items():
        children[process.parent].append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in among and pid not in found:
            found.add(pid)
            todo += children[pid]
    return found


class Meter:
    """Starts when made; `read` says what was used since."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._at = time.monotonic()
        self._busy = _busy()
        self._before = processes()

    def read(self) -> Usage:
        seconds, busy, now = time.monotonic() - self._at, _busy(), processes()
        ours = family([os.getpid()], now) | {os.getppid()}
        strangers = now.keys() - ours - family([_KERNEL_THREADS], now)
        return Usage(
            seconds=seconds,
            tunnel=self._used(family(self._pids, now), now),
            machine=busy - self._busy,
            foreign=self._used(strangers, now) / seconds,
        )

    def per_process(self) -> list[float]:
        """CPU seconds of each of the tunnel's processes (without children), in their order."""
        now = processes()
        return [self._used([pid], now) for pid in self._pids]

    def _used(self, pids: Iterable[int], now: Mapping[int, Process]) -> float:
        nothing = Process(0, 0.0)
        return sum(now[pid].cpu - self._before.get(pid, nothing).cpu for pid in pids if pid in now)


def resident(pids: Iterable[int]) -> float:
    """MiB of memory that these processes and their descendants have resident."""
    return sum(_resident_kib(pid) for pid in family(pids, processes())) / 1024


def resident_side(tunnel: Mapping[str, tuple[int, ...]]) -> float | None:
    """MiB of the host that uses more; None for a tunnel without processes."""
    return max((resident(pids) for pids in tunnel.values()), default=None)


def _resident_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"^VmRSS:\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _busy() -> float:
    """CPU seconds of the whole machine since it started, idling and waiting left out."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICK
