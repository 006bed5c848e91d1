"""Comparison: two models side by side as one HTML file, with no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from topseg.core.files import write_text
from topseg.core.labels import Mask
from topseg.evaluation.comparison import PairedScores
from topseg.evaluation.images import iou
from topseg.evaluation.run import Samples
from topseg.inference.predictor import Predictor
from topseg.media.drawing import Picture, colorize
from topseg.report.html import (
    BLUE,
    ORANGE,
    cell,
    chip,
    definitions,
    document,
    fit,
    legend,
    percent,
)
from topseg.report.pictures import differences, shrink_image, shrink_mask
from topseg.report.plots import interval_plot

_LARGEST = 420
"""Longest side of a picture on the page, in pixels."""
_EXAMPLES = 6
"""Images that are shown."""


def write_comparison(
    path: Path,
    found: PairedScores,
    a: Predictor,
    b: Predictor,
    dataset: Samples,
    *,
    names: tuple[str, str] = ("A", "B"),
) -> None:
    """Write the page; the images where the models disagree most are predicted once more.

    Args:
        path: The HTML file.
        found: The scores.
        a: The first model.
        b: The second.
        dataset: The images that were compared.
        names: What the models are called.

    Raises:
        InputError: The file cannot be written.
    """
    write_text(path, "\n".join(_page(found, a, b, dataset, names)) + "\n")


def _page(
    found: PairedScores, a: Predictor, b: Predictor, dataset: Samples, names: tuple[str, str]
) -> Iterator[str]:
    title = f"{names[0]} and {names[1]}"
    header = [
        f"<small>topseg compare</small><h1>{escape(title)}</h1>",
        f"<p>{escape(found.verdict())}, on {len(found.images)} images.</p>",
        definitions("figures", _figures(found)),
    ]

    def main() -> Iterator[str]:
        yield from _models(found, names)
        yield from _classes(found)
        yield "<section><h2>Where they disagree most</h2>"
        yield "<p>In the last picture <b class=better>blue</b>: B alone is right; "
        yield "<b class=worse>orange</b>: A alone; red: both are wrong and differ.</p>"
        yield legend(found.labels, range(found.labels.num_classes))
        for index in np.argsort(-found.disagreement, kind="stable")[:_EXAMPLES].tolist():
            yield _figure(found, index, a, b, dataset)
        yield "</section>"

    yield from document(title, header, main())


def _figures(found: PairedScores) -> dict[str, str]:
    low, high = (
        f"{100 * float(end):+.2f}" for end in (found.difference.low, found.difference.high)
    )
    one, two = found.miou
    return {
        "B - A, points of mIoU": f"{100 * float(found.difference.value):+.2f}",
        "95 % interval": f"{low} to {high}",
        "mIoU of A": f"{100 * one:.2f}",
        "mIoU of B": f"{100 * two:.2f}",
    }


def _models(found: PairedScores, names: tuple[str, str]) -> Iterator[str]:
    yield '<section><h2>Models</h2><div class="scroll"><table><thead><tr>'
    yield '<th scope="col">model</th><th scope="col">mIoU</th>'
    yield '<th scope="col">ms per image</th></tr></thead><tbody>'
    speeds = 1000 * np.median(found.seconds, axis=1)
    for letter, name, score, speed in zip("AB", names, found.miou, speeds, strict=True):
        yield f'<tr><th scope="row" class="wrap">{letter}: {escape(name)}</th>'
        yield f"<td>{100 * score:.2f}</td><td>{speed:.1f}</td></tr>"
    yield "</tbody></table></div><p>Times are medians from pixels to mask on this machine, one "
    yield "model after the other on each image.</p></section>"


def _classes(found: PairedScores) -> Iterator[str]:
    yield '<section><h2>Classes</h2><div class="scroll"><table><thead><tr>'
    yield '<th scope="col">class</th><th scope="col" class="wide">IoU A</th>'
    yield '<th scope="col" class="wide">IoU B</th><th scope="col">B - A</th>'
    yield '<th scope="col">95 % interval</th><th scope="col" class="wide"></th></tr></thead><tbody>'
    ratios = [iou(counts.sum(axis=0)) for counts in (found.a, found.b)]
    apart = found.class_difference
    ends = np.abs([apart.low, apart.high])
    reach = 0.0 if np.isnan(ends).all() else float(np.nanmax(ends))
    pairs = zip(found.labels.names, found.labels.palette, strict=True)
    columns = (*ratios, apart.value, apart.low, apart.high)
    for (name, color), one, two, value, low, high in zip(pairs, *columns, strict=True):
        certain = low > 0 or high < 0
        shown = f"<b>{percent(value, '+.2f')}</b>" if certain else percent(value, "+.2f")
        yield f'<tr><th scope="row">{chip(name, color)}</th>'
        yield f'<td class="wide">{percent(one, ".2f")}</td>'
        yield f'<td class="wide">{percent(two, ".2f")}</td><td>{shown}</td>'
        yield f"<td>{interval_plot(value, low, high, reach)}</td>"
        yield f'<td class="wide">{percent(low, "+.2f")} to {percent(high, "+.2f")}</td></tr>'
    yield "</tbody></table></div><p>Points of IoU; bold and coloured where the interval has no 0. "
    yield "Images were drawn again with replacement, the same for both models.</p></section>"


def _figure(found: PairedScores, index: int, a: Predictor, b: Predictor, dataset: Samples) -> str:
    sample, labels = dataset[index], found.labels
    size = fit((sample.mask.shape[0], sample.mask.shape[1]), _LARGEST)
    image, truth = shrink_image(sample.image, size), shrink_mask(sample.mask, size)
    one, two = (shrink_mask(model(sample.image).mask, size) for model in (a, b))
    name = escape(sample.name)
    cells = [cell("image", image, f"image {name}")]
    for what, mask in (("truth", truth), ("A", one), ("B", two)):
        cells.append(cell(what, colorize(mask, labels), f"{what} of {name}", photo=False))
    judged = _judge(image, truth, one, two, labels.ignore_index)
    cells.append(cell("who is right", judged, f"who is right in {name}"))
    share = f"{100 * found.disagreement[index]:.1f} %"
    return (
        f'<figure class="example"><div class="row five">{"".join(cells)}</div><figcaption>'
        f"<b>{name}</b> the models differ in {share} of the labelled pixels</figcaption></figure>"
    )


def _judge(image: Picture, truth: Mask, one: Mask, two: Mask, ignore: int) -> Picture:
    """Paint where two masks differ in the colour of the one that is right; the rest grey."""
    out = differences(image, (one != two) & (truth != ignore))
    out[(one == truth) & (two != truth)] = ORANGE
    out[(two == truth) & (one != truth)] = BLUE
    return out
