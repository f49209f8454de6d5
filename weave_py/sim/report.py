"""How are a simulation's figures told? As lines, and several networks' as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from weave_py.sim.scenario import FULL_DATA_PLANE, Figures, Options


def honesty(options: Options) -> str:
    """What is real in this run, and what is not."""
    paths = (
        "data paths between all"
        if options.peers <= FULL_DATA_PLANE
        else "data paths between neighbours and drawn pairs only"
    )
    return (
        f"{options.peers} peers, real engines and cryptography in virtual time; {paths}; "
        "records that one router has verified are not verified again for the others"
    )


def lines(figures: Figures, memory_mib: float, seconds: float) -> Iterable[str]:
    """The summary at the end."""
    f = figures
    yield (
        f"start: {_seconds(f.converged_after_start)} until all agree, "
        f"{f.start_messages:,.0f} messages and {f.start_bytes / 1000:,.0f} kB a peer"
    )
    yield (
        f"control graph: {f.neighbours_mean:.1f} connections a peer, at most "
        f"{f.neighbours_most}; {f.hops_most} hops at most"
    )
    yield (
        f"at rest: {f.idle_control_messages:.1f} messages and {f.idle_control_bytes:,.0f} bytes "
        f"a second and peer on control connections, {f.idle_data_bytes:,.0f} bytes of probes"
    )
    yield (
        f"one change: {f.change_messages:,.0f} messages and {f.change_bytes / 1000:,.1f} kB "
        f"a peer, all agree within {f.change_agreed:.2f} s"
    )
    if f.events:
        after = _seconds(f.converged_after_trouble)
        yield f"trouble: {f.events} events, all agree {after} after the last"
    yield (
        f"{f.virtual_seconds:.0f} virtual seconds in {seconds:.0f} s, {memory_mib:,.0f} MiB "
        f"({memory_mib / f.peers:.2f} a peer); run {f.run}"
    )


def table(runs: Sequence[tuple[Figures, float]]) -> str:
    """A column for each network; with each figures its memory in MiB."""
    rows = [
        ("agree after the start, s", [_plain(f.converged_after_start) for f, _ in runs]),
        ("… bytes a peer until then, kB", [f"{f.start_bytes / 1000:,.0f}" for f, _ in runs]),
        ("… messages a peer until then", [f"{f.start_messages:,.0f}" for f, _ in runs]),
        ("control connections a peer, mean", [f"{f.neighbours_mean:.1f}" for f, _ in runs]),
        ("… at most", [str(f.neighbours_most) for f, _ in runs]),
        ("hops, at most", [str(f.hops_most) for f, _ in runs]),
        ("at rest, control bytes/s a peer", [f"{f.idle_control_bytes:,.0f}" for f, _ in runs]),
        ("at rest, messages/s a peer", [f"{f.idle_control_messages:.1f}" for f, _ in runs]),
        ("one change, kB a peer", [f"{f.change_bytes / 1000:,.1f}" for f, _ in runs]),
        ("one change, messages a peer", [f"{f.change_messages:,.0f}" for f, _ in runs]),
        ("… all agree within, s", [f"{f.change_agreed:.2f}" for f, _ in runs]),
        ("agree after trouble, s", [_plain(f.converged_after_trouble) for f, _ in runs]),
        ("memory of the process, MiB a peer", [f"{m / f.peers:.2f}" for f, m in runs]),
    ]
    head = ["peers", *(f"{figures.peers:,}" for figures, _ in runs)]
    body = [[name, *values] for name, values in rows]
    marked = [head, ["---", *("---:" for _ in runs)], *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in marked)


def replay(options: Options) -> str:
    """The command that does the same again."""
    words = ["weave-py sim"]
    for field in fields(options):
        value, name = getattr(options, field.name), field.name.replace("_", "-")
        if field.name != "peers" and value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--no-{name}")
        else:
            words.append(f"--{name} {value:g}")
    return " ".join(words)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
