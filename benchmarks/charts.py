"""Charts of the benchmarks, as SVG with transparent ground: readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

GREY = "#888888"
STYLE: dict[Any, str] = {
    "svg.hashsalt": "topseg",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), GREY),
    **dict.fromkeys(("xtick.color", "ytick.color"), GREY),
}
COLORS = ("#c33333", "#dd8800", "#2288aa", "#228833", "#8855bb", GREY)


def lines(
    path: Path,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    across: str,
    title: str,
    logarithmic: bool = False,
) -> None:
    """Write a chart of lines, each named at its end.

    Args:
        path: SVG file to write.
        series: Name of a line, with its places across and its values.
        across: What the horizontal axis counts.
        title: What the values are, with their unit.
        logarithmic: Both axes.
    """
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
        for (name, (places, values)), color in zip(series.items(), COLORS, strict=False):
            axes.plot(places, values, color=color, linewidth=2)
            axes.annotate(
                f" {name}",
                (places[-1], values[-1]),
                color=color,
                va="center",
                annotation_clip=False,
            )
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
            ticks = sorted({place for places, _ in series.values() for place in places})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
            axes.minorticks_off()
        axes.set_xlabel(across)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def roofline(
    path: Path,
    roofs: Mapping[str, tuple[float, float]],
    series: Mapping[str, Mapping[str, tuple[float, float]]],
) -> None:
    """Write a roofline: what is reached beside what the processor allows, both axes logarithmic.

    Args:
        path: SVG file to write.
        roofs: Name of a roof, with its operations and its bytes per second.
        series: Name of a series, with its points by name: (operations per byte, operations per
            second).
    """
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7.2, 4.4), layout="constrained")
        places = [x for points in series.values() for x, _ in points.values()]
        left, right = min(1, *places), 2 * max(places)
        for name, (operations, rate) in roofs.items():
            across = [left, min(max(operations / rate, left), right), right]
            axes.plot(across, [min(operations, rate * x) / 1e9 for x in across], color=GREY)
            height = min(operations, rate * left) / 1e9
            axes.annotate(name, (left, height), (2, 6), textcoords="offset points", va="bottom")
        for (name, points), color in zip(series.items(), COLORS, strict=False):
            reached = [y / 1e9 for _, y in points.values()]
            axes.scatter([x for x, _ in points.values()], reached, 18, color, label=name, zorder=3)
        for stage, (x, y) in next(iter(series.values())).items():
            axes.annotate(f" {stage}", (x, y / 1e9), fontsize="x-small", va="center")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("operations per byte")
        axes.set_title("GFLOP/s", loc="left", fontsize="medium")
        axes.legend(frameon=False, loc="lower right")
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)
