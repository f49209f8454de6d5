"""Does the demo come up, show a mesh in which not everybody reaches everybody, and go away?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.dispositions import ignoring
from weave_py.lab import commands, leftovers
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping_pairs


@contextmanager
def demo(directory: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a process of its own; what it leaves behind fails the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "weave_py", "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=commands.environment({"TMPDIR": str(directory)}),
    )
    prefix = leftovers.prefix(process.pid, 0)
    with process:
        try:
            yield process
            process.wait(30)
        finally:
            if process.poll() is None:  # the test failed: leaving `with` waits for the end
                process.terminate()
    left = leftovers.sweep(prefix)
    assert left == ()
    assert list(directory.iterdir()) == []


@pytest.mark.slow
def test_the_demo_ends_by_itself_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--once", "--topology", "chain") as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "h1 ── h2 ── h3" in output
    assert "every container reaches every other one" in output
    row = next(line.split() for line in output.splitlines() if line.startswith("  c1 "))
    assert row[1] == "·"
    assert row[3] == row[5] == "ms"
    paths = output.partition("h1: weave-py status paths")[2].partition("h2: weave-py")[0]
    assert "relay" in next(line for line in paths.splitlines() if "(h3)" in line)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_stays_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path, "--topology", "chain", "--hosts", "2") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C ends the demo" in line:
                break
        assert process.poll() is None
        os.kill(process.pid, number)
        assert process.stdout.read().endswith("all gone\n")
    assert process.returncode == 0


@pytest.mark.slow
def test_a_demo_under_nohup_stays_when_the_terminal_goes(tmp_path: Path) -> None:
    with (
        ignoring(signal.SIGINT, signal.SIGHUP),
        demo(tmp_path, "--topology", "chain", "--hosts", "2") as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if "a router started in each" in line:
                os.kill(process.pid, signal.SIGHUP)
                os.kill(process.pid, signal.SIGINT)
            if "Ctrl-C ends the demo" in line:
                break
        assert process.poll() is None
        process.terminate()
        assert process.stdout.read().endswith("all gone\n")
    assert process.returncode == 0


@pytest.mark.slow
def test_a_demo_interrupted_early_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--topology", "chain") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "a router started in each" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.read().endswith("all gone\n")
    assert process.returncode == 1


@pytest.mark.slow
def test_a_lab_mesh_answers_questions(
    make_lab: Callable[..., Lab], make_mesh: Callable[..., LabMesh]
) -> None:
    mesh = make_mesh(make_lab("chain", 2))
    mesh.launch()
    mesh.wait_ready()
    mesh.attach()
    mesh.wait_reachable(30)
    assert all(ping.loss == 0 for ping in ping_pairs(mesh.lab, mesh.addresses).values())
    assert isinstance(mesh["h1"].report(), dict)
    assert "established" in mesh["h2"].cli("status", "connections").stdout
    assert mesh["h2"].stop() == 0
    mesh["h1"].kill()
    assert not mesh["h1"].running
