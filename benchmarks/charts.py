"""Charts of the benchmarks, as SVG with transparent ground: readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

GREY = "#888888"
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
    colors = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings: dict[Any, str] = dict.fromkeys(colors, GREY)
    settings |= {"svg.hashsalt": "topseg", "svg.fonttype": "none", "font.family": "sans-serif"}
    with pyplot.rc_context(settings):
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
