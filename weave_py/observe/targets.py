"""Whom was this router told to connect to?"""

from __future__ import annotations

from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.section import Metric, Section
from weave_py.observe.text import printable


def text(snapshot: RouterSnapshot) -> str:
    """One target a line, as the user typed it."""
    return "".join(f"{printable(target)}\n" for target in snapshot.targets)


def json(snapshot: RouterSnapshot) -> list[str]:
    return list(snapshot.targets)


TARGETS = Metric(
    "weave_targets",
    "gauge",
    "Peers that this router was told to connect to.",
    (),
    lambda snapshot: [((), len(snapshot.targets))],
)

SECTION = Section("targets", "Targets", "The targets as typed.", text, json, (TARGETS,))
