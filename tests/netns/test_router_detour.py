"""Does traffic find another way when its relay dies?

A ring of four: h1 and h3 reach each other through h2, or through h4.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.routers import bring_up, started, via
from tests.kit.waiting import until
from weave_py.lab.faults import Fault
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.pings import parse

INTERVAL = 0.05
ENOUGH = 20
"""Answers before it breaks, and after it works again."""


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    options = LaunchOptions(password="around and around")
    with started("ring", 4, tmp_path_factory.mktemp("ring"), options) as mesh:
        yield mesh


def relay(mesh: LabMesh) -> str:
    """The one that passes on what h1 sends to h3."""
    return until(lambda: via(mesh["h1"], "h3"), 10, "h1 reaches h3 through somebody") or ""


@pytest.mark.parametrize("how", ["is told to end", "is killed", "falls silent"])
def test_another_relay_takes_over(ring: LabMesh, tmp_path: Path, how: str) -> None:
    before = relay(ring)
    longest_gap = {"is told to end": 1.5, "is killed": 5.0, "falls silent": 5.0}[how]
    log = tmp_path / "ping"
    words = ["ping", "-n", "-D", "-i", str(INTERVAL), "10.32.0.3"]
    with log.open("wb") as output:
        pinging = ring.lab.popen("c1", words, log=output)
        try:
            until(lambda: len(answer_times(log)) >= ENOUGH, 10, "answers to pings")
            broken = break_it(ring, before, how)
            until(lambda: relay(ring) != before, 10, "another relay")
            answered = len(answer_times(log))
            until(lambda: len(answer_times(log)) >= answered + ENOUGH, 10, "answers again")
            pinging.send_signal(signal.SIGINT)  # it sums up
            pinging.wait(5)
        finally:
            pinging.kill()
            pinging.wait()

    result = parse(log.read_text())
    times = answer_times(log)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    print(f"the relay {how}: nothing got through for {max(gaps):.2f} s")
    assert max(gaps) < longest_gap
    assert (result.sent - result.received) * INTERVAL < longest_gap
    assert result.duplicates == 0

    ring.lab.heal(*broken)
    if not ring[before].running:
        ring[before].launch()
    bring_up(ring)


def break_it(mesh: LabMesh, name: str, how: str) -> tuple[Fault, ...]:
    match how:
        case "is told to end":
            mesh[name].stop()
        case "is killed":
            mesh[name].kill()
        case _:
            return tuple(fault for other in ("h1", "h3") for fault in mesh.lab.block(name, other))
    return ()


def answer_times(log: Path) -> list[float]:
    """When each answer came, in seconds."""
    return [float(t) for t in re.findall(r"\[([\d.]+)\] \d+ bytes from", log.read_text())]
