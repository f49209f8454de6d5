"""Does anything but a log line or a displayed date depend on the wall clock? It jumps.

Engines are given the time (import-linter sees to that); here the rest is read: whoever asks the
wall clock is on the list below, with the reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastdp
import weave_py

ALLOWED = {
    "weave_py/observe/log.py": {"fromtimestamp"},  # when a line was written
    "weave_py/api/router_routes.py": {"now"},  # when a report was made
    "weave_py/lab/nat_pairs.py": {"now"},  # compares the lines of logs
}
WALL = {
    *("time", "time_ns", "ctime", "localtime", "gmtime", "strftime", "mktime"),
    *("now", "utcnow", "today", "fromtimestamp", "utcfromtimestamp", "CLOCK_REALTIME"),
}
OWNERS = {"time", "datetime", "date", "dt"}
ROOTS = [Path(package.__file__ or "").parent for package in (weave_py, fastdp)]
FILES = sorted(path for root in ROOTS for path in root.rglob("*.py"))


def wall_clocks(source: str) -> set[str]:
    """Names by which a module asks the wall clock."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            found |= {alias.name for alias in node.names} & WALL
        if isinstance(node, ast.Attribute) and node.attr in WALL:
            owner = node.value
            last = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            found |= {node.attr} if last in OWNERS else set()
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time\ntime.time()", {"time"}),
        ("from time import time", {"time"}),
        ("import time\ntime.clock_gettime(time.CLOCK_REALTIME)", {"CLOCK_REALTIME"}),
        ("from datetime import datetime\ndatetime.now()", {"now"}),
        ("import datetime\ndatetime.datetime.utcnow()", {"utcnow"}),
        ("import time\ntime.monotonic(); self.now", set()),
    ],
)
def test_the_reader_finds_them(source: str, expected: set[str]) -> None:
    assert wall_clocks(source) == expected


def test_nobody_else_asks_the_wall_clock() -> None:
    assert len(FILES) > 100
    asked = {
        str(path.relative_to(path.parents[len(path.relative_to(root).parts)])): names
        for root in ROOTS
        for path in root.rglob("*.py")
        if (names := wall_clocks(path.read_text()))
    }
    assert asked == ALLOWED
