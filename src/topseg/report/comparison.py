"""Comparison: two models side by side as one HTML file, with no script."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Iterator
from html import escape
from pathlib import Path

import cv2
import numpy as np

from topseg import __version__
from topseg.core.files import write_text
from topseg.core.labels import LabelSet, Mask
from topseg.evaluation.comparison import PairedScores
from topseg.evaluation.images import iou
from topseg.evaluation.run import Samples
from topseg.inference.predictor import Predictor
from topseg.media.drawing import Picture, colorize, picture_jpeg, picture_png

_WIDTH = 420
"""Of a picture on the page, in pixels."""


def write_comparison(
    path: Path,
    found: PairedScores,
    a: Predictor,
    b: Predictor,
    dataset: Samples,
    *,
    names: tuple[str, str] = ("A", "B"),
    pictures: int = 6,
) -> None:
    """Write the page; the images where the models disagree most are predicted once more.

    Args:
        path: The HTML file.
        found: The scores.
        a: The first model.
        b: The second.
        dataset: The images that were compared.
        names: What the models are called.
        pictures: Examples to show.

    Raises:
        InputError: The file cannot be written.
    """
    page = _page(found, a, b, dataset, names, pictures)
    write_text(path, "\n".join(page) + "\n")


def _page(
    found: PairedScores,
    a: Predictor,
    b: Predictor,
    dataset: Samples,
    names: tuple[str, str],
    pictures: int,
) -> Iterator[str]:
    style = (importlib.resources.files("topseg.report") / "style.css").read_text(encoding="utf-8")
    title = escape(f"{names[0]} and {names[1]}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title} - topseg</title>\n<style>\n{style}</style>\n</head>\n<body>"
    yield f"<header><small>topseg compare</small><h1>{title}</h1>"
    yield f"<p>{escape(found.verdict())}, on {len(found.images)} images.</p></header>\n<main>"
    yield from _summary(found, names)
    yield from _classes(found)
    yield "<section><h2>Where they disagree most</h2>"
    for index in np.argsort(-found.disagreement, kind="stable")[:pictures].tolist():
        yield _figure(found, index, a, b, dataset)
    yield f"</section>\n</main>\n<footer>Made by topseg {__version__}.</footer>\n</body>\n</html>"


def _summary(found: PairedScores, names: tuple[str, str]) -> Iterator[str]:
    yield '<section><h2>Models</h2><table><thead><tr><th scope="col">model</th>'
    yield '<th scope="col">mIoU</th><th scope="col">median ms per image</th></tr></thead><tbody>'
    speeds = 1000 * np.median(found.seconds, axis=1)
    for letter, name, score, speed in zip("AB", names, found.miou, speeds, strict=True):
        yield f'<tr><th scope="row">{letter}: {escape(name)}</th><td>{100 * score:.2f}</td>'
        yield f"<td>{speed:.1f}</td></tr>"
    yield "</tbody></table><p>Times are from pixels to mask on this machine, one model after the "
    yield "other on each image.</p></section>"


def _classes(found: PairedScores) -> Iterator[str]:
    yield '<section><h2>Classes</h2><div class="scroll"><table><thead><tr>'
    heads = ("class", "IoU A", "IoU B", "B - A", "95 % interval")
    yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    ratios = [iou(counts.sum(axis=0)) for counts in (found.a, found.b)]
    apart = found.class_difference
    columns = (*ratios, apart.value, apart.low, apart.high)
    for name, one, two, value, low, high in zip(found.labels.names, *columns, strict=True):
        certain = low > 0 or high < 0
        shown = f"<b>{100 * value:+.2f}</b>" if certain else _percent(value, "+")
        yield f'<tr><th scope="row">{escape(name)}</th><td>{_percent(one)}</td>'
        yield f"<td>{_percent(two)}</td><td>{shown}</td>"
        yield f"<td>{_percent(low, '+')} to {_percent(high, '+')}</td></tr>"
    yield "</tbody></table></div><p>Points of IoU; bold where the interval has no 0. Images were "
    yield "drawn again with replacement, the same for both models.</p></section>"


def _figure(
    found: PairedScores,
    index: int,
    a: Predictor,
    b: Predictor,
    dataset: Samples,
) -> str:
    sample, labels = dataset[index], found.labels
    image = sample.image[..., [0, 0, 0] if sample.image.shape[2] < 3 else [0, 1, 2]]
    height, width = sample.mask.shape
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    photo = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    cells = [_cell("image", picture_jpeg(photo), "image/jpeg", size)]
    predicted = [(name, model(sample.image).mask) for name, model in (("A", a), ("B", b))]
    for what, mask in (("truth", sample.mask), *predicted):
        cells.append(_cell(what, picture_png(_small(mask, labels, size)), "image/png", size))
    share = f"{100 * found.disagreement[index]:.1f} %"
    return (
        f'<figure class="example"><div class="row">{"".join(cells)}</div><figcaption>'
        f"<b>{escape(sample.name)}</b> the models differ in {share} of the labelled pixels"
        "</figcaption></figure>"
    )


def _small(mask: Mask, labels: LabelSet, size: tuple[int, int]) -> Picture:
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return colorize(np.asarray(small, mask.dtype), labels)


def _cell(what: str, data: bytes, kind: str, size: tuple[int, int]) -> str:
    return (
        f'<div><img src="data:{kind};base64,{base64.b64encode(data).decode()}" width="{size[0]}" '
        f'height="{size[1]}" alt="{what}" loading="lazy"><span>{what}</span></div>'
    )


def _percent(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{100 * value:{sign}.2f}"
