"""What does a run of `scripts/bench fastdp` say? Tables, and the bars it is held against."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.benchmarks.contestants import FASTDP, VXLAN
from scripts.benchmarks.rounds import Samples
from scripts.benchmarks.tables import Sample, bars, errors, heading, markdown, number

_GROUND = """\
All have the same bridges, containers, inner MTU (1376) and largest bursts (gso_max_size 61440): \
`vxlan` is one device per host with a fixed remote, made by hand (and, as is the default, with UDP \
checksums, which ours leaves out: on these wires nobody computes any); `no tunnel` is the bridges \
on the wire itself. Shares are medians of the shares within a round.
"""


def report(taken: Sequence[Sample], command: str, names: Sequence[str]) -> str:
    """Everything, as Markdown."""
    samples = Samples(taken)
    rounds = max((sample["round"] for sample in taken), default=0)
    parts = [
        heading("The fast datapath", command),
        f"Medians of {rounds} round(s). {_GROUND}",
        _rate_table(samples, names),
        "",
        _latency_table(samples, names),
        "",
        _failover_table(samples),
        "",
        _bars_table(samples),
    ]
    return "\n".join([*parts, errors(taken)])


def _rate_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["Mbit/s and packets/s", "TCP ×1", "of VXLAN", "TCP ×4", "of VXLAN",
            "64-byte UDP, packets/s", "of VXLAN", "lost, %"]  # fmt: skip

    def row(name: str) -> list[str]:
        cells = [name]
        for block, what in (("tcp1", "mbit"), ("tcp4", "mbit"), ("rate", "pps")):
            cells += [
                number(samples.median(name, block, what)),
                number(samples.ratio(name, VXLAN, block, what), 3),
            ]
        return [*cells, number(samples.median(name, "rate", "lost"), 1, scale=100)]

    return markdown(head, map(row, names))


def _latency_table(samples: Samples, names: Sequence[str]) -> str:
    head = ["round trip of 64-byte UDP, µs", "p50", "of VXLAN", "p99", "of VXLAN",
            "TCP ×1: routers' CPU s/GiB", "whole machine's", "ready after, ms"]  # fmt: skip

    def row(name: str) -> list[str]:
        cells = [name]
        for what in ("p50_us", "p99_us"):
            cells += [
                number(samples.median(name, "trips", what), 1),
                number(samples.ratio(name, VXLAN, "trips", what), 3),
            ]
        cells += [
            number(samples.median(name, "tcp1", f"cpu_{whose}_per_gib"), 3)
            for whose in ("tunnel", "machine")
        ]
        return [*cells, number(samples.median(name, "start", "ready_ms"))]

    return markdown(head, map(row, names))


def _failover_table(samples: Samples) -> str:
    head = ["VXLAN cut one way, ping every 10 ms", "median", "worst"]
    rows = (
        ("silence, ms", "gap_ms"),
        ("lost on the way to the sleeve", "fall_lost"),
        ("doubled on the way to the sleeve", "fall_doubled"),
        ("lost on the way back", "rise_lost"),
        ("doubled on the way back", "rise_doubled"),
        ("back after it was mended, s", "back_s"),
    )

    def cells(text: str, what: str) -> list[str]:
        digits = 2 if what == "back_s" else 0
        found = (
            samples.median(FASTDP, "failover", what),
            samples.worst(FASTDP, "failover", what),
        )
        return [text, *(number(value, digits) for value in found)]

    return markdown(head, [cells(*row) for row in rows])


def _bars_table(samples: Samples) -> str:
    def share(block: str, what: str) -> float | None:
        return samples.ratio(FASTDP, VXLAN, block, what)

    def worst(what: str) -> float | None:
        return samples.worst(FASTDP, "failover", what)

    return bars(
        FASTDP,
        [
            ("TCP ×1 of hand-made VXLAN", share("tcp1", "mbit"), "≥", 0.97),
            ("TCP ×4 of hand-made VXLAN", share("tcp4", "mbit"), "≥", 0.97),
            ("64-byte packets of hand-made VXLAN", share("rate", "pps"), "≥", 0.97),
            ("round trip p50 of hand-made VXLAN", share("trips", "p50_us"), "≤", 1.05),
            ("silence after a cut, worst, ms", worst("gap_ms"), "≤", 1000),
            ("doubled at a cut, worst", worst("fall_doubled"), "≤", 0),
            ("lost on the way back, worst", worst("rise_lost"), "≤", 0),
            ("doubled on the way back, worst", worst("rise_doubled"), "≤", 0),
        ],
    )
