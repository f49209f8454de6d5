"""What a start costs: is it read and reported right?"""

from __future__ import annotations

from scripts.benchmarks.start import parse_imports, report

LOG = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   trio._core
import time:        50 |        150 | trio
level=INFO msg="router started" name=8a:3e:00:00:00:01(h1) port=6783
import time:      2000 |       2150 | weave_py.runtime.daemon
"""


def sample(cpu: float, rss: float) -> dict[str, float]:
    memory = {"rss_mib": rss, "pss_mib": rss - 10, "anonymous_mib": rss - 20}
    return {"cpu_s": cpu, "wall_s": 2 * cpu, **memory}


def line(text: str, beginning: str) -> list[str]:
    row = next(row for row in text.splitlines() if row.startswith(f"| {beginning} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_imports_are_read_out_of_a_log() -> None:
    found = parse_imports(LOG)
    assert found == {"trio._core": 100, "trio": 50, "weave_py.runtime.daemon": 2000}


def test_the_report_has_medians_spreads_and_packages() -> None:
    samples = [sample(0.5, 44.0), sample(0.7, 46.0), sample(0.55, 45.5)]
    text = report(samples, parse_imports(LOG), "scripts/bench start --quick")
    assert line(text, "CPU to listening, s") == ["0.55", "0.50", "0.70"]
    assert line(text, "RSS at rest, MiB") == ["45.5", "44.0", "46.0"]
    assert line(text, "CPU to listening, s (aim)")[-1] == "yes"
    assert line(text, "RSS at rest, MiB (aim)")[-1] == "no"
    assert line(text, "trio") == ["2", "0.1"]
    assert line(text, "together") == ["3", "2.1"]
