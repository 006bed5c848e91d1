"""Page: the report as HTML with its style, curves and pictures inside, and no script."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from topseg import __version__
from topseg.core.files import write_text
from topseg.core.labels import LabelSet
from topseg.evaluation.scores import Scores
from topseg.report.chart import Series, line_chart
from topseg.report.pictures import Example, example_figure

_LARGEST_MATRIX = 24
"""Classes up to which the confusion matrix is shown; a larger one would not be read."""

_UNIT = re.compile(r"(?<=\d) ([^\s\d<]+)")
"""What follows a number: min, images/s ..."""


@dataclass(frozen=True)
class RunReport:
    """What the page shows.

    Attributes:
        title: The headline.
        summary: One sentence below it.
        figures: The numbers at the top, name -> text.
        labels: The classes.
        scores: How good the model is.
        examples: Images, truths and predictions.
        log: The lines of the run's ``log.jsonl``.
        recipe: The resolved recipe, YAML.
        facts: Versions, machine and origin, name -> text.
        commands: What to type next, one line each.
    """

    title: str
    summary: str
    figures: Mapping[str, str]
    labels: LabelSet
    scores: Scores
    examples: Sequence[Example] = ()
    log: Sequence[Mapping[str, Any]] = ()
    recipe: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


def write_report(path: Path, report: RunReport) -> None:
    """Write a report as one HTML file.

    Raises:
        InputError: The file cannot be written.
    """
    write_text(path, "\n".join(_page(report)) + "\n")


def _page(report: RunReport) -> Iterator[str]:
    style = (importlib.resources.files("topseg.report") / "style.css").read_text(encoding="utf-8")
    title = escape(report.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title} - topseg</title>\n<style>\n{style}</style>\n</head>\n<body>"
    yield f"<header><small>topseg</small><h1>{title}</h1><p>{escape(report.summary)}</p>"
    yield _UNIT.sub(r" <small>\1</small>", _definitions("figures", report.figures))
    yield "</header>\n<main>"
    for section in (_pictures, _classes, _confusion, _curves, _details):
        yield from section(report)
    yield f"</main>\n<footer>Made by topseg {__version__}.</footer>\n</body>\n</html>"


def _pictures(report: RunReport) -> Iterator[str]:
    if not report.examples:
        return
    yield "<section><h2>Pictures</h2>"
    yield "<p>From the worst image to the best. Differences are red; pixels that belong to no "
    yield "class are black in the truth and count nowhere.</p>"
    used = set().union(*(set(e.truth.flat) | set(e.prediction.flat) for e in report.examples))
    pairs = zip(report.labels.names, report.labels.palette, strict=True)
    chips = [_chip(name, color) for i, (name, color) in enumerate(pairs) if i in used]
    yield f'<ul class="legend">{"".join(f"<li>{chip}</li>" for chip in chips)}</ul>'
    yield from (example_figure(example, report.labels) for example in report.examples)
    yield "</section>"


def _classes(report: RunReport) -> Iterator[str]:
    scores = report.scores
    yield "<section><h2>Classes</h2>"
    yield f"<p>{escape(scores.summary().splitlines()[1])}.</p>"
    yield '<div class="scroll"><table><thead><tr><th scope="col">class</th>'
    yield '<th scope="col">IoU</th><th scope="col" class="wide">precision</th>'
    yield '<th scope="col" class="wide">recall</th><th scope="col" class="wide">Dice</th>'
    yield '<th scope="col">of truth</th></tr></thead><tbody>'
    columns = (scores.precision, scores.recall, scores.class_dice)
    for i, name in enumerate(scores.names):
        color = report.labels.palette[i]
        share = scores.confusion.truth[i] / max(scores.pixels, 1)
        cells = "".join(f'<td class="wide">{_percent(column[i])}</td>' for column in columns)
        yield f'<tr><th scope="row">{_chip(name, color)}</th>{_bar(scores.iou[i], _css(color))}'
        yield f"{cells}<td>{_percent(share)}</td></tr>"
    means = (_mean(column) for column in columns)
    cells = "".join(f'<td class="wide">{_percent(mean)}</td>' for mean in means)
    yield f'<tr class="mean"><th scope="row">mean</th>{_bar(scores.miou, "var(--accent)")}{cells}'
    yield "<td></td></tr></tbody></table></div></section>"


def _confusion(report: RunReport) -> Iterator[str]:
    matrix, names = report.scores.confusion.matrix, report.scores.names
    if matrix is None or len(names) > _LARGEST_MATRIX:
        return
    yield "<section><h2>What is taken for what</h2>"
    yield "<p>Row: the truth. Column: the prediction. In percent of the row's pixels.</p>"
    yield '<div class="scroll"><table class="matrix"><thead><tr><th></th>'
    yield "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    yield "</tr></thead><tbody>"
    for i, name in enumerate(names):
        yield f'<tr><th scope="row">{_chip(name, report.labels.palette[i])}</th>'
        total = max(int(matrix[i].sum()), 1)
        for count in matrix[i].tolist():
            share = count / total
            tint = f"color-mix(in srgb, var(--accent) {55 * math.sqrt(share):.0f}%, transparent)"
            text = _percent(share) if share >= 0.0005 else "&middot;"
            yield f'<td style="background:{tint}">{text}</td>'
        yield "</tr>"
    yield "</tbody></table></div></section>"


def _curves(report: RunReport) -> Iterator[str]:
    if not report.log:
        return
    log, accent = report.log, "var(--accent)"
    pairs = zip(report.labels.names, report.labels.palette, strict=True)
    classes = [Series(name, _css(color), _points(log, "iou", name)) for name, color in pairs]
    quality = [
        Series("mIoU", accent, _points(log, "miou")),
        Series("pixel accuracy", "#e76f51", _points(log, "accuracy")),
    ]
    yield "<section><h2>Training</h2><p>Over the steps; the key tells the last value.</p>"
    yield '<div class="charts">'
    yield line_chart("Loss", [Series("loss", accent, _points(log, "loss"))])
    yield line_chart("Held-out scores", quality, percent=True)
    if len(classes) <= _LARGEST_MATRIX:
        yield line_chart("IoU of each class", classes, percent=True)
    yield line_chart("Learning rate", [Series("rate", accent, _points(log, "lr"))])
    yield "</div></section>"


def _details(report: RunReport) -> Iterator[str]:
    if report.commands:
        commands = escape("\n".join(report.commands))
        yield "<section><h2>What to type next</h2>"
        yield f'<pre class="commands"><code>{commands}</code></pre></section>'
    yield "<section><h2>How it was made</h2>"
    yield _definitions("facts", report.facts)
    if report.recipe:
        yield "<details><summary>The whole recipe</summary>"
        yield f"<pre><code>{escape(report.recipe)}</code></pre></details>"
    scores = escape(json.dumps(report.scores.to_dict(), indent=2, allow_nan=False))
    yield "<details><summary>The scores as JSON</summary>"
    yield f"<pre><code>{scores}</code></pre></details></section>"


def _points(log: Sequence[Mapping[str, Any]], *keys: str) -> list[tuple[float, float]]:
    """Return (step, value) of the lines that have a value there."""
    points = []
    for line in log:
        value: Any = line
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            points.append((float(line["step"]), float(value)))
    return points


def _definitions(name: str, pairs: Mapping[str, str]) -> str:
    rows = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs.items())
    return f'<dl class="{name}">{"".join(rows)}</dl>'


def _chip(name: str, color: tuple[int, int, int]) -> str:
    return f'<i style="background:{_css(color)}"></i>{escape(name)}'


def _bar(ratio: float, color: str) -> str:
    width = 0 if math.isnan(ratio) else 100 * ratio
    bar = f'<i><b style="width:{width:.1f}%;background:{color}"></b></i>'
    return f'<td class="bar"><span>{bar}<em>{_percent(ratio)}</em></span></td>'


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _mean(values: Any) -> float:
    defined = [float(value) for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _percent(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{100 * ratio:.1f}"
