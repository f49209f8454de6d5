#!/usr/bin/env python3
"""Which path does every pair of NATs and firewalls find? Prints the table of docs/paths.md.

    scripts/benchmarks/nat_matrix.py [--fastdp] [KIND…]
                                  as root; all ten kinds take about ten minutes

With --fastdp it is an open network, and the kernel may carry the frames where it can.

Real routers in network namespaces: two hosts, each behind its kind, and a public one. A cell says
what path frames take from the row's host to the column's (and back, if that differs), and how long
it took from the moment that both hosts had joined the mesh. Exit status 1: a pair found
another path than it should.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import combinations_with_replacement
from pathlib import Path

from weave_py.lab.nat_pairs import Finding, expected, find, started
from weave_py.lab.nats import Kind


def main(argv: list[str]) -> int:
    fastdp = "--fastdp" in argv
    words = [word for word in argv if word != "--fastdp"]
    kinds = [Kind(word) for word in words] or [kind for kind in Kind if kind is not Kind.OPEN]
    findings: dict[tuple[Kind, Kind], Finding] = {}
    for one, other in combinations_with_replacement(kinds, 2):
        with (
            tempfile.TemporaryDirectory() as directory,
            started(one, other, Path(directory), fastdp) as (_, mesh),
        ):
            finding = findings[one, other] = find(one, other, mesh)
        print(f"{one} × {other}: {_cell(finding)} {finding.reasons}", file=sys.stderr, flush=True)
    print(_table(kinds, findings))
    return 0 if all(finding.is_expected for finding in findings.values()) else 1


def _table(kinds: list[Kind], findings: dict[tuple[Kind, Kind], Finding]) -> str:
    lines = [["", *kinds], ["---"] * (len(kinds) + 1)]
    for one in kinds:
        row = [f"**{one}**"]
        for other in kinds:
            finding = findings.get((one, other))
            row.append("" if finding is None else _cell(finding))
        lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(finding: Finding) -> str:
    text = f"{finding.kinds.text} {finding.seconds:.1f} s"
    if finding.is_expected:
        return text
    return f"{text} (expected {expected(finding.one, finding.other).text})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
