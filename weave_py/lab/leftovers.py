"""Which namespaces belong to a lab, whose owner may be gone, and how are they removed?"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from weave_py.lab import commands
from weave_py.model.errors import HostError

NETNS_DIRECTORY = Path("/run/netns")

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NAME = re.compile(r"wv([0-9a-z]+)(?:\.[0-9]+)?-[a-z0-9]+")


def prefix(pid: int, serial: int) -> str:
    """What the namespaces of a process's first, second, … lab begin with: `wv1z4-`, `wv1z4.1-`."""
    return f"wv{base36(pid)}-" if serial == 0 else f"wv{base36(pid)}.{serial}-"


def base36(number: int) -> str:
    """A non-negative number in letters that `int(text, 36)` reads back."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if number == 0:
            return text


def belongs(name: str, prefix: str | None) -> bool:
    """Whether a namespace is of the lab with this prefix, or (None) of a lab nobody owns now."""
    if prefix is not None:
        return name.startswith(prefix)
    match = _NAME.fullmatch(name)
    return match is not None and not Path(f"/proc/{int(match[1], 36)}").exists()


def present(prefix: str | None) -> tuple[str, ...]:
    """The namespaces of that lab (or of labs nobody owns) that exist now."""
    try:
        names = sorted(entry.name for entry in NETNS_DIRECTORY.iterdir())
    except FileNotFoundError:
        return ()
    return tuple(name for name in names if belongs(name, prefix))


def processes_in(names: Sequence[str]) -> tuple[int, ...]:
    """Ids of what runs in these namespaces, ourself excepted."""
    found: set[int] = set()
    for name in names:
        listed = commands.run(["ip", "netns", "pids", name], check=False).stdout
        found.update(int(word) for word in listed.split())
    return tuple(sorted(found - {os.getpid()}))


def sweep(prefix: str | None) -> tuple[str, ...]:
    """Kill what runs in the namespaces of that lab, delete them, and return their names."""
    names = present(prefix)
    _kill_inside(names)
    for name in names:
        with contextlib.suppress(HostError):  # somebody else was faster
            commands.run(["ip", "netns", "del", name])
    return names


def _kill_inside(names: Sequence[str]) -> None:
    """SIGKILL, then wait (2 s at most) until they are gone."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        inside = processes_in(names)
        if not inside:
            return
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
