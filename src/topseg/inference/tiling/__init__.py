"""Tiling: masks of images too large for memory, tile by tile at the image's own scale.

Tiles sit on multiples of 64 pixels, where the pooling cells of neighbours coincide, and their
stride-8 logits are blended by weights that fall linearly over the overlap and sum to one. Only a
running band of logits is kept: rows that no further tile touches become rows of the mask by the
tail, the same, bit by bit, as if all logits were held. Finished rows are kept on disk, so that a
run that was stopped goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from topseg import __version__
from topseg.core.errors import InputError, UnreadableError
from topseg.core.geometry import STRIDE, Size
from topseg.core.locks import hold_folder
from topseg.inference.bulk.jobs import find_jobs
from topseg.inference.predictor import Predictor
from topseg.inference.tiling.band import HALF, Band, ramps
from topseg.inference.tiling.tiles import Network, Tiles
from topseg.inference.tiling.work import Work
from topseg.inference.tta import Slide
from topseg.media import drawing
from topseg.media.drawing import Share
from topseg.media.rasters import Raster, open_raster, write_mask
from topseg.runtimes.base import Runtime

if TYPE_CHECKING:  # it needs torch
    from topseg.inference.tiling.context import WholeImage

Context = Literal["tile", "image"]
"""What each tile attends to."""

MULTIPLE: Final = 64
"""Sides of tiles and steps between them are multiples of this many pixels."""
_BUSY: Final = "choose another --out, or wait for it"
_ABOVE: Final = STRIDE
"""Rows kept above the tiles at hand: the mask lags behind by half a cell."""


def predict_tiles(
    predictors: Sequence[Predictor],
    inputs: Sequence[str | Path],
    out: Path,
    tile: Size,
    *,
    context: Context = "tile",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Share, ...]:
    """Write a mask for every image, however large: ``maps/a/b.tif`` -> ``out/a/b.tif``.

    Args:
        predictors: The model, once for every tile that is to be worked on at a time.
        inputs: Image files, folders, patterns and ``.txt`` lists, as ``predict_files`` takes them.
        out: Folder for the masks, GeoTIFF.
        tile: (height, width) in pixels, multiples of 64; a quarter of a side overlaps.
        context: What each tile attends to: itself, or the whole image (the runtime torch only).
            Then the image is run twice, and the mask is that of the whole image through the
            network at once, but for the borders of the tiles' convolutions.
        progress: Called after each tile with (done, total) of the image at hand.

    Returns:
        The classes found over all images with their share of all pixels, the largest first.

    Raises:
        InputError: Before anything is written: a size of tiles or a context that the model cannot
            take, nothing to do, two outputs of one name, or a folder that cannot be written to or
            that another process writes to.
        UnreadableError: At the end, all the others being done: one line for each image that cannot
            be read.
    """
    slide, labels = tile_slide(tile, predictors[0].runtime.fixed_size), predictors[0].labels
    whole: WholeImage | None = None
    if context == "image":
        from topseg.inference.tiling.context import WholeImage

        threads = len(predictors) * predictors[0].threads
        whole = WholeImage([predictor.runtime for predictor in predictors], threads)
    jobs = find_jobs(inputs, out, [".tif"])
    pixels, failures = np.zeros(labels.num_classes, np.int64), []
    with hold_folder(out, _BUSY, logging.getLogger("topseg").warning):
        for image, output in jobs:
            try:
                target = out / f"{output}.tif"
                pixels += _predict(predictors, whole, Path(image), target, slide, progress)
            except InputError as error:
                failures.append(str(error))
            except Exception as error:  # one image never ends a run
                failures.append(f"{image!r}: {type(error).__name__}: {error}")
    if failures:
        raise UnreadableError("\n".join(failures))
    return drawing.shares(pixels, labels)


def tile_slide(tile: Size, fixed_size: Size | None = None) -> Slide:
    """Return tiles of which a quarter overlaps, rounded to 64 pixels.

    Args:
        tile: (height, width) in pixels.
        fixed_size: The only size that the engine takes.

    Raises:
        InputError: No multiples of 64, less than 128, or not the fixed size.
    """
    height, width = tile
    if any(side < 2 * MULTIPLE or side % MULTIPLE for side in tile):
        raise InputError(
            f"tiles: got {height}x{width} (height x width), expected multiples of {MULTIPLE}, "
            f"at least {2 * MULTIPLE}"
        )
    if fixed_size not in (None, tile):
        raise InputError(
            f"tiles: got {height}x{width} (height x width), but this graph takes only "
            f"{fixed_size[0]}x{fixed_size[1]}; give that size"
        )
    down, right = (side - max(side // 4 // MULTIPLE, 1) * MULTIPLE for side in tile)
    return Slide(tile, (down, right))


def _predict(
    predictors: Sequence[Predictor],
    whole: WholeImage | None,
    path: Path,
    target: Path,
    slide: Slide,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]:
    """Write the mask of one image, and return its pixels of each class, (K,)."""
    runtime, labels = predictors[0].runtime, predictors[0].labels
    metadata = runtime.metadata
    with open_raster(path, metadata.architecture.in_channels, metadata.input.scale) as raster:
        job = {
            "image": [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns],
            "model": metadata.files,
            "engine": runtime.engine,
            "tiles": [*slide.crop, *slide.stride],
            "context": "image" if whole else "tile",
            "topseg": __version__,
        }
        work = Work(target, job, labels, raster.size[1])
        try:
            _fill(work, predictors, whole, raster, slide, progress)
        except InputError:
            if not work.done:
                work.clear()
            raise
        counts = write_mask(target, work.strips(), raster.size, labels, raster.place())
    work.clear()
    return counts


def _fill(
    work: Work,
    predictors: Sequence[Predictor],
    whole: WholeImage | None,
    raster: Raster,
    slide: Slide,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make the strips of the mask that are missing, one for each row of tiles."""
    # The grid: tiles of the image rounded up to 64 pixels, and where the last run stopped.
    runtime, labels = predictors[0].runtime, predictors[0].labels
    least = slide.crop if runtime.fixed_size else (MULTIPLE, MULTIPLE)
    height, width = (
        max(-(-side // MULTIPLE) * MULTIPLE, low)
        for side, low in zip(raster.size, least, strict=True)
    )
    downs, rights = slide.spans(height, 0), slide.spans(width, 1)
    first, count, total = work.done, work.done * len(rights), len(downs) * len(rights)
    # Tokens are gathered from tiles twice as large, so that each lies deep in one.
    wide = tile_slide((2 * slide.crop[0], 2 * slide.crop[1]))
    wide_downs, wide_rights = wide.spans(height, 0), wide.spans(width, 1)
    if whole:
        total += len(wide_downs) * len(wide_rights)
        count += 0 if work.scene() is None else len(wide_downs) * len(wide_rights)

    def tick(tiles: int = 1) -> None:
        nonlocal count
        count += tiles
        if progress:
            progress(count, total)

    tick(0)
    if first == len(downs):
        return
    # The band: empty above the first row of tiles, or what the last run left below its strips.
    band = Band(0, np.empty((labels.num_classes, 0, width // STRIDE), np.float32))
    if (kept := work.band()) is not None:
        band = Band(downs[first].start // STRIDE - 1, kept)
    # A row of tiles completes the mask down to the next row's first line of pixels.
    borders = [*(down.start for down in downs[1:]), height]
    across, weights = ramps(rights), ramps(downs)
    with ThreadPoolExecutor(len(predictors)) as pool:
        tiles = Tiles(raster, downs, rights, pool, tick)
        networks = [_alone(predictor.runtime) for predictor in predictors]
        if whole:
            networks = whole.networks(Tiles(raster, wide_downs, wide_rights, pool, tick), work)
        places = zip(borders[first:], weights[first:], strict=True)
        for (down, rows), (border, weight) in zip(tiles.rows(first, _ABOVE), places, strict=True):
            # Add the row's weighted logits to the band, tile by tile.
            band.grow(down.stop // STRIDE)
            found = tiles.run(rows, down, networks)
            for right, side, logits in zip(rights, across, found, strict=True):
                band.add(down, right, logits * weight[:, None] * side)
            # Cut off the rows that no further tile touches, and keep them as a strip.
            top = rows.first + HALF if band.top else 0
            mask = band.cut(border // STRIDE, predictors[0].threads, last=border == height)
            mask = mask[: raster.size[0] - top, : raster.size[1]]
            mask[~rows.valid[top - rows.first :][: len(mask)]] = labels.ignore_index
            work.save(mask, band.logits)


def _alone(runtime: Runtime) -> Network:
    return lambda tile, down, right: runtime(tile[None])[0]
