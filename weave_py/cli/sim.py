"""`sim`: a network of many peers in virtual time, in this process alone; nothing is sent."""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from weave_py.cli.exits import CommandError, Exit
from weave_py.config.options import CONN_LIMIT

if TYPE_CHECKING:
    from weave_py.sim.scenario import Figures, Options

CURVE = (10, 100, 1000)
MOST_PEERS = 5000
KIB_PER_MIB = 1024


class Finite(click.FloatRange):
    """Bounds alone let `nan` through: it is neither below nor above anything."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _sizes(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = text.split(",")
    if not all(word.isdecimal() and 2 <= int(word) <= MOST_PEERS for word in words):
        raise click.BadParameter(f"{text!r}: use 2 to {MOST_PEERS}, with commas between")
    return tuple(map(int, words))


@click.command("sim", short_help="Simulate a large network in virtual time.")
@click.option("--peers", type=click.IntRange(2, MOST_PEERS), default=100, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides all that is random.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="How many peers all others are told of.",
)
@click.option(
    "--churn",
    type=Finite(0, 100),
    default=1.0,
    show_default=True,
    help="Peers that join, leave, die or return, and wires cut and mended, per second.",
)
@click.option(
    "--duration",
    type=Finite(0, 3600),
    default=30.0,
    show_default=True,
    help="Virtual seconds of churn.",
)
@click.option("--no-partition", is_flag=True, help="Do not cut the network in two meanwhile.")
@click.option(
    "--loss",
    type=Finite(0, 0.3),
    default=0.0,
    show_default=True,
    help="Share of packets that get lost.",
)
@click.option(
    "--latency",
    type=Finite(0, 1),
    default=0.01,
    show_default=True,
    help="Seconds, one way.",
)
@click.option(
    "--conn-limit", type=click.IntRange(0, 256), default=CONN_LIMIT.default, show_default=True
)
@click.option(
    "--pairs",
    type=click.IntRange(0, 1000),
    default=20,
    show_default=True,
    help="Pairs, drawn at random, that have to get direct paths.",
)
@click.option("--trace", type=click.File("w"), help="Write down what happens, line by line.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--curve",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE.svg",
    help="Simulate 10, 100 and 1,000 peers, print a table and plot it.",
)
@click.option(
    "--sizes",
    metavar="N,…",
    callback=_sizes,
    help="With --curve: simulate so many peers instead, one after the other.",
)
def sim_command(
    trace: TextIO | None,
    as_json: bool,
    curve: str | None,
    sizes: tuple[int, ...] | None,
    no_partition: bool,
    peers: int,
    seed: int,
    seeds: int,
    churn: float,
    duration: float,
    loss: float,
    latency: float,
    conn_limit: int,
    pairs: int,
) -> int:
    """Run the engines of many routers in one process and check what must always hold.

    Fails (1) if an invariant does not hold; the same options and seed do exactly the same again.
    """
    from weave_py.sim.scenario import Options

    options = Options(
        peers=peers,
        seed=seed,
        seeds=seeds,
        churn=churn,
        duration=duration,
        partition=not no_partition,
        loss=loss,
        latency=latency,
        conn_limit=conn_limit,
        pairs=pairs,
    )
    if curve is not None:
        return _draw(options, curve, sizes or CURVE)
    if sizes is not None:
        raise click.UsageError("--sizes is for --curve: give --peers for a single run")
    return _simulate(options, None if trace is None else trace.write, as_json)


def _simulate(options: Options, sink: Callable[[str], object] | None, as_json: bool) -> int:
    from weave_py.sim import report
    from weave_py.sim.scenario import Scenario

    # A large network is millions of long-lived objects: to look through them often takes long.
    gc.set_threshold(200_000, 20, 100)
    started = time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            click.echo(f"{time.monotonic() - started:6.1f} s  {text}")

    say(report.honesty(options))
    scenario = Scenario(options, say, sink)
    figures = scenario.run()
    seconds, memory = time.monotonic() - started, _memory_mib()
    if as_json:
        click.echo(json.dumps({**asdict(figures), "memory_mib": memory, "seconds": seconds}))
    else:
        for line in report.lines(figures, memory, seconds):
            click.echo(line)
    if not figures.violations:
        return Exit.OK
    _show_failure(options, figures, list(scenario.trace.recent))
    return Exit.FAILED


def _show_failure(options: Options, figures: Figures, recent: list[str]) -> None:
    from weave_py.sim import report

    for line in recent:
        click.echo(line, err=True)
    for violation in figures.violations:
        click.echo(f"violated: {violation}", err=True)
    click.echo(f"seed {options.seed} failed; the same again, with all that happened:", err=True)
    click.echo(f"  {report.replay(options)} --trace FILE", err=True)


def _draw(options: Options, path: str, sizes: Sequence[int]) -> int:
    """Each network in a process of its own, so that its memory is its own."""
    from weave_py.sim import report
    from weave_py.sim.plot import Curve, svg

    _try_to_write(path)  # the simulations take minutes
    runs = [_elsewhere(options, peers) for peers in sizes]
    click.echo(report.table(runs))
    curves = [
        Curve(
            "agree after the start, s", [(f.peers, f.converged_after_start or 0) for f, _ in runs]
        ),
        Curve("one change, bytes a peer", [(f.peers, f.change_bytes) for f, _ in runs]),
        Curve(
            "at rest, control bytes/s a peer", [(f.peers, f.idle_control_bytes) for f, _ in runs]
        ),
        Curve("memory, MiB a peer", [(f.peers, memory / f.peers) for f, memory in runs]),
    ]
    with _writing(path):
        Path(path).write_text(svg(curves))
    return Exit.FAILED if any(f.violations for f, _ in runs) else Exit.OK


def _try_to_write(path: str) -> None:
    is_new = not os.path.lexists(path)
    with _writing(path):
        open(path, "a").close()
        if is_new:
            os.unlink(path)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None


def _elsewhere(options: Options, peers: int) -> tuple[Figures, float]:
    from dataclasses import replace

    from weave_py.sim import report
    from weave_py.sim.scenario import Figures

    words = report.replay(replace(options, peers=peers)).split()[1:]
    command = [sys.executable, "-m", "weave_py", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise CommandError(f"the simulation of {peers} peers ended with status {done.returncode}")
    found = json.loads(done.stdout)
    memory = found.pop("memory_mib")
    found.pop("seconds")
    return Figures(**found), memory


def _memory_mib() -> float:
    """The most this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB
