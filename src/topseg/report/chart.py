"""Charts: curves as inline SVG, which follows the page's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 440, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 16, 12, 30
_MOST = 400
"""Points of a curve; more would only make the file larger."""
_FEW = 24
"""Up to so many points are marked, and tell their value when pointed at."""


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: What it shows.
        color: Any CSS colour.
        points: (step, value), in order.
    """

    name: str
    color: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, series: Sequence[Series], *, percent: bool = False) -> str:
    """Draw curves over the steps.

    Args:
        title: Of the chart.
        series: The curves; those without points are left out.
        percent: Whether the values are ratios, to be read as such.

    Returns:
        A ``<figure>``, or nothing where there is no point at all.
    """
    series = [one for one in series if one.points]
    if not series:
        return ""
    steps = [x for one in series for x, _ in one.points]
    values = [y for one in series for _, y in one.points]
    ticks = _ticks(min(0.0, *values), max(values))
    last, low, high = max(steps), ticks[0], ticks[-1]
    text = "{:.1%}".format if percent else "{:.3g}".format

    def across(step: float) -> float:
        return _LEFT + step / last * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    lines = []
    for tick in ticks:
        y, label = f"{down(tick):.1f}", f"{tick:.0%}" if percent else f"{tick:.4g}"
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text x="{_LEFT - 7}" y="{y}" dy="4" class="end">{label}</text>')
    for tick in _ticks(0, last):
        if tick <= last:
            place = f'x="{across(tick):.1f}" y="{_HEIGHT - 10}"'
            lines.append(f'<text {place} class="middle">{tick:g}</text>')
    for one in series:
        points = [(across(x), down(y)) for x, y in _thin(one.points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline points="{path}" stroke="{one.color}"/>')
        if len(one.points) <= _FEW:
            lines += [
                f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{one.color}">'
                f"<title>{escape(one.name)}, step {x:g}: {text(y)}</title></circle>"
                for x, y in one.points
            ]
    spoken = "; ".join(
        f"{one.name} from {text(one.points[0][1])} to {text(one.points[-1][1])}" for one in series
    )
    keys = "".join(
        f'<li><i style="background:{one.color}"></i>{escape(one.name)} '
        f"<b>{text(one.points[-1][1])}</b></li>"
        for one in series
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)} over {last:g} steps: {escape(spoken)}">'
        f'{"".join(lines)}</svg><ul class="keys">{keys}</ul></figure>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers that enclose a range, four to eight of them."""
    span = high - low or abs(high) or 1.0
    unit = 10 ** math.floor(math.log10(span / 4))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if span / (unit * m) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, max(last, first + 1) + 1)]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average runs of neighbours where there are too many points."""
    run = -(-len(points) // _MOST)
    parts = [points[i : i + run] for i in range(0, len(points), run)]
    return [(part[-1][0], math.fsum(y for _, y in part) / len(part)) for part in parts]
