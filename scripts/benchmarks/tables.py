"""How are samples reported? Medians in Markdown tables, and everything in a JSON file."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weave_py import __version__

Sample = dict[str, Any]


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None when there are none."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def number(value: float | None, digits: int = 0, unit: str = "", *, scale: float = 1) -> str:
    """For people: `12,345.6 ms`, a dash for nothing. `scale` 100 makes percent of shares."""
    return "–" if value is None else f"{value * scale:,.{digits}f}{unit}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def bars(name: str, rows: Iterable[tuple[str, float | None, str, float]]) -> str:
    """What is asked of `name`, and whether it is met: (what, value, `≥` or `≤`, bar) a line."""
    return markdown(
        [name, "measured", "bar", "met"],
        (
            [what, _figure(value), f"{sign} {bar:g}", _met(value, sign, bar)]
            for what, value, sign, bar in rows
        ),
    )


def machine() -> dict[str, Any]:
    """On what was measured, and which version of us."""
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": found[1] if found else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "version": __version__,
        "commit": _commit(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def heading(title: str, command: str) -> str:
    """What a table needs above it to be believed."""
    m = machine()
    where = f"{m['cpus']} × {m['cpu']}, Linux {m['kernel']}, Python {m['python']}"
    return f"## {title}\n\n`{command}`, {m['when']}, commit {m['commit']}, {where}.\n"


def errors(samples: Iterable[Sample]) -> str:
    """The samples that failed, a line each; empty when all went well."""
    failed = [sample for sample in samples if "error" in sample]
    lines = [
        f"* {sample['contestant']}, {sample['block']}, round {sample['round']}: {sample['error']}"
        for sample in failed
    ]
    return "\n".join(["", "Failed:", "", *lines]) if lines else ""


def save(path: Path | None, command: str, samples: Sequence[Sample]) -> None:
    """Every sample to a JSON file, if one is wanted."""
    if path is not None:
        document = {"machine": machine(), "command": command, "samples": samples}
        path.write_text(json.dumps(document, indent=1) + "\n")


def say(text: str) -> None:
    """Progress; not part of the report."""
    print(text, file=sys.stderr, flush=True)


def _figure(value: float | None) -> str:
    """Shares to a thousandth; of what is larger nobody wants to see that."""
    return number(value, 3 if value is not None and 0 < abs(value) < 10 else 0)


def _met(value: float | None, sign: str, bar: float) -> str:
    if value is None:
        return "–"
    return "yes" if (value >= bar if sign == "≥" else value <= bar) else "no"


def _commit() -> str:
    argv = ["git", "-C", str(Path(__file__).parents[2]), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
