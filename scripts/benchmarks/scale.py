"""`scripts/bench scale`: what does it cost as the mesh and the number of flows grow?"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.benchmarks import scale_report
from scripts.benchmarks.contestants import WEAVE
from scripts.benchmarks.field import Field, Tunnel, open_field, overlay_address
from scripts.benchmarks.measures import Figures, require_tools, start_ms, tcp
from scripts.benchmarks.meters import Meter, processes, resident
from scripts.benchmarks.rounds import Block, run
from scripts.benchmarks.routers import PASSWORD, Routers
from scripts.benchmarks.tables import save, say
from scripts.benchmarks.wire_meter import bytes_per_second
from weave_py.lab.topology import MAX_HOSTS
from weave_py.model.errors import HostError

NOTICE_SECONDS = 60.0


def main(argv: list[str]) -> int:
    options = _parse(argv)
    require_tools()
    blocks = [
        Block(f"{peers} peers", {WEAVE: partial(_mesh, peers, options)}) for peers in options.peers
    ]
    say(f"about {_minutes(options):.0f} minutes")
    taken = run(blocks, options.rounds, options.noise)
    command = " ".join(["scripts/bench scale", *argv])
    save(options.json, command, taken)
    print(scale_report.report(taken, command, options.peers, options.flows))
    return 1 if any("error" in sample for sample in taken) else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round with few peers: does it work?")
    add("--peers", type=_numbers(2, MAX_HOSTS), default=[2, 5, 10, 30], metavar="N,…",
        help="sizes of the mesh [2,5,10,30]")  # fmt: skip
    add("--flows", type=_numbers(1, 128), default=[1, 10, 100], metavar="N,…",
        help="TCP streams between two of the peers [1,10,100]")  # fmt: skip
    add("--no-flows", dest="flows", action="store_const", const=[], help="without load")
    add("--fastdp", action="store_true", help="an open network, whose frames take the kernel")
    add("--rounds", type=int, default=3, metavar="N", help="medians are of this many [3]")
    add("--seconds", type=float, default=8.0, help="length of one iperf3 run [8]")
    add("--idle", type=float, default=10.0, help="seconds over which idling is measured [10]")
    add("--settle", type=float, default=5.0, help="seconds from convergence to idling [5]")
    add("--converge", type=float, default=120.0, help="most seconds to converge [120]")
    add("--noise", type=float, default=0.15, help="take a sample again if others used more than "
        "this many cores meanwhile [0.15]")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    if options.quick:
        options.peers, options.rounds, options.seconds = [2, 5], 1, 1.5
        options.idle, options.settle, options.noise = 2.0, 1.0, float("inf")
    return options


def _numbers(least: int, most: int) -> Callable[[str], list[int]]:
    """`2,5,10` → a list, each within bounds."""

    def convert(text: str) -> list[int]:
        try:
            found = [int(word) for word in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"not numbers with commas between: {text}") from None
        if not all(least <= number <= most for number in found):
            raise argparse.ArgumentTypeError(f"{text}: use numbers from {least} to {most}")
        return found

    return convert


def _minutes(options: argparse.Namespace) -> float:
    fixed = options.settle + options.idle + 10 + len(options.flows) * (options.seconds + 1)
    seconds = sum(fixed + 1.0 * peers for peers in options.peers)
    return float(options.rounds * seconds / 60)


def _mesh(peers: int, options: argparse.Namespace) -> Figures:
    """One mesh on one wire, all told of h1 only: everything that is measured about it.

    What was found before something failed is kept, beside the `error`.
    """
    found: Figures = {}
    with open_field("full", peers) as field:
        password = None if options.fastdp else PASSWORD
        routers = Routers(field, password=password, fastdp=options.fastdp)
        try:
            wanted = "fastdp" if options.fastdp else "direct"
            started = _converge(routers, wanted, options.converge, found)
            tunnel = Tunnel("c1", "c2", overlay_address("h2"), started, routers.processes)
            time.sleep(options.settle)
            found |= _idle(field, tunnel, options.idle)
            if options.flows:
                found |= _flows(field, tunnel, options)
            # (The kernel's path to a router that is gone goes on, for its successor.)
            found |= _kill_one(routers, paths_end=not options.fastdp)
        except HostError as error:
            found["error"] = str(error)[:400]
    return found


def _converge(routers: Routers, wanted: str, seconds: float, found: Figures) -> float:
    """Start all at once (returns when); seconds until all answer, know all, have paths of the
    `wanted` kind to all."""
    everyone = set(routers.hosts)
    meter = Meter([])
    started = routers.launch()

    def answers(name: str) -> bool:
        return routers.reachable(name) is not None

    def knows_all(name: str) -> bool:
        return routers.reachable(name) == everyone

    def has_all_paths(name: str) -> bool:
        kinds = routers.path_kinds(name) or {}
        return everyone - {name} == {host for host, kind in kinds.items() if kind == wanted}

    tests = (answers, knows_all, has_all_paths)
    held_at = routers.wait(seconds, "converged", *tests)
    names = ("all_answer_s", "all_known_s", "all_paths_s")
    found |= {name: at - started for name, at in zip(names, held_at, strict=True)}
    now = processes()
    pids = [pid for each in routers.processes.values() for pid in each]
    found["start_cpu_s"] = sum(now[pid].cpu for pid in pids if pid in now)
    found["foreign"] = meter.read().foreign
    return started


def _idle(field: Field, tunnel: Tunnel, seconds: float) -> Figures:
    meter = Meter(tunnel.pids)
    wires = bytes_per_second(field.lab, seconds)
    usage = meter.read()
    shares = [cpu / usage.seconds for cpu in meter.per_process()]
    memory = [resident([pid]) for pid in tunnel.pids]
    return {
        "idle_cpu_mean": statistics.fmean(shares),
        "idle_cpu_max": max(shares),
        "idle_rss_mean_mib": statistics.fmean(memory),
        "idle_rss_max_mib": max(memory),
        "idle_control_bytes": wires["tcp"] / len(tunnel.pids),
        "idle_probe_bytes": wires["udp"] / len(tunnel.pids),
        "foreign": usage.foreign,
    }


def _flows(field: Field, tunnel: Tunnel, options: argparse.Namespace) -> Figures:
    """TCP from c1 to c2 with ever more streams; only the two routers at work are charged."""
    start_ms(field, tunnel)  # the MAC is learned, the path is warm
    busy = [pid for host in ("h1", "h2") for pid in tunnel.processes[host]]
    found: Figures = {}
    foreign = 0.0
    for flows in options.flows:
        run_of = tcp(field, tunnel, options.seconds, flows=flows, pids=busy)
        foreign = max(foreign, run_of.pop("foreign"))
        found |= {f"flows{flows}_{name}": value for name, value in run_of.items()}
    return {**found, "rss_after_mib": max(resident([pid]) for pid in busy), "foreign": foreign}


def _kill_one(routers: Routers, *, paths_end: bool) -> Figures:
    """SIGKILL the last router; seconds until no other holds it reachable or (if that is to be
    waited for) has a path to it."""
    victim = list(routers.hosts)[-1]
    killed = time.monotonic()
    routers.hosts[victim].kill()

    def knows(name: str) -> bool:
        found = routers.reachable(name)
        return found is not None and victim not in found

    def has_no_path(name: str) -> bool:
        kinds = routers.path_kinds(name)
        return kinds is not None and kinds.get(victim, "none") == "none"

    tests = (knows, has_no_path) if paths_end else (knows,)
    at = routers.wait(NOTICE_SECONDS, "aware of the death", *tests)
    names = ("death_known_s", "death_no_path_s")
    return {name: when - killed for name, when in zip(names, at, strict=False)}
