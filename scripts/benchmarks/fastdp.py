"""`scripts/bench fastdp`: is the fast datapath as fast as a bridge and VXLAN made by hand?

All contestants are up at the same time, on wires of their own, and take short turns: what is
compared was measured within seconds of each other. Every round begins with new ones, and with
another of them. All have the same bridges, inner MTU and largest bursts.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from scripts.benchmarks import contestants, fastdp_report
from scripts.benchmarks.contestants import FASTDP, SLEEVE, VXLAN, WIRE, Contestant
from scripts.benchmarks.failover import failover
from scripts.benchmarks.field import Field, Tunnel, open_field
from scripts.benchmarks.measures import Figures, require_tools, start_ms, tcp
from scripts.benchmarks.rounds import Block, line, one_round
from scripts.benchmarks.small_packets import back_and_forth, packet_rate
from scripts.benchmarks.tables import Sample, save, say
from weave_py.model.errors import WeaveError

CONTESTANTS = (
    Contestant(FASTDP, contestants.start_fast),
    Contestant(VXLAN, contestants.start_like_vxlan),
    Contestant(WIRE, contestants.start_like_wire),
    Contestant(SLEEVE, contestants.start_open_sleeve),
)
BLOCKS = ("tcp1", "tcp4", "rate", "trips", "failover")
START_SECONDS, FAILOVER_SECONDS, OVERHEAD_SECONDS = 6.0, 5.0, 0.7
"""About what bringing all up, a failover, and what is around a measurement take."""


def main(argv: list[str]) -> int:
    options = _parse(argv)
    require_tools()
    say(f"about {_minutes(options):.0f} minutes")
    taken: list[Sample] = []
    for number in range(1, options.rounds + 1):
        taken += _round(number, options)
    command = " ".join(["scripts/bench fastdp", *argv])
    save(options.json, command, taken)
    print(fastdp_report.report(taken, command, [c.name for c in options.contestants]))
    return 1 if any("error" in sample for sample in taken) else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench fastdp", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round: does it work?")
    add("--rounds", type=int, default=5, metavar="N", help="medians are of this many [5]")
    add("--seconds", type=int, default=5, help="length of one iperf3 run of TCP [5]")
    add("--packet-seconds", type=int, default=3, help="length of one flood of packets [3]")
    add("--trip-seconds", type=float, default=3.0, help="length of one ping-pong [3]")
    add("--settle", type=float, default=2.0, help="seconds from first ping to measuring [2]")
    add("--pair", action="store_true", help=f"only {FASTDP} and {VXLAN}")
    add("--only", default=",".join(BLOCKS), help=f"what to measure [{','.join(BLOCKS)}]")
    add("--noise", type=float, default=0.15, help="take a sample again if others used more than "
        "this many cores meanwhile [0.15]")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    options.only = options.only.split(",")
    options.contestants = CONTESTANTS[:2] if options.pair else CONTESTANTS
    if unknown := set(options.only) - set(BLOCKS):
        parser.error(f"--only: no such block: {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds, options.seconds, options.packet_seconds = 1, 1, 1
        options.trip_seconds, options.settle, options.noise = 1.0, 0.5, float("inf")
    return options


def _minutes(options: argparse.Namespace) -> float:
    lengths = {
        "tcp1": options.seconds,
        "tcp4": options.seconds,
        "rate": options.packet_seconds,
        "trips": options.trip_seconds,
    }
    each = sum(lengths[name] + OVERHEAD_SECONDS for name in options.only if name in lengths)
    seconds = START_SECONDS + options.settle + len(options.contestants) * each
    seconds += FAILOVER_SECONDS if "failover" in options.only else 0
    return float(options.rounds * seconds / 60)


def _round(number: int, options: argparse.Namespace) -> list[Sample]:
    """All contestants anew, and every block once."""
    taken: list[Sample] = []
    wanted = options.contestants
    shift = (number - 1) % len(wanted)
    with ExitStack() as stack:
        running: dict[str, tuple[Field, Tunnel]] = {}
        for contestant in (*wanted[shift:], *wanted[:shift]):
            sample: Sample = {"contestant": contestant.name, "block": "start", "round": number}
            taken.append(sample)
            try:
                field = stack.enter_context(open_field("full", 2))
                tunnel = contestant.start(field)
                sample["ready_ms"] = (time.monotonic() - tunnel.started_at) * 1e3
                start_ms(field, tunnel)
            except WeaveError as error:  # the others can still be compared
                sample["error"] = str(error)[:400]
            else:
                running[contestant.name] = field, tunnel
            say(line(sample))
        time.sleep(options.settle)
        taken += one_round(_blocks(running, number, options), number, options.noise)
    return taken


def _blocks(
    running: dict[str, tuple[Field, Tunnel]], number: int, options: argparse.Namespace
) -> list[Block]:
    measures = {
        "tcp1": partial(tcp, seconds=options.seconds, flows=1),
        "tcp4": partial(tcp, seconds=options.seconds, flows=4),
        "rate": partial(packet_rate, seconds=options.packet_seconds),
        "trips": partial(back_and_forth, seconds=options.trip_seconds),
    }

    def checked(name: str, field: Field, tunnel: Tunnel) -> Figures:
        tunnel.check()
        found = measures[name](field, tunnel)
        tunnel.check()
        return found

    blocks = [
        Block(name, {who: partial(checked, name, *where) for who, where in running.items()})
        for name in measures
        if name in options.only
    ]
    if "failover" in options.only and FASTDP in running:
        # In turn: what h1 sends is lost, what h2 sends is.
        ends = ("h1", "h2") if number % 2 else ("h2", "h1")
        blocks.append(Block("failover", {FASTDP: partial(failover, *running[FASTDP], *ends)}))
    return blocks
