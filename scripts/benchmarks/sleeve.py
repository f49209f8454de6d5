"""`scripts/bench sleeve`: how fast is the userspace tunnel, also where wires lose packets?"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from scripts.benchmarks import rounds, sleeve_report
from scripts.benchmarks.contestants import WEAVE, WEAVE_1DGRAM, Contestant, chosen
from scripts.benchmarks.field import Field, Tunnel, open_field, overlay_address
from scripts.benchmarks.measures import (
    Figures,
    require_tools,
    round_trips,
    round_trips_loaded,
    start_ms,
    tcp,
)
from scripts.benchmarks.meters import resident_side
from scripts.benchmarks.rounds import Block
from scripts.benchmarks.routers import Routers
from scripts.benchmarks.small_packets import back_and_forth, packet_rate
from scripts.benchmarks.tables import save, say

LOSSES = (0.0, 0.1, 1.0)
"""Percent."""
PATH_SECONDS = 30.0
SETUP_SECONDS = 2.5
"""What bringing a tunnel up and down takes, roughly."""


def main(argv: list[str]) -> int:
    options = _parse(argv)
    require_tools()
    contestants, left_out = chosen(options.peers.split(","))
    for sentence in left_out:
        say(sentence)
    blocks = _blocks(contestants, options)
    say(f"about {_minutes(blocks, options):.0f} minutes")
    taken = rounds.run(blocks, options.rounds, options.noise)
    command = " ".join(["scripts/bench sleeve", *argv])
    save(options.json, command, taken)
    print(sleeve_report.report(taken, command, [c.name for c in contestants], left_out))
    return 1 if any("error" in sample for sample in taken) else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench sleeve", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round: does it work?")
    add("--rounds", type=int, default=3, metavar="N", help="medians are of this many [3]")
    add("--seconds", type=float, default=5.0, help="length of one iperf3 run [5]")
    add("--ping-seconds", type=float, default=3.0, help="length of one run of ping [3]")
    add("--small-seconds", type=float, default=2.0, help="length of a ping-pong and of a flood of "
        "small packets [2]")  # fmt: skip
    add("--settle", type=float, default=1.5, help="seconds from first ping to measuring [1.5]")
    add("--only", default="clean,loss,relay", help="blocks to measure [clean,loss,relay]")
    add("--peers", default="wireguard-go,openvpn", help="tunnels that run-peers starts, beside "
        "ours and the kernel's VXLAN, where installed [wireguard-go,openvpn]")  # fmt: skip
    add("--noise", type=float, default=0.15, help="take a sample again if others used more than "
        "this many cores meanwhile [0.15]")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    if unknown := set(options.only.split(",")) - {"clean", "loss", "relay"}:
        parser.error(f"--only: no such block: {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds, options.seconds, options.ping_seconds = 1, 1.0, 1.0
        options.small_seconds, options.settle, options.noise = 1.0, 0.5, float("inf")
    return options


def _blocks(contestants: list[Contestant], options: argparse.Namespace) -> list[Block]:
    wanted = options.only.split(",")
    blocks = []
    if "clean" in wanted:
        # What a record of one datagram is compared with is loss; for more there is no time.
        measures = {
            c.name: partial(_clean, c, options) for c in contestants if c.name != WEAVE_1DGRAM
        }
        blocks.append(Block("clean", measures))
    if "loss" in wanted:
        blocks += [
            Block(
                loss_name(percent),
                {c.name: partial(_lossy, c, percent, options) for c in contestants},
            )
            for percent in LOSSES
        ]
    if "relay" in wanted:
        blocks.append(Block("relay", {WEAVE: partial(_relay, options)}))
    return blocks


def loss_name(percent: float) -> str:
    return f"loss {percent:g} %"


def _minutes(blocks: list[Block], options: argparse.Namespace) -> float:
    seconds = 0.0
    for block in blocks:
        small = 1 + 2 * (options.ping_seconds + options.small_seconds)
        runs = 2 if block.name == "relay" else 1
        each = SETUP_SECONDS + options.settle + runs * options.seconds
        each += small if block.name == "clean" else 0
        seconds += each * len(block.measures)
    return float(options.rounds * seconds / 60)


def _clean(contestant: Contestant, options: argparse.Namespace) -> Figures:
    """A wire that loses nothing and takes whole bursts, as cards with offloads do."""
    with open_field("full", 2) as field:
        tunnel = contestant.start(field)
        try:
            found: Figures = {"start_ms": start_ms(field, tunnel)}
            time.sleep(options.settle)
            found["rss_before_mib"] = resident_side(tunnel.processes)
            idle = round_trips(field, tunnel.source, tunnel.address, options.ping_seconds)
            found |= tcp(field, tunnel, options.seconds)
            found["rss_after_mib"] = resident_side(tunnel.processes)
            loaded = round_trips_loaded(field, tunnel, options.ping_seconds)
            trips = back_and_forth(field, tunnel, options.small_seconds)
            flood = packet_rate(field, tunnel, options.small_seconds)
        finally:
            tunnel.stop()
    parts = {"idle": idle, "loaded": loaded, "trips": trips, "flood": flood}
    worst = max(part.get("foreign", 0.0) for part in (found, *parts.values()))
    for name, figures in parts.items():
        found |= _named(name, figures)
    return found | {"foreign": worst}


def _lossy(contestant: Contestant, percent: float, options: argparse.Namespace) -> Figures:
    """A wire on which each packet travels alone and is lost alone, both ways."""
    with open_field("full", 2, offload=False) as field:
        tunnel = contestant.start(field)
        try:
            start_ms(field, tunnel)
            if percent > 0:
                field.lab.lose("h1", "h2", percent=percent)
            time.sleep(options.settle)
            return tcp(field, tunnel, options.seconds)
        finally:
            tunnel.stop()


def _relay(options: argparse.Namespace) -> Figures:
    """h1 – h2 – h3: to the neighbour, and through it to the one that h1 cannot reach."""
    with open_field("chain", 3) as field:
        routers = Routers(field)
        started = routers.launch()
        routers.wait(PATH_SECONDS, "on their paths", partial(_on_chain, routers))
        direct, relayed = (
            Tunnel("c1", f"c{i}", overlay_address(f"h{i}"), started, routers.processes)
            for i in (2, 3)
        )
        for tunnel in (direct, relayed):
            start_ms(field, tunnel)
        time.sleep(options.settle)
        near = _near(field, direct, options)
        far = tcp(field, relayed, options.seconds)
        kinds = routers.path_kinds("h1") or {}
    return {
        "direct_mbit": near["mbit"],
        "relay_mbit": far["mbit"],
        "relay_of_direct": far["mbit"] / near["mbit"],
        "direct_cpu_per_gib": near["cpu_tunnel_per_gib"],
        "relay_cpu_per_gib": far["cpu_tunnel_per_gib"],
        "path": kinds.get("h3", "none"),
        "foreign": max(near["foreign"], far["foreign"]),
    }


def _near(field: Field, direct: Tunnel, options: argparse.Namespace) -> Figures:
    """TCP to the neighbour; the router of h3 has no part in it and is not charged."""
    pids = [pid for host in ("h1", "h2") for pid in direct.processes[host]]
    return tcp(field, direct, options.seconds, pids=pids)


def _on_chain(routers: Routers, name: str) -> bool:
    wanted = {"h1": {"h2": "direct", "h3": "relay"}, "h3": {"h2": "direct", "h1": "relay"}}
    return name not in wanted or routers.path_kinds(name) == wanted[name]


def _named(prefix: str, figures: Figures) -> Figures:
    return {f"{prefix}_{name}": value for name, value in figures.items()}
