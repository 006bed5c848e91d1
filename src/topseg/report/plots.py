"""Plots of scores as inline SVG, which follow the page's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIDE = 320
_LEFT, _TOP = 46, 10


def reliability_plot(bins: Sequence[Mapping[str, Any]], error: float) -> str:
    """Draw how often the model is right against how sure it is.

    Args:
        bins: As ``Calibration`` makes them: pixels, confidence, accuracy.
        error: The expected calibration error.

    Returns:
        A ``<figure>``; on the diagonal a probability is what it says. The area of a point is the
        bin's share of the pixels.
    """
    total = sum(one["pixels"] for one in bins)

    def across(ratio: float) -> float:
        return _LEFT + ratio * _SIDE

    def down(ratio: float) -> float:
        return _TOP + (1 - ratio) * _SIDE

    lines = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        place, height = f"{across(tick):.1f}", f"{down(tick):.1f}"
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{height}" y2="{height}"/>'
        )
        lines.append(f'<text x="{_LEFT - 7}" y="{height}" dy="4" class="end">{tick:.0%}</text>')
        lines.append(f'<text x="{place}" y="{_TOP + _SIDE + 18}" class="middle">{tick:.0%}</text>')
    lines.append(
        f'<line class="diagonal" x1="{across(0)}" y1="{down(0)}" x2="{across(1)}" y2="{down(1)}"/>'
    )
    points = [(across(one["confidence"]), down(one["accuracy"])) for one in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines.append(f'<polyline points="{path}" stroke="var(--accent)"/>')
    for (x, y), one in zip(points, bins, strict=True):
        share = one["pixels"] / total
        words = (
            f"{share:.1%} of the pixels: probability {one['confidence']:.1%}, "
            f"right {one['accuracy']:.1%}"
        )
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 14 * math.sqrt(share):.1f}" '
            f'fill="var(--accent)" fill-opacity=".55"><title>{words}</title></circle>'
        )
    middle = _LEFT + _SIDE / 2
    lines.append(
        f'<text x="{middle}" y="{_TOP + _SIDE + 38}" class="middle">mean probability</text>'
    )
    return (
        '<figure class="chart reliability"><figcaption>Right against sure</figcaption>'
        f'<svg viewBox="0 0 {_LEFT + _SIDE + 20} {_TOP + _SIDE + 46}" role="img" '
        f'aria-label="share of right pixels over the mean probability; expected calibration error '
        f'{error:.2%}">{"".join(lines)}</svg>'
        f"<p>Below the line the model is too sure. Expected calibration error {error:.2%}.</p>"
        "</figure>"
    )


def matrix_plot(names: Sequence[str], matrix: NDArray[np.int64]) -> str:
    """Draw a confusion matrix of any number of classes.

    Args:
        names: K classes.
        matrix: (K, K) counts, row = truth, column = prediction.

    Returns:
        A ``<figure>``; the area of a square's tint is the share of the row, absent where below
        0.5 %. A square tells its classes and share when pointed at.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    count = len(names)
    unit = max(4.0, min(24.0, 760 / count))
    font = min(12.0, 0.8 * unit)
    longest = max(map(len, names))
    left = min(150.0, 0.62 * font * longest + 8) if font >= 7 else 6.0
    side = unit * count
    cells = [f'<rect class="frame" x="{left}" y="{left}" width="{side}" height="{side}"/>']
    for row, column in np.argwhere(shares >= 0.005).tolist():
        share = float(shares[row, column])
        words = (
            f"{names[row]} taken for {names[column]}" if row != column else f"{names[row]} found"
        )
        fill = "--accent" if row == column else "--fault"
        cells.append(
            f'<rect x="{left + unit * column:.1f}" y="{left + unit * row:.1f}" width="{unit:.1f}" '
            f'height="{unit:.1f}" fill="var({fill})" fill-opacity="{math.sqrt(share):.2f}">'
            f"<title>{escape(words)}: {share:.1%}</title></rect>"
        )
    if font >= 7:
        for place, name in enumerate(names):
            at = left + unit * (place + 0.5)
            short = name if len(name) <= 20 else f"{name[:19]}…"
            text = f'font-size="{font:.1f}" dy="{0.35 * font:.1f}">{escape(short)}</text>'
            cells.append(f'<text class="end" x="{left - 5:.1f}" y="{at:.1f}" {text}')
            turn = f"rotate(-90 {at:.1f} {left - 5:.1f})"
            cells.append(f'<text x="{at:.1f}" y="{left - 5:.1f}" transform="{turn}" {text}')
    whole = left + side + 2
    return (
        '<figure class="chart matrix-plot"><figcaption>Truth in rows, prediction in columns'
        f'</figcaption><svg viewBox="0 0 {whole:.0f} {whole:.0f}" '
        f'style="max-width:{max(whole, 420):.0f}px" role="img" aria-label="confusion matrix of '
        f'{count} classes">{"".join(cells)}</svg></figure>'
    )


def interval_plot(value: float, low: float, high: float, reach: float) -> str:
    """Draw an interval and its value about 0 within -reach..reach, small enough for a table."""
    if math.isnan(value) or reach <= 0:
        return ""

    def across(x: float) -> float:
        return 60 + 56 * max(-1.0, min(1.0, x / reach))

    side = "worse" if high < 0 else "better" if low > 0 else "even"
    words = f"{100 * low:+.2f} to {100 * high:+.2f}"
    return (
        f'<svg class="interval {side}" viewBox="0 0 120 16" role="img" aria-label="{words}">'
        '<line class="grid" x1="60" x2="60" y1="0" y2="16"/>'
        f'<line x1="{across(low):.1f}" x2="{across(high):.1f}" y1="8" y2="8"/>'
        f'<circle cx="{across(value):.1f}" cy="8" r="3.5"/></svg>'
    )
