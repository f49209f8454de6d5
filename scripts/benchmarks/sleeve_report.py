"""What does a run of `scripts/bench sleeve` say? Tables, and the bars it is held against."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.benchmarks.contestants import VXLAN, WEAVE, WEAVE_1DGRAM
from scripts.benchmarks.rounds import Samples
from scripts.benchmarks.tables import Sample, bars, errors, heading, markdown, number

CLEAN, NO_LOSS, SOME_LOSS, MUCH_LOSS = "clean", "loss 0 %", "loss 0.1 %", "loss 1 %"

_WIRES = """\
"Bursts whole": the wire takes up to 64 KiB in one piece, as cards with offloads do. "Packets \
alone": every packet crosses by itself (and is joined with others on arrival, by GRO), which is \
where loss strikes; the losses are random and apply to both directions.
"""


def report(
    taken: Sequence[Sample], command: str, names: Sequence[str], left_out: Sequence[str]
) -> str:
    """Everything, as Markdown."""
    samples = Samples(taken)
    rounds = max((sample["round"] for sample in taken), default=0)
    blocks = {sample["block"] for sample in taken}
    parts = [heading("The userspace tunnel", command), f"Medians of {rounds} round(s).\n"]
    if CLEAN in blocks or NO_LOSS in blocks:
        parts += [_tcp_table(samples, names), "", _WIRES]
    if CLEAN in blocks:
        for table in (_latency_table, _small_table, _cost_table):
            parts += [table(samples, [name for name in names if name != WEAVE_1DGRAM]), ""]
    if "relay" in blocks:
        parts += [_relay_table(samples), ""]
    parts += [_bars_table(samples, names)]
    parts += ["", *(f"* {sentence}" for sentence in left_out)] if left_out else []
    return "\n".join([*parts, errors(taken)])


def _tcp_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["TCP ×1, Mbit/s", "bursts whole", "of VXLAN", "packets alone", "0.1 % lost",
            "1 % lost", "0.1 % of none", "1 % of none"]  # fmt: skip

    def row(name: str) -> list[str]:
        cells = [
            number(samples.median(name, CLEAN, "mbit")),
            number(samples.ratio(name, VXLAN, CLEAN, "mbit"), 2),
        ]
        cells += [
            number(samples.median(name, block, "mbit"), digits)
            for block, digits in ((NO_LOSS, 0), (SOME_LOSS, 0), (MUCH_LOSS, 1))
        ]
        cells += [
            number(samples.between(name, block, NO_LOSS, "mbit"), 3)
            for block in (SOME_LOSS, MUCH_LOSS)
        ]
        return [name, *cells]

    return markdown(head, map(row, names))


def _latency_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["ping, µs", "idle p50", "idle p99", "loaded p50", "loaded p99", "loaded lost, %",
            "first ping, ms"]  # fmt: skip

    def row(name: str) -> list[str]:
        wanted = ("idle_p50_us", "idle_p99_us", "loaded_p50_us", "loaded_p99_us")
        cells = [number(samples.median(name, CLEAN, what)) for what in wanted]
        cells.append(number(samples.median(name, CLEAN, "loaded_lost"), 1, scale=100))
        return [name, *cells, number(samples.median(name, CLEAN, "start_ms"))]

    return markdown(head, map(row, names))


def _small_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["64-byte UDP", "back and forth p50, µs", "p50 of VXLAN", "p99, µs",
            "flood, packets/s that arrive", "of VXLAN", "lost, %"]  # fmt: skip

    def row(name: str) -> list[str]:
        return [
            name,
            number(samples.median(name, CLEAN, "trips_p50_us"), 1),
            number(samples.ratio(name, VXLAN, CLEAN, "trips_p50_us"), 2),
            number(samples.median(name, CLEAN, "trips_p99_us"), 1),
            number(samples.median(name, CLEAN, "flood_pps")),
            number(samples.ratio(name, VXLAN, CLEAN, "flood_pps"), 3),
            number(samples.median(name, CLEAN, "flood_lost"), 1, scale=100),
        ]

    return markdown(head, map(row, names))


def _cost_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["cost of TCP ×1", "tunnel CPU s/GiB", "whole machine CPU s/GiB", "RSS before, MiB",
            "RSS after, MiB"]  # fmt: skip

    def row(name: str) -> list[str]:
        cells = [
            number(samples.median(name, CLEAN, f"cpu_{what}_per_gib"), 2)
            for what in ("tunnel", "machine")
        ]
        cells += [
            number(samples.median(name, CLEAN, f"rss_{when}_mib"), 1)
            for when in ("before", "after")
        ]
        return [name, *cells]

    return markdown(head, map(row, names))


def _relay_table(samples: Samples) -> str:
    head = ["chain of three", "TCP ×1, Mbit/s", "routers' CPU s/GiB"]
    rows = [
        [text, number(_relay(samples, f"{what}_mbit")), number(_relay(samples, cpu), 2)]
        for text, what, cpu in (
            ("to the neighbour", "direct", "direct_cpu_per_gib"),
            ("relayed", "relay", "relay_cpu_per_gib"),
        )
    ]
    return markdown(head, [*rows, ["ratio", number(_relay(samples, "relay_of_direct"), 2), ""]])


def _relay(samples: Samples, what: str) -> float | None:
    return samples.median(WEAVE, "relay", what)


def _bars_table(samples: Samples, names: Sequence[str]) -> str:
    others = [name for name in names if name not in (WEAVE, WEAVE_1DGRAM, VXLAN)]
    rows: list[tuple[str, float | None, str, float]] = [
        ("TCP ×1 of the kernel's VXLAN",
         samples.ratio(WEAVE, VXLAN, CLEAN, "mbit"), "≥", 0.40),
        ("TCP ×1 of the best tunnel above",
         _of_best(samples, others, CLEAN), "≥", 5.0),
        ("1 % lost: of one datagram per record",
         samples.ratio(WEAVE, WEAVE_1DGRAM, MUCH_LOSS, "mbit"), "≥", 0.9),
        ("1 % lost: of the best tunnel above",
         _of_best(samples, others, MUCH_LOSS), "≥", 1.0),
        ("0.1 % lost: of none lost",
         samples.between(WEAVE, SOME_LOSS, NO_LOSS, "mbit"), "≥", 0.5),
        ("relayed of direct (on a core of its own)", _relay(samples, "relay_of_direct"), "≥", 0.6),
        ("ping p50 idle, µs (aim)", samples.median(WEAVE, CLEAN, "idle_p50_us"), "≤", 120),
        ("back and forth p50, µs (aim)",
         samples.median(WEAVE, CLEAN, "trips_p50_us"), "≤", 120),
        ("ping p99 under load, µs", samples.median(WEAVE, CLEAN, "loaded_p99_us"), "≤", 5000),
        ("first ping, ms", samples.median(WEAVE, CLEAN, "start_ms"), "≤", 1500),
        ("RSS after, MiB", samples.median(WEAVE, CLEAN, "rss_after_mib"), "≤", 60),
        *((f"CPU of {name}'s", samples.ratio(WEAVE, name, CLEAN, "cpu_tunnel_per_gib"), "≤", 0.25)
          for name in others if name.startswith("openvpn")),
    ]  # fmt: skip
    return bars(WEAVE, rows)


def _of_best(samples: Samples, others: Sequence[str], block: str) -> float | None:
    """By the fastest of the others; None without others."""
    ratios = [samples.ratio(WEAVE, name, block, "mbit") for name in others]
    return min((found for found in ratios if found is not None), default=None)
