"""What is a part of the status? Declared once, it is shown three ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from weave_py.model.snapshot import RouterSnapshot

Json = dict[str, Any]
Labelled = tuple[tuple[str, ...], float | None]
"""Values of a metric's labels, in their order, and what it is there; None: not known."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of numbers for a monitoring system (Prometheus)."""

    name: str
    """With the base unit at the end, and `_total` behind it if it only grows."""
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    values: Callable[[RouterSnapshot], Iterable[Labelled]]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the status."""

    name: str
    """As in `status NAME`."""
    member: str
    """Of the report's Router."""
    help: str
    text: Callable[[RouterSnapshot], str]
    json: Callable[[RouterSnapshot], list[Any]]
    metrics: tuple[Metric, ...]
