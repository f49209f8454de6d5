"""Does a whole simulation run, say what it found, and do the same again?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from weave_py.sim import scenario
from weave_py.sim.report import lines, replay, table
from weave_py.sim.scenario import Figures, Options, Scenario

SMALL = Options(peers=8, duration=6.0, churn=2.0, pairs=4)


def run(options: Options, trace: list[str] | None = None) -> Figures:
    sink = None if trace is None else trace.append
    return Scenario(options, lambda line: None, sink).run()


def test_a_small_network_keeps_all_invariants() -> None:
    trace: list[str] = []
    figures = run(SMALL, trace)
    assert figures.violations == []
    assert figures.converged_after_start is not None
    assert figures.converged_after_start < 5
    assert figures.converged_after_trouble is not None
    assert figures.events > 3
    assert 0 < figures.idle_control_bytes < 2000
    assert figures.change_bytes > figures.idle_control_bytes
    assert figures.neighbours_mean == 7
    assert figures.hops_most == 1
    assert any("partition" in line for line in trace)
    assert any("connection established" in line for line in trace)
    assert any(" joins" in line for line in trace)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in trace)


def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    first, again = run(SMALL), run(SMALL)
    assert first == again
    assert run(replace(SMALL, seed=2)).run != first.run


def test_on_lossy_wires_too() -> None:
    assert run(replace(SMALL, loss=0.05, seed=5)).violations == []


def test_a_network_above_the_full_data_plane_has_links_to_neighbours_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenario, "FULL_DATA_PLANE", 4)
    simulation = Scenario(replace(SMALL, peers=40, duration=0.0, pairs=10), lambda line: None)
    figures = simulation.run()
    assert figures.violations == []
    assert figures.strangers > 0, "directness was tried where it is not given anyway"
    links = sum(len(list(host.engine.links)) for host in simulation._network.hosts)
    assert links < 40 * 39


def test_a_network_that_never_agrees_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "PATIENCE", 0.0)
    simulation = Scenario(SMALL, lambda line: None)
    figures = simulation.run()
    assert any("no agreement within 0 s" in text for text in figures.violations)
    assert figures.converged_after_start is None
    assert simulation.trace.recent


def test_the_replay_says_what_differs_from_the_defaults() -> None:
    assert replay(Options(peers=7)) == "weave-py sim --peers 7"
    options = Options(peers=7, seed=3, partition=False, loss=0.01, conn_limit=20)
    assert replay(options) == (
        "weave-py sim --peers 7 --seed 3 --no-partition --loss 0.01 --conn-limit 20"
    )


def test_figures_are_told() -> None:
    figures = Figures(10, 1, converged_after_start=1.5, change_bytes=1234.0)
    text = "\n".join(lines(figures, 55.0, 3.0))
    assert "1.50 s until all agree" in text
    assert "1.2 kB" in text
    assert "55 MiB" in text
    columns = table([(figures, 55.0), (Figures(1000, 1), 900.0)]).splitlines()
    assert columns[0] == "| peers | 10 | 1,000 |"
    assert all(line.count("|") == 4 for line in columns)
