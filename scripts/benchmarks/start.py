"""`scripts/bench start`: what does a router cost that does nothing yet? To start it, and at rest.

One router at a time, in a namespace of its own, with nobody to call. Memory is read some seconds
after it listens, of the process alone, with what it shares with others counted whole (RSS) and in
part (PSS). Modules, and what importing them takes, are counted in one more start at the end: to
count slows it down.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from pathlib import Path

from scripts.benchmarks.field import Field, open_field
from scripts.benchmarks.meters import processes
from scripts.benchmarks.routers import PASSWORD, Routers
from scripts.benchmarks.tables import Sample, bars, heading, markdown, median, number, save, say
from weave_py.api.client import RouterClient
from weave_py.config.resolve import HttpAddress
from weave_py.lab.hosts import Host
from weave_py.model.errors import HostError

START_SECONDS = 20.0
POLL_SECONDS = 0.002
HOST = "h1"
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| *(\S+)$", re.MULTILINE)
_PACKAGES_SHOWN = 8
RSS_MIB, CPU_SECONDS = 45, 0.6
"""What we aim at."""


def main(argv: list[str]) -> int:
    options = _parse(argv)
    password = None if options.open else PASSWORD
    with open_field("full", 2) as field:
        routers = Routers(field, password=password, fastdp=True)
        samples = [_start(field, routers.hosts[HOST], options) for _ in range(options.starts)]
        field.lab.daemon_environment["PYTHONPROFILEIMPORTTIME"] = "1"
        imports = _imports(field, routers.hosts[HOST])
    command = " ".join(["scripts/bench start", *argv])
    save(options.json, command, [*samples, dict(imports)])
    print(report(samples, imports, command))
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="three starts: does it work?")
    add("--starts", type=int, default=15, help="how many [15]")
    add("--rest", type=float, default=5.0, help="seconds from listening to looking at memory [5]")
    add(
        "--open", action="store_true", help="without a password, whose strengthening takes its time"
    )
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    if options.quick:
        options.starts, options.rest = 3, 1.0
    return options


def _start(field: Field, host: Host, options: argparse.Namespace) -> Sample:
    sample = _listening(field, host)
    time.sleep(options.rest)
    assert host.pid is not None
    sample |= _memory(host.pid)
    host.stop()
    said = (f"{name} {value:.3f}" for name, value in sample.items())
    say(", ".join(said))
    return sample


def _listening(field: Field, host: Host) -> Sample:
    """Start it; what it took until it listens: everything it needs is there then."""
    client = RouterClient(HttpAddress("", 0, str(field.directory / f"{host.name}.sock")))
    began = time.monotonic()
    host.launch([])
    while not client.listening():
        if not host.running or time.monotonic() > began + START_SECONDS:
            raise HostError(f"the router does not listen; its log ends: {host.log_end()}")
        time.sleep(POLL_SECONDS)
    wall = time.monotonic() - began
    assert host.pid is not None
    return {"wall_s": wall, "cpu_s": _cpu(host.pid)}


def _cpu(pid: int) -> float:
    """Seconds, its children's (nft) too."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    words = stat[stat.rindex(")") + 2 :].split()
    children = (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")
    return processes()[pid].cpu + children


def _memory(pid: int) -> Sample:
    """MiB, from smaps_rollup (proc(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(Rss|Pss|Anonymous): +(\d+) kB$", text, re.MULTILINE))
    return {f"{name.lower()}_mib": int(kib) / 1024 for name, kib in found.items()}


def _imports(field: Field, host: Host) -> Counter[str]:
    """What one more start imports."""
    host.log_path.unlink(missing_ok=True)
    _listening(field, host)
    host.stop()
    return parse_imports(host.log_path.read_text(errors="replace"))


def parse_imports(log: str) -> Counter[str]:
    """Module → microseconds that its own body took, as `python -X importtime` writes it."""
    return Counter({name: int(micros) for micros, name in _IMPORT.findall(log)})


def report(samples: list[Sample], imports: Counter[str], command: str) -> str:
    """Medians, with the best and the worst, and the packages that take longest to import."""
    rows = []
    for what, name, digits in (
        ("CPU to listening, s", "cpu_s", 2),
        ("wall clock to listening, s", "wall_s", 2),
        ("RSS at rest, MiB", "rss_mib", 1),
        ("PSS at rest, MiB", "pss_mib", 1),
        ("of it anonymous, MiB", "anonymous_mib", 1),
    ):
        values = [sample[name] for sample in samples]
        spread = (median(values), min(values), max(values))
        rows.append([what, *(number(value, digits) for value in spread)])
    cpu, rss = (median(s[name] for s in samples) for name in ("cpu_s", "rss_mib"))
    aims = [
        ("CPU to listening, s (aim)", cpu, "≤", CPU_SECONDS),
        ("RSS at rest, MiB (aim)", rss, "≤", RSS_MIB),
    ]
    tables = [
        heading("A start, and a router at rest", command),
        f"{len(samples)} starts.\n",
        markdown(["a router with nobody to call", "median", "least", "most"], rows),
        "",
        bars("weave-py", aims),
        "",
        _packages(imports),
    ]
    return "\n".join(tables)


def _packages(imports: Counter[str]) -> str:
    """Ours, each other that takes long, and the rest."""
    micros: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for name, took in imports.items():
        package = name.partition(".")[0]
        micros[package] += took
        modules[package] += 1
    shown = [name for name, _ in micros.most_common(_PACKAGES_SHOWN)]
    rows = [[name, str(modules[name]), number(micros[name] / 1000, 1)] for name in shown]
    others = [name for name in micros if name not in shown]
    rest = sum(micros[name] for name in others)
    rows.append(["all others", str(sum(modules[n] for n in others)), number(rest / 1000, 1)])
    rows.append(["together", str(len(imports)), number(imports.total() / 1000, 1)])
    return markdown(["imported", "modules", "ms (profiled)"], rows)
