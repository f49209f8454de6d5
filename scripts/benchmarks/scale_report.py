"""What does a run of `scripts/bench scale` say?"""

from __future__ import annotations

from collections.abc import Sequence

from scripts.benchmarks.contestants import WEAVE
from scripts.benchmarks.rounds import Samples
from scripts.benchmarks.tables import Sample, errors, heading, markdown, number, ratio


def report(
    taken: Sequence[Sample], command: str, peers: Sequence[int], flows: Sequence[int]
) -> str:
    """Everything, as Markdown."""
    samples = Samples(taken)
    rounds = max((sample["round"] for sample in taken), default=0)
    parts = [
        heading("As the mesh grows", command),
        f"Medians of {rounds} round(s). All routers are on one wire and start at the same moment, "
        "told of the first one only; the load is TCP between two of them, the others idle.\n",
        *([_load_table(samples, peers, flows), ""] if flows else []),
        _idle_table(samples, peers),
        "",
        _time_table(samples, peers),
    ]
    if THIRTY in peers:
        parts += ["", _weave_table(samples)]
    return "\n".join([*parts, errors(taken)])


THIRTY = 30
WEAVE_NET = {"idle_rss_mean_mib": 75.0, "idle_cpu_mean": 0.011}
"""Weave Net 2.8 with as many routers, on one bridge from one seed and idle: measured once, on a
machine like the one of docs/benchmarks.md. Of the other figures there are none."""
WEAVE_NET_SILENCE = 60.0
"""Seconds after which Weave Net misses a peer that is silent (its documentation)."""
OUR_SILENCE = 3.0


def _weave_table(samples: Samples) -> str:
    """Thirty routers, ours beside Weave Net's."""

    def row(text: str, what: str, digits: int, scale: float = 1.0) -> list[str]:
        ours, theirs = _value(samples, THIRTY, what), WEAVE_NET.get(what)
        return [
            text,
            number(ours, digits, scale=scale),
            number(theirs, digits, scale=scale),
            number(ratio(ours, theirs), 2),
        ]

    silence = ["a silent peer is missed after, s (as configured)", number(OUR_SILENCE),
               number(WEAVE_NET_SILENCE), number(OUR_SILENCE / WEAVE_NET_SILENCE, 2)]  # fmt: skip
    return markdown(
        ["thirty routers, one machine", "weave-py", "Weave Net 2.8", "ratio"],
        [
            row("all know all after, s", "all_known_s", 1),
            row("all have direct paths to all after, s", "all_paths_s", 1),
            row("CPU of all routers until then, s", "start_cpu_s", 1),
            row("RSS per router, idle, MiB", "idle_rss_mean_mib", 1),
            row("CPU per router, idle, % of a core", "idle_cpu_mean", 2, 100),
            row("control bytes/s sent per router, idle", "idle_control_bytes", 0),
            row("probe bytes/s sent per router, idle", "idle_probe_bytes", 0),
            row("all know of a SIGKILL after, s", "death_known_s", 2),
            silence,
        ],
    )


def _value(samples: Samples, peers: int, what: str) -> float | None:
    return samples.median(WEAVE, f"{peers} peers", what)


def _load_table(samples: Samples, peers: Sequence[int], flows: Sequence[int]) -> str:
    head = ["peers", "flows", "TCP, Mbit/s", "of the first line", "both routers' CPU s/GiB",
            "whole machine CPU s/GiB"]  # fmt: skip
    base = _value(samples, peers[0], f"flows{flows[0]}_mbit")
    rows = []
    for count in peers:
        for streams in flows:
            speed = _value(samples, count, f"flows{streams}_mbit")
            cpu = [
                number(_value(samples, count, f"flows{streams}_cpu_{whose}_per_gib"), 2)
                for whose in ("tunnel", "machine")
            ]
            rows.append(
                [str(count), str(streams), number(speed), number(ratio(speed, base), 2), *cpu]
            )
    return markdown(head, rows)


def _idle_table(samples: Samples, peers: Sequence[int]) -> str:
    head = ["idle, per router", "CPU mean, % of a core", "CPU most, %", "RSS mean, MiB",
            "RSS most, MiB", "RSS after load, MiB"]  # fmt: skip

    def row(count: int) -> list[str]:
        shares = [_value(samples, count, f"idle_cpu_{which}") for which in ("mean", "max")]
        cells = [number(None if share is None else share * 100, 2) for share in shares]
        memory = ("idle_rss_mean_mib", "idle_rss_max_mib", "rss_after_mib")
        return [f"{count} peers", *cells, *(number(_value(samples, count, m), 1) for m in memory)]

    return markdown(head, map(row, peers))


def _time_table(samples: Samples, peers: Sequence[int]) -> str:
    head = ["seconds until", "all answer", "all know all", "all have direct paths to all",
            "all know of a SIGKILL", "none has a path to the killed"]  # fmt: skip

    def row(count: int) -> list[str]:
        wanted = ("all_answer_s", "all_known_s", "all_paths_s", "death_known_s", "death_no_path_s")
        return [f"{count} peers", *(number(_value(samples, count, what), 2) for what in wanted)]

    return markdown(head, map(row, peers))
