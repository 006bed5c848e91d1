"""Sheet: many images of a data set in one picture, with their truths and a model's masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.run import Samples
from topseg.inference.predictor import Predictor
from topseg.media import drawing
from topseg.media.drawing import Picture
from topseg.report.pictures import Example, differences, shrink_image, shrink_mask, spread

_GAP, _LINE = 8, 22
_ALPHA = 0.75


def contact_sheet(
    dataset: Samples,
    predictor: Predictor | None = None,
    *,
    count: int = 12,
    width: int = 1600,
    progress: Callable[[int, int], None] | None = None,
) -> Picture:
    """Draw images, evenly spaced over a data set, with the classes found below.

    Args:
        dataset: Images and truths.
        predictor: A model, whose masks and faults are shown beside the truth.
        count: How many images.
        width: Of the sheet in pixels.
        progress: Called after each image with (done, total).

    Returns:
        (H, width, 3) uint8 RGB.
    """
    groups = 1 if predictor else 2  # images side by side; four tiles in a row either way
    tile = (width - _GAP) // 4 - _GAP
    chosen = spread(len(dataset), count)
    rows: list[list[Picture]] = []
    pixels = np.zeros(dataset.labels.num_classes, np.int64)
    for done, index in enumerate(chosen, start=1):
        sample = dataset[index]
        pixels += drawing.count_pixels(sample.mask, dataset.labels)
        block = _block(sample, dataset.labels, predictor, tile)
        if not rows or len(rows[-1]) == groups:
            rows.append([])
        rows[-1].append(block)
        if progress:
            progress(done, len(chosen))
    bands = [_band(row, width) for row in rows]
    found = drawing.shares(pixels, dataset.labels)
    legend = drawing.legend_image(found, width, _LINE)
    return np.concatenate([*bands, legend])


def _block(sample: Sample, labels: LabelSet, predictor: Predictor | None, tile: int) -> Picture:
    """Draw one image: its tiles side by side, each under its title."""
    height, width = sample.mask.shape
    size = (max(1, round(tile * height / width)), tile)
    image, truth = shrink_image(sample.image, size), shrink_mask(sample.mask, size)
    tiles = [(sample.name, image), ("labels", drawing.overlay(image, truth, labels, _ALPHA))]
    if predictor:
        example = Example(sample.name, sample.image, sample.mask, predictor(sample.image).mask)
        mask, scores = shrink_mask(example.prediction, size), example.scores(labels)
        wrong = (mask != truth) & (truth != labels.ignore_index)
        painted = drawing.overlay(image, mask, labels, _ALPHA)
        share = f"differences, {1 - scores.accuracy:.1%} of the pixels"
        tiles.append((f"prediction, mIoU {100 * scores.miou:.1f}", painted))
        tiles.append((share, differences(image, wrong)))
    canvas = Image.new("RGB", (len(tiles) * (tile + _GAP), size[0] + _LINE + _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for place, (title, one) in enumerate(tiles):
        left = _GAP + place * (tile + _GAP)
        text = drawing.shorten(title, font, tile)
        draw.text((left, _LINE // 2), text, fill="black", anchor="lm", font=font)
        canvas.paste(Image.fromarray(one), (left, _LINE))
    return np.asarray(canvas)


def _band(blocks: list[Picture], width: int) -> Picture:
    """Put blocks side by side on white."""
    band = np.full((max(len(block) for block in blocks), width, 3), 255, np.uint8)
    left = 0
    for block in blocks:
        band[: len(block), left : left + block.shape[1]] = block
        left += block.shape[1]
    return band
