"""Do the reports say what the samples say?"""

from __future__ import annotations

import pytest

from scripts.benchmarks import fastdp_report, sleeve_report, soak
from scripts.benchmarks.contestants import FASTDP, SLEEVE, VXLAN, WEAVE, WIRE
from scripts.benchmarks.rounds import Block, Samples, one_round
from scripts.benchmarks.tables import Sample, bars, number

NAMES = (FASTDP, VXLAN, WIRE, SLEEVE)


def sample(who: str, block: str, number: int, **values: float) -> Sample:
    return {"contestant": who, "block": block, "round": number, **values}


def cells(report: str, start: str) -> list[str]:
    """The cells of the one line that begins so."""
    (line,) = [line for line in report.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_shares_are_taken_within_a_round() -> None:
    """The machine was slow in the second round: that must not show."""
    speeds = {1: (9.8, 10.0), 2: (4.9, 5.0), 3: (9.8, 10.0)}
    taken = []
    for turn, (ours, theirs) in speeds.items():
        taken += [sample(FASTDP, "tcp1", turn, mbit=ours), sample(VXLAN, "tcp1", turn, mbit=theirs)]
    report = fastdp_report.report(taken, "x", NAMES)
    assert cells(report, "TCP ×1 of hand-made VXLAN")[1:] == ["0.980", "≥ 0.97", "yes"]
    assert cells(report, "TCP ×4 of hand-made VXLAN")[1:] == ["–", "≥ 0.97", "–"]


def test_failovers_are_judged_by_the_worst() -> None:
    taken = [
        sample(FASTDP, "failover", turn, gap_ms=gap, fall_doubled=0, rise_lost=lost)
        for turn, gap, lost in ((1, 250, 0), (2, 1200, 0), (3, 260, 1))
    ]
    report = fastdp_report.report(taken, "x", NAMES)
    assert cells(report, "silence, ms")[1:] == ["260", "1,200"]
    assert cells(report, "silence after a cut, worst, ms")[1:] == ["1,200", "≤ 1000", "no"]
    assert cells(report, "doubled at a cut, worst")[3] == "yes"
    assert cells(report, "lost on the way back, worst")[3] == "no"


def test_what_failed_is_told() -> None:
    taken: list[Sample] = [{**sample(FASTDP, "start", 2), "error": "no VXLAN"}]
    assert f"* {FASTDP}, start, round 2: no VXLAN" in fastdp_report.report(taken, "x", NAMES)


def test_the_sleeve_report_has_small_packets() -> None:
    values = {"trips_p50_us": 61.5, "trips_p99_us": 90.0, "flood_pps": 52_000.0, "flood_lost": 0.5}
    taken = [
        sample(WEAVE, "clean", 1, **values),
        sample(VXLAN, "clean", 1, trips_p50_us=30.75, flood_pps=104_000.0),
    ]
    report = sleeve_report.report(taken, "x", [WEAVE, VXLAN], [])
    (table,) = [part for part in report.split("\n\n") if part.startswith("| 64-byte UDP")]
    assert cells(table, WEAVE)[1:] == ["61.5", "2.00", "90.0", "52,000", "0.500", "50.0"]


def test_the_soak_report_has_first_last_and_most() -> None:
    samples = [{"at_s": n * 10.0, "h1": 40 + n % 7, "h2": 50.0} for n in range(61)]
    load = {"mbit": 5000.0, "cpu_tunnel_per_gib": 1.5}
    report = soak.report(samples, load, "x")
    assert "10.0 minutes, 61 samples" in report
    assert cells(report, "h1")[1:] == ["40.0", "46.0", "44.0", "46.0"]
    assert cells(report, "h2")[1:] == ["50.0"] * 4


@pytest.mark.parametrize(
    ("value", "sign", "met"),
    [
        (0.97, "≥", "yes"),
        (0.969, "≥", "no"),
        (0.97, "≤", "yes"),
        (0.98, "≤", "no"),
        (None, "≤", "–"),
    ],
)
def test_a_bar_is_met_when_reached(value: float | None, sign: str, met: str) -> None:
    assert cells(bars("x", [("it", value, sign, 0.97)]), "it")[3] == met


def test_numbers_for_people() -> None:
    assert [number(None), number(12345.67, 1), number(0.126, 1, " %", scale=100)] == [
        "–",
        "12,345.7",
        "12.6 %",
    ]


def test_a_round_takes_every_block_and_keeps_what_failed() -> None:
    def broken() -> Sample:
        raise ValueError("out of order")

    blocks = [Block("a", {"x": lambda: {"mbit": 1.0}, "y": broken}), Block("b", {"x": broken})]
    taken = one_round(blocks, 7, noise=1.0)
    assert [(s["contestant"], s["block"], s["round"]) for s in taken] == [
        ("x", "a", 7),
        ("y", "a", 7),
        ("x", "b", 7),
    ]
    assert [s.get("error") for s in taken] == [None, *["ValueError: out of order"] * 2]
    assert Samples(taken).worst("x", "a", "mbit") == 1.0
    assert Samples(taken).worst("x", "b", "mbit") is None
