"""What do the curves look like? Small logarithmic plots as SVG, without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT, GAP = 250, 190, 20
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 52, 34, 180, 110
LINE, INK = "#2563a8", "#444"


class Curve(NamedTuple):
    """A panel: values over the number of peers."""

    title: str
    points: Sequence[tuple[int, float]]


def svg(curves: Sequence[Curve]) -> str:
    """The panels side by side, of what is not zero throughout. Both axes are logarithmic; the upper
    one has whole decades."""
    curves = [curve for curve in curves if any(y > 0 for _, y in curve.points)]
    width = len(curves) * WIDTH + (len(curves) - 1) * GAP
    panels = [_panel(curve, number * (WIDTH + GAP)) for number, curve in enumerate(curves)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" '
            f'font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(curve: Curve, at: int) -> str:
    points = [(x, y) for x, y in curve.points if y > 0]
    low, high = _decades([y for _, y in points])
    first, last = points[0][0], points[-1][0]
    parts = [f'<g transform="translate({at} 0)">', f'<text x="8" y="18">{curve.title}</text>']
    for decade in range(low, high + 1):
        y = TOP + PLOT_HEIGHT * (1 - (decade - low) / (high - low))
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#ddd"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_short(10.0**decade)}</text>"
        )
    spots = []
    for peers, value in points:
        share = math.log10(peers / first) / math.log10(last / first) if last > first else 0.0
        x = LEFT + PLOT_WIDTH * share
        y = TOP + PLOT_HEIGHT * (1 - (math.log10(value) - low) / (high - low))
        spots.append((x, y))
        parts.append(
            f'<text x="{x:.1f}" y="{TOP + PLOT_HEIGHT + 16}" text-anchor="middle">{peers}</text>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{LINE}"/>'
            f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle">{_short(value)}</text>'
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}"/>')
    middle = LEFT + PLOT_WIDTH / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">peers</text></g>')
    return "\n".join(parts)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Powers of ten around all values, with room above for the labels."""
    low = math.floor(math.log10(min(values)))
    return low, max(math.floor(math.log10(max(values) * 1.3)) + 1, low + 1)


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:.3g}M"
    if value >= 1000:
        return f"{value / 1000:.3g}k"
    return f"{value:.3g}"
