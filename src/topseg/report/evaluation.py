"""Evaluation: where a model fails, as one HTML file: worst images, worst classes, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.files import write_text
from topseg.evaluation.images import Counts, accuracy
from topseg.evaluation.run import Samples
from topseg.evaluation.scores import Scores
from topseg.inference.predictor import Predictor
from topseg.media.drawing import Picture
from topseg.report.html import (
    BLUE,
    GREEN,
    ORANGE,
    bar,
    cell,
    chip,
    definitions,
    document,
    fit,
    percent,
)
from topseg.report.page import (
    RunReport,
    classes_section,
    confusion_section,
    details_section,
    pictures_section,
)
from topseg.report.pictures import Example, differences, predict_example, shrink_image, shrink_mask
from topseg.report.plots import reliability_plot

_LARGEST = 520
"""Longest side of a picture of a class's faults, in pixels."""


def write_evaluation(
    path: Path,
    title: str,
    scores: Scores,
    details: Mapping[str, Any],
    counts: Counts,
    predictor: Predictor,
    dataset: Samples,
    *,
    pictures: int = 6,
    classes: int = 4,
) -> None:
    """Write the page; the images on it are predicted once more, as whole images.

    Args:
        path: The HTML file.
        title: The headline.
        scores: Of the evaluation.
        details: As ``summarize`` returns them; without a reliability there is no plot of it.
        counts: (images, 3, K), as ``PerImage`` keeps them.
        predictor: The model.
        dataset: The images that were evaluated.
        pictures: Worst images to show.
        classes: Worst classes to show, two images each.

    Raises:
        InputError: The file cannot be written.
    """
    right = accuracy(counts)
    worst = [i for i in np.argsort(right, kind="stable").tolist() if not np.isnan(right[i])]
    report = RunReport(
        title,
        f"Measured on {scores.images} images, {scores.protocol}.",
        _figures(scores, details),
        dataset.labels,
        scores,
        [predict_example(predictor, dataset, index) for index in worst[:pictures]],
    )
    text = "\n".join(_page(report, details, _faults(counts, scores, classes), predictor, dataset))
    write_text(path, f"{text}\n")


def _page(
    report: RunReport,
    details: Mapping[str, Any],
    faults: Mapping[int, Sequence[int]],
    predictor: Predictor,
    dataset: Samples,
) -> Iterator[str]:
    header = [
        f"<small>topseg evaluate</small><h1>{escape(report.title)}</h1>",
        f"<p>{escape(report.summary)}</p>",
        definitions("figures", report.figures),
    ]

    deeper = {"miou": report.scores.miou, **details}

    def main() -> Iterator[str]:
        order = "By their share of right pixels."
        yield from pictures_section(report, "Worst images", order)
        yield from _worst_classes(report, faults, predictor, dataset)
        yield from classes_section(report)
        yield from confusion_section(report)
        yield from _borders_and_objects(deeper)
        yield from _robustness(deeper)
        yield from _calibration(details)
        yield from details_section(report, details)

    yield from document(report.title, header, main())


def _figures(scores: Scores, details: Mapping[str, Any]) -> dict[str, str]:
    figures = {"mIoU": percent(scores.miou, ".2f"), "pixel accuracy": percent(scores.accuracy)}
    if "miou_interval" in details:
        low, high = details["miou_interval"]
        figures["95 % interval"] = f"{percent(low)} to {percent(high)}"
    if details.get("boundary_iou") is not None:
        figures["boundary IoU"] = percent(details["boundary_iou"])
    if details.get("ece") is not None:
        figures["calibration error"] = f"{details['ece']:.1%}"
    return figures


def _faults(counts: Counts, scores: Scores, classes: int) -> dict[int, list[int]]:
    """Return the worst classes and for each the two images with most of its wrong pixels."""
    ratios = np.where(scores.confusion.truth > 0, scores.iou, np.nan)
    order = [i for i in np.argsort(ratios, kind="stable").tolist() if not np.isnan(ratios[i])]
    wrong = counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]
    return {
        index: np.argsort(-wrong[:, index], kind="stable")[:2].tolist() for index in order[:classes]
    }


def _worst_classes(
    report: RunReport,
    faults: Mapping[int, Sequence[int]],
    predictor: Predictor,
    dataset: Samples,
) -> Iterator[str]:
    yield "<section><h2>Worst classes</h2><p>Where most of their wrong pixels are: "
    yield "<b class=found>green</b> found, <b class=worse>orange</b> missed, "
    yield "<b class=better>blue</b> taken for the class.</p>"
    for index, images in faults.items():
        cells = ""
        for place in images:
            example = predict_example(predictor, dataset, place)
            size = fit((example.truth.shape[0], example.truth.shape[1]), _LARGEST)
            image, name = shrink_image(example.image, size), escape(example.name)
            cells += cell(name, image, f"image {name}")
            painted = _paint(example, image, index, report.labels.ignore_index)
            words = f"faults of {report.labels.names[index]}"
            cells += cell(escape(words), painted, escape(f"{words} in {example.name}", quote=True))
        scores = report.scores
        figures = (
            f"IoU {percent(scores.iou[index])}, precision {percent(scores.precision[index])}, "
            f"recall {percent(scores.recall[index])}"
        )
        yield f'<figure class="example"><div class="row">{cells}</div><figcaption>'
        yield f"<b>{chip(report.labels.names[index], report.labels.palette[index])}</b> {figures}"
        yield "</figcaption></figure>"
    yield "</section>"


def _paint(example: Example, image: Picture, index: int, ignore: int) -> Picture:
    """Paint what is found, missed and invented of a class over the grey image."""
    size = (image.shape[0], image.shape[1])
    truth, mask = shrink_mask(example.truth, size), shrink_mask(example.prediction, size)
    there, seen = truth == index, (mask == index) & (truth != ignore)
    nothing: NDArray[np.bool_] = np.zeros_like(there)
    out = differences(image, nothing)
    for where, color in ((there & seen, GREEN), (there & ~seen, ORANGE), (seen & ~there, BLUE)):
        out[where] = color
    return out


def _borders_and_objects(details: Mapping[str, Any]) -> Iterator[str]:
    """Show how good it is near contours, and how much of objects of each size is found."""
    bands, objects = details.get("trimap_miou"), details.get("objects")
    if not bands or not objects:
        return
    yield "<section><h2>Borders and objects</h2>"
    rows = [(f"within {width} px of a contour", ratio) for width, ratio in bands.items()]
    yield _bars("where", "mIoU", [*rows, ("everywhere", details.get("miou"))])
    yield "<p>An object is a connected part of a class in the truth; small ones have less than "
    yield "32 x 32 pixels, large ones 96 x 96 or more.</p>"
    rows = [(f"{one['count']:,} {name}", one["recall"]) for name, one in objects.items()]
    yield _bars("objects", "recall, mean of objects", rows)
    yield "</section>"


def _robustness(details: Mapping[str, Any]) -> Iterator[str]:
    if faults := details.get("robustness"):
        yield "<section><h2>Worse pictures</h2>"
        rows = [("as they are", details["miou"]), *faults.items()]
        yield f"{_bars('images', 'mIoU', rows)}</section>"


def _bars(first: str, second: str, rows: Iterable[tuple[str, float | None]]) -> str:
    """Return a table of names with ratios; None is nothing of its kind."""
    lines = (
        f'<tr><th scope="row">{escape(name)}</th>'
        f"{bar(math.nan if ratio is None else ratio, 'var(--accent)')}</tr>"
        for name, ratio in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">{first}</th>'
        f'<th scope="col">{second}</th></tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _calibration(details: Mapping[str, Any]) -> Iterator[str]:
    if not details.get("reliability"):
        return
    yield '<section><h2>How sure it is</h2><div class="charts">'
    yield reliability_plot(details["reliability"], details["ece"])
    yield "</div></section>"
