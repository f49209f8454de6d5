"""Does the report of `scale` set thirty routers beside Weave Net's, and are wires read rightly?"""

from __future__ import annotations

from scripts.benchmarks import scale_report, wire_meter
from scripts.benchmarks.contestants import WEAVE
from scripts.benchmarks.tables import Sample


def line(report: str, start: str) -> list[str]:
    (found,) = [line for line in report.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_thirty_routers_are_set_beside_weave_net() -> None:
    taken: list[Sample] = [
        {
            "contestant": WEAVE,
            "block": "30 peers",
            "round": 1,
            "idle_rss_mean_mib": 60.0,
            "idle_cpu_mean": 0.0055,
            "death_known_s": 1.5,
        }
    ]
    report = scale_report.report(taken, "x", [30], [])
    assert line(report, "RSS per router, idle") == ["60.0", "75.0", "0.80"]
    assert line(report, "CPU per router, idle") == ["0.55", "1.10", "0.50"]
    assert line(report, "all know of a SIGKILL") == ["1.50", "–", "–"]
    assert line(report, "all know all after") == ["–", "–", "–"]
    assert "flows" not in report


def test_fewer_are_not() -> None:
    assert "Weave Net" not in scale_report.report([], "x", [2, 5], [1])


def test_counters_are_read() -> None:
    listing = """table bridge wires {
\tcounter of_tcp {
\t\tpackets 12 bytes 3456
\t}

\tcounter of_udp {
\t\tpackets 0 bytes 0
\t}
}
"""
    assert wire_meter.parse(listing) == {"tcp": 3456, "udp": 0}
