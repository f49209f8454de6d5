"""Does traffic find another way when its relay dies?

A ring of four: h1 and h3 reach each other through h2, or through h4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.pinging import INTERVAL, Pinging
from tests.kit.routers import bring_up, started, via
from tests.kit.standstills import clock
from tests.kit.waiting import until
from weave_py.lab.faults import Fault
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh

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
    longest_gap = {"is told to end": 1.5, "is killed": 5.0, "falls silent": 5.0}[how]
    with Pinging(ring.lab, "c1", "10.32.0.3", tmp_path / "ping") as pings:
        pings.wait_answer(clock(), 10, ENOUGH)
        before = relay(ring)  # (who has just come back may be preferred again only now)
        since = clock()
        with broken(ring, before, how):
            until(lambda: relay(ring) != before, 10, "another relay")
            pings.wait_answer(clock(), 10, ENOUGH)
            silent, lost = pings.outage(since), pings.lost
            result = pings.stop()
    print(f"the relay {how}: nothing got through for {silent:.2f} s")
    assert silent < longest_gap
    assert lost * INTERVAL < longest_gap
    assert result.duplicates == 0


@contextmanager
def broken(mesh: LabMesh, name: str, how: str) -> Iterator[None]:
    """A host that fails while the block runs, and works again afterwards."""
    faults: tuple[Fault, ...] = ()
    match how:
        case "is told to end":
            mesh[name].stop()
        case "is killed":
            mesh[name].kill()
        case _:
            faults = tuple(f for other in ("h1", "h3") for f in mesh.lab.block(name, other))
    try:
        yield
    finally:
        mesh.lab.heal(*faults)
        if not mesh[name].running:
            mesh[name].launch()
        bring_up(mesh)
