"""Page: the report as HTML with its style, curves and pictures inside, and no script."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from topseg.core.files import write_text
from topseg.core.labels import LabelSet
from topseg.evaluation.scores import Scores
from topseg.report.chart import Series, line_chart
from topseg.report.html import bar, chip, css, definitions, document, legend, percent
from topseg.report.pictures import Example, example_figure
from topseg.report.plots import matrix_plot

_LARGEST_MATRIX = 24
"""Classes up to which the confusion matrix is a table of numbers; a larger one is drawn."""

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
    title = escape(report.title)
    header = [
        f"<small>topseg</small><h1>{title}</h1><p>{escape(report.summary)}</p>",
        _UNIT.sub(r" <small>\1</small>", definitions("figures", report.figures)),
    ]
    parts = (pictures_section, classes_section, confusion_section, _curves, details_section)
    main = (line for section in parts for line in section(report))
    yield from document(report.title, header, main)


def pictures_section(
    report: RunReport, title: str = "Pictures", order: str = "From the worst image to the best."
) -> Iterator[str]:
    """Show the examples with their legend."""
    if not report.examples:
        return
    yield f"<section><h2>{title}</h2>"
    yield f"<p>{order} Differences are red; pixels that belong to no "
    yield "class are black in the truth and count nowhere.</p>"
    masks = [mask.ravel() for e in report.examples for mask in (e.truth, e.prediction)]
    used = np.unique(np.concatenate(masks)).tolist()
    yield legend(report.labels, (i for i in used if i < report.labels.num_classes))
    yield from (example_figure(example, report.labels) for example in report.examples)
    yield "</section>"


def classes_section(report: RunReport) -> Iterator[str]:
    """Show each class's scores as a table."""
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
        cells = "".join(f'<td class="wide">{percent(column[i])}</td>' for column in columns)
        yield f'<tr><th scope="row">{chip(name, color)}</th>{bar(scores.iou[i], css(color))}'
        yield f"{cells}<td>{percent(share)}</td></tr>"
    means = (_mean(column) for column in columns)
    cells = "".join(f'<td class="wide">{percent(mean)}</td>' for mean in means)
    yield f'<tr class="mean"><th scope="row">mean</th>{bar(scores.miou, "var(--accent)")}{cells}'
    yield "<td></td></tr></tbody></table></div></section>"


def confusion_section(report: RunReport) -> Iterator[str]:
    """Show the confusion matrix: numbers for few classes, a drawing for many."""
    matrix, names = report.scores.confusion.matrix, report.scores.names
    if matrix is None:
        return
    yield "<section><h2>What is taken for what</h2>"
    if len(names) > _LARGEST_MATRIX:
        yield f"{matrix_plot(names, matrix)}</section>"
        return
    yield "<p>Row: the truth. Column: the prediction. In percent of the row's pixels.</p>"
    yield '<div class="scroll"><table class="matrix"><thead><tr><th></th>'
    yield "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    yield "</tr></thead><tbody>"
    for i, name in enumerate(names):
        yield f'<tr><th scope="row">{chip(name, report.labels.palette[i])}</th>'
        total = max(int(matrix[i].sum()), 1)
        for count in matrix[i].tolist():
            share = count / total
            tint = f"color-mix(in srgb, var(--accent) {55 * math.sqrt(share):.0f}%, transparent)"
            text = percent(share) if share >= 0.0005 else "&middot;"
            yield f'<td style="background:{tint}">{text}</td>'
        yield "</tr>"
    yield "</tbody></table></div></section>"


def _curves(report: RunReport) -> Iterator[str]:
    if not report.log:
        return
    log, accent = report.log, "var(--accent)"
    pairs = zip(report.labels.names, report.labels.palette, strict=True)
    classes = [Series(name, css(color), _points(log, "iou", name)) for name, color in pairs]
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


def details_section(report: RunReport, more: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Show the commands, the facts, the recipe and the scores as JSON.

    Args:
        report: What the page shows.
        more: Deeper scores, as plain values.
    """
    if report.commands:
        commands = escape("\n".join(report.commands))
        yield "<section><h2>What to type next</h2>"
        yield f'<pre class="commands"><code>{commands}</code></pre></section>'
    yield f"<section><h2>{'How it was made' if report.recipe else 'For programs'}</h2>"
    yield definitions("facts", report.facts) if report.facts else ""
    if report.recipe:
        yield "<details><summary>The whole recipe</summary>"
        yield f"<pre><code>{escape(report.recipe)}</code></pre></details>"
    plain = report.scores.to_dict() | dict(more or {})
    scores = escape(json.dumps(plain, indent=2, allow_nan=False))
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


def _mean(values: Any) -> float:
    defined = [float(value) for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
