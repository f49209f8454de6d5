"""What does `weave-py sim` print, and with which status does it end?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from weave_py.cli import sim as command
from weave_py.cli.exits import CommandError
from weave_py.cli.main import run
from weave_py.sim import scenario
from weave_py.sim.scenario import Figures

SMALL = ["sim", "--peers", "6", "--duration", "3", "--pairs", "3"]


def test_a_run_prints_its_figures_and_writes_its_trace(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    assert run([*SMALL, "--trace", str(trace)]) == 0
    out, err = capsys.readouterr()
    assert "6 peers, real engines" in out
    assert "until all agree" in out
    assert "a peer); run " in out
    assert err == ""
    assert "connection established" in trace.read_text()


def test_figures_as_json_are_the_same_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for _ in range(2):
        assert run([*SMALL, "--seed", "4", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found.pop("memory_mib") > 10
        assert found.pop("seconds") > 0
        runs.append(Figures(**found))
    assert runs[0] == runs[1]
    assert runs[0].violations == []


def test_whatever_the_hash_seed_of_the_interpreter() -> None:
    runs = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "weave_py", *SMALL, "--peers", "40", "--json"],
            env={"PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
            timeout=240,
        )
        runs.append(json.loads(done.stdout)["run"])
    assert runs[0] == runs[1]


def test_a_violation_prints_the_seed_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario, "PATIENCE", 0.0)
    assert run([*SMALL, "--seed", "9"]) == 1
    err = capsys.readouterr().err
    assert "connection established" in err, "the last that happened"
    assert "violated: no agreement within 0 s" in err
    assert "seed 9 failed" in err
    assert "weave-py sim --peers 6 --seed 9 --duration 3 --pairs 3 --trace FILE" in err


def test_a_curve_is_a_table_and_a_plot(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "CURVE", (4, 8))
    path = tmp_path / "curve.svg"
    assert run(["sim", "--duration", "2", "--pairs", "2", "--curve", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("| peers | 4 | 8 |\n|")
    assert path.read_text().startswith("<svg")


def test_a_curve_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "CURVE", (2,))
    path = tmp_path / "nowhere" / "curve.svg"
    assert run(["sim", "--duration", "0", "--pairs", "0", "--curve", str(path)]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--peers", "1"], ["--loss", "2"], ["--seeds", "0"]])
def test_nonsense_is_a_usage_error(words: list[str]) -> None:
    assert run(["sim", *words]) == 2


def test_a_curve_of_other_sizes(tmp_path: Path) -> None:
    path = tmp_path / "curve.svg"
    words = ["sim", "--duration", "0", "--pairs", "0", "--sizes", "2,3", "--curve", str(path)]
    assert run(words) == 0
    assert path.read_text().startswith("<svg")


@pytest.mark.parametrize("sizes", ["1", "two", "2,,3", "2,99999"])
def test_sizes_that_make_no_sense(sizes: str) -> None:
    assert run(["sim", "--sizes", sizes, "--curve", "x.svg"]) == 2


def test_sizes_are_for_a_curve() -> None:
    assert run(["sim", "--sizes", "2,3"]) == 2


@pytest.mark.parametrize("option", ["--churn", "--duration", "--loss", "--latency"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    assert run([*SMALL, option, value]) == 2
    assert option in capsys.readouterr().err


def test_a_curve_that_cannot_be_written_is_found_out_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[int] = []

    def elsewhere(options: object, peers: int) -> None:
        ran.append(peers)
        raise CommandError("enough")

    monkeypatch.setattr(command, "_elsewhere", elsewhere)
    path = tmp_path / "no such" / "curve.svg"
    assert run(["sim", "--curve", str(path)]) == 1
    assert capsys.readouterr().err == f"weave-py: cannot write {path}: No such file or directory\n"
    assert ran == []
    assert run(["sim", "--curve", str(tmp_path / "curve.svg")]) == 1
    assert ran == [10]
    assert list(tmp_path.iterdir()) == []  # nothing is left of the trial


def test_a_trace_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--trace", "/dev/full"]) == 1
    assert capsys.readouterr().err == "weave-py: cannot write: No space left on device\n"
