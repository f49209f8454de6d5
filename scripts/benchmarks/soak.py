"""`scripts/bench soak`: does a router's memory grow while the tunnel runs at its full rate?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from scripts.benchmarks import contestants
from scripts.benchmarks.field import open_field
from scripts.benchmarks.measures import Figures, require_tools, start_ms, tcp
from scripts.benchmarks.meters import resident
from scripts.benchmarks.tables import Sample, heading, markdown, number, save, say


def main(argv: list[str]) -> int:
    options = _parse(argv)
    require_tools()
    samples, load = _soak(options)
    command = " ".join(["scripts/bench soak", *argv])
    save(options.json, command, [*samples, load])
    print(report(samples, load, command))
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="ten seconds: does it work?")
    add("--minutes", type=float, default=10.0, help="how long [10]")
    add("--every", type=float, default=10.0, help="seconds between two looks at memory [10]")
    add("--flows", type=int, default=1, help="TCP streams, one way [1]")
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    if options.quick:
        options.minutes, options.every = 1 / 6, 1.0
    return options


def _soak(options: argparse.Namespace) -> tuple[list[Sample], Figures]:
    """(what was resident when, what iperf3 says of the load)"""
    with open_field("full", 2) as field, ThreadPoolExecutor(max_workers=1) as pool:
        tunnel = contestants.start_weave(field)
        start_ms(field, tunnel)
        seconds = options.minutes * 60
        load = pool.submit(tcp, field, tunnel, seconds, flows=options.flows)
        return _watch(tunnel.processes, load, options.every), load.result()


def _watch(
    processes: Mapping[str, tuple[int, ...]], load: Future[Figures], every: float
) -> list[Sample]:
    """MiB resident per host, before the load and every so often until it ends."""
    samples: list[Sample] = []
    started = time.monotonic()
    while not load.done():
        now = time.monotonic() - started
        found = {host: resident(pids) for host, pids in processes.items()}
        samples.append({"at_s": now, **found})
        say(" ".join([f"{now:.0f} s:", *(f"{h} {mib:.1f} MiB" for h, mib in found.items())]))
        due = started + len(samples) * every
        while not load.done() and (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
    return samples


def report(samples: Sequence[Sample], load: Figures, command: str) -> str:
    """First, last and most, per host, as Markdown."""
    hosts = [name for name in samples[0] if name != "at_s"]
    head = ["resident, MiB", "first", "after a tenth of it", "last", "most"]
    rows = []
    for host in hosts:
        sizes = [sample[host] for sample in samples]
        picked = (sizes[0], sizes[len(sizes) // 10], sizes[-1], max(sizes))
        rows.append([host, *(number(mib, 1) for mib in picked)])
    rate = f"{number(load['mbit'])} Mbit/s, {number(load['cpu_tunnel_per_gib'], 2)} CPU s/GiB"
    length = f"{samples[-1]['at_s'] / 60:.1f} minutes, {len(samples)} samples"
    return "\n".join(
        [heading("Memory under load", command), f"{length}; {rate}.\n", markdown(head, rows)]
    )
