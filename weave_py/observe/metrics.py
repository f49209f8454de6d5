"""What does a router look like to a monitoring system? Prometheus' text format, version 0.0.4.

The values are those of the status. Weave's names where the notions agree; a peer is labelled by its
name, never by an address. Nothing is kept between requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from weave_py import __version__
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.section import Metric
from weave_py.observe.sections import SECTIONS

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_OF_THE_ROUTER = (
    Metric(
        "weave_build_info",
        "gauge",
        "Always 1; the router's version.",
        ("version",),
        lambda _: [((__version__,), 1)],
    ),
    Metric(
        "weave_router_events_total",
        "counter",
        "What the router counts that no peer is to be named for, as in the report's Counters.",
        ("event",),
        lambda snapshot: [((name,), count) for name, count in sorted(snapshot.counters.items())],
    ),
)

METRICS: Final[tuple[Metric, ...]] = (
    *_OF_THE_ROUTER,
    *(metric for section in SECTIONS for metric in section.metrics),
)


def exposition(snapshot: RouterSnapshot) -> str:
    """All metrics. What is not known is left out."""
    return "".join(line for metric in METRICS for line in _family(metric, snapshot))


def _family(metric: Metric, snapshot: RouterSnapshot) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.help)}\n"
    yield f"# TYPE {metric.name} {metric.kind}\n"
    for values, number in metric.values(snapshot):
        if number is not None:
            pairs = zip(metric.labels, values, strict=True)
            inside = ",".join(f'{label}="{_quoted(value)}"' for label, value in pairs)
            yield f"{metric.name}{f'{{{inside}}}' if inside else ''} {number}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
