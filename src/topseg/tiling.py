"""Tiling: masks of images too large for memory, tile by tile at the image's own scale.

Tiles sit on multiples of 64 pixels, where the pooling cells of neighbours coincide, and their
stride-8 logits are blended by weights that fall linearly over the overlap and sum to one. Only a
running band of logits is kept: rows that no further tile touches become rows of the mask by the
tail, the same, bit by bit, as if all logits were held. Finished rows are kept on disk, so that a
run that was stopped goes on.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg import __version__, drawing
from topseg.bulk.jobs import find_jobs
from topseg.drawing import Share
from topseg.errors import InputError
from topseg.files import atomic_path, write_bytes, write_text
from topseg.geometry import STRIDE, Size
from topseg.images import Image
from topseg.labels import LabelSet, Mask
from topseg.predict import Predictor
from topseg.rasters import Raster, open_raster, write_mask
from topseg.tta import Logits, Slide
from topseg.upsample import upsample_argmax

MULTIPLE: Final = 64
"""Sides of tiles and steps between them are multiples of this many pixels."""
_HALF: Final = STRIDE // 2
_ABOVE: Final = STRIDE
"""Rows kept above the tiles at hand: the mask lags behind by half a cell."""


def predict_tiles(
    predictors: Sequence[Predictor],
    inputs: Sequence[str | Path],
    out: Path,
    tile: Size,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Share, ...]:
    """Write a mask for every image, however large: ``maps/a/b.tif`` -> ``out/a/b.tif``.

    Args:
        predictors: The model, once for every tile that is to be worked on at a time.
        inputs: Image files, folders, patterns and ``.txt`` lists, as ``predict_files`` takes them.
        out: Folder for the masks, GeoTIFF.
        tile: (height, width) in pixels, multiples of 64; a quarter of a side overlaps.
        progress: Called after each tile with (done, total) of the image at hand.

    Returns:
        The classes found over all images with their share of all pixels, the largest first.

    Raises:
        InputError: Before anything is written: a size of tiles that the model cannot take, nothing
            to do, two outputs of one name, or a folder that cannot be written to. At the end: one
            line for each image that cannot be read, all the others being done.
    """
    slide, labels = tile_slide(tile, predictors[0].runtime.fixed_size), predictors[0].labels
    jobs = find_jobs(inputs, out, [".tif"])
    pixels, failures = np.zeros(labels.num_classes, np.int64), []
    for image, output in jobs:
        try:
            pixels += _predict(predictors, Path(image), out / f"{output}.tif", slide, progress)
        except InputError as error:
            failures.append(str(error))
    if failures:
        raise InputError("\n".join(failures))
    return drawing.shares(pixels, labels)


def tile_slide(tile: Size, fixed_size: Size | None = None) -> Slide:
    """Give tiles of which a quarter overlaps, rounded to 64 pixels.

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


def ramps(spans: Sequence[slice]) -> list[NDArray[np.float32]]:
    """Give each tile's weight in every cell along one axis.

    Args:
        spans: The tiles in pixels, in order.

    Returns:
        (cells,) a tile: 1 where it is alone, falling linearly over an overlap; over all tiles they
        sum to 1.
    """
    cells = [slice(span.start // STRIDE, span.stop // STRIDE) for span in spans]
    overlap = cells[0].stop - cells[1].start if len(cells) > 1 else 0
    total, raw = np.zeros(cells[-1].stop), []
    for cell in cells:
        place = np.arange(cell.stop - cell.start)
        raw.append(np.minimum(np.minimum(place, place[::-1]), overlap) + 1.0)
        total[cell] += raw[-1]
    return [
        (weight / total[cell]).astype(np.float32) for weight, cell in zip(raw, cells, strict=True)
    ]


@dataclass
class Band:
    """The rows of blended logits that tiles may still add to, and one row above them.

    Attributes:
        top: The first row, in cells.
        logits: (K, n, w) float32.
    """

    top: int
    logits: Logits

    def grow(self, bottom: int) -> None:
        """Add rows of zeros down to this one."""
        classes, rows, width = self.logits.shape
        more = np.zeros((classes, bottom - self.top - rows, width), np.float32)
        self.logits = np.concatenate((self.logits, more), axis=1)

    def add(self, rows: slice, columns: slice, logits: Logits) -> None:
        """Add a tile's weighted logits; its rows and columns are in pixels."""
        top = rows.start // STRIDE - self.top
        left, right = columns.start // STRIDE, columns.stop // STRIDE
        self.logits[:, top : top + logits.shape[1], left:right] += logits

    def cut(self, bottom: int, threads: int, *, last: bool) -> Mask:
        """Make the mask of the rows above this one, and keep the row that the next cut needs.

        A pixel between two cells' centres is made of both, so half a cell waits for the next cut.
        """
        final = self.logits[:, : bottom - self.top]
        size = (STRIDE * final.shape[1], STRIDE * final.shape[2])
        mask = upsample_argmax(final, size, threads)
        mask = mask[_HALF if self.top else 0 : None if last else -_HALF]
        self.logits = self.logits[:, bottom - 1 - self.top :].copy()
        self.top = bottom - 1
        return mask


class _Rows:
    """The rows of the image under the tiles at hand; each is read once, from top to bottom."""

    def __init__(self, raster: Raster, first: int) -> None:
        self.raster, self.first = raster, first
        self.pixels = np.empty((0, raster.size[1], raster.channels), np.uint8)
        self.valid = np.empty((0, raster.size[1]), np.bool_)

    def move(self, first: int, stop: int) -> None:
        """Forget the rows above ``first`` and read on up to ``stop``."""
        read = self.raster.read_rows(self.first + len(self.pixels), stop)
        gone = first - self.first
        self.pixels = np.concatenate((self.pixels[gone:], read[0]))
        self.valid = np.concatenate((self.valid[gone:], read[1]))
        self.first = first

    def tile(self, rows: slice, columns: slice) -> Image:
        """Give a tile, (H, W, C); beyond the image's lower and right borders it is mirrored."""
        inside = self.pixels[rows.start - self.first :, columns]
        beyond = [(0, rows.stop - rows.start - len(inside))]
        beyond += [(0, columns.stop - columns.start - inside.shape[1]), (0, 0)]
        return np.pad(inside, beyond, "symmetric")


class _Work:
    """What is done of a mask, in a hidden folder beside it: strips, and the band below them."""

    def __init__(self, target: Path, job: dict[str, Any], labels: LabelSet, width: int) -> None:
        """Open the folder; one of another job (another image, model, engine or tile) is cleared."""
        self.folder = target.parent / f".{target.name}.part"
        self.shape, self.dtype = (-1, width), labels.dtype
        note, text = self.folder / "job.json", json.dumps(job, indent=2, sort_keys=True)
        if not note.is_file() or note.read_text() != text:
            self.clear()
            write_text(note, text)
        self.done = 0
        while self._strip(self.done).is_file():
            self.done += 1

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def band(self) -> Logits | None:
        """Give the logits below the strips done, where there are any."""
        return np.load(self._band(self.done)) if self.done else None

    def save(self, strip: Mask, band: Logits) -> None:
        """Keep the next strip and the band below it; it counts as done when the strip is there."""
        with atomic_path(self._band(self.done + 1)) as temporary, temporary.open("wb") as file:
            np.save(file, band)
        write_bytes(self._strip(self.done), zlib.compress(strip.tobytes(), 1))
        self._band(self.done).unlink(missing_ok=True)
        self.done += 1

    def strips(self) -> Iterator[Mask]:
        for index in range(self.done):
            data = zlib.decompress(self._strip(index).read_bytes())
            yield np.frombuffer(data, self.dtype).reshape(self.shape)

    def _strip(self, index: int) -> Path:
        return self.folder / f"strip_{index:06d}.z"

    def _band(self, index: int) -> Path:
        return self.folder / f"band_{index:06d}.npy"


def _predict(
    predictors: Sequence[Predictor],
    path: Path,
    target: Path,
    slide: Slide,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]:
    """Write the mask of one image; give its pixels of each class, (K,)."""
    runtime, labels = predictors[0].runtime, predictors[0].labels
    metadata = runtime.metadata
    with open_raster(path, metadata.model.in_channels, metadata.input.scale) as raster:
        job = {
            "image": [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns],
            "model": metadata.files,
            "engine": type(runtime).__name__,
            "tiles": [*slide.crop, *slide.stride],
            "topseg": __version__,
        }
        work = _Work(target, job, labels, raster.size[1])
        try:
            _fill(work, predictors, raster, slide, progress)
        except InputError:
            if not work.done:
                work.clear()
            raise
        counts = write_mask(target, work.strips(), raster.size, labels, raster.place())
    work.clear()
    return counts


def _fill(
    work: _Work,
    predictors: Sequence[Predictor],
    raster: Raster,
    slide: Slide,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make the strips of the mask that are missing, one for each row of tiles."""
    runtime, labels = predictors[0].runtime, predictors[0].labels
    least = slide.crop if runtime.fixed_size else (MULTIPLE, MULTIPLE)
    height, width = (
        max(-(-side // MULTIPLE) * MULTIPLE, low)
        for side, low in zip(raster.size, least, strict=True)
    )
    downs, rights = slide.spans(height, 0), slide.spans(width, 1)
    borders = [*(down.start for down in downs[1:]), height]
    across = ramps(rights)
    done, total = work.done * len(rights), len(downs) * len(rights)
    if progress:
        progress(done, total)
    if done == total:
        return

    rows = _Rows(raster, max(downs[work.done].start - _ABOVE, 0))
    band = Band(0, np.empty((labels.num_classes, 0, width // STRIDE), np.float32))
    if (kept := work.band()) is not None:
        band = Band(downs[work.done].start // STRIDE - 1, kept)
    rest = list(zip(downs, borders, ramps(downs), strict=True))[work.done :]
    with ThreadPoolExecutor(len(predictors)) as pool:

        def run(down: slice) -> Iterator[Logits]:
            """Run a row of tiles, one on each engine at a time, and give the logits in order."""
            for at in range(0, len(rights), len(predictors)):
                tiles = [rows.tile(down, right) for right in rights[at : at + len(predictors)]]
                yield from pool.map(lambda one, tile: one.runtime(tile[None])[0], predictors, tiles)

        for down, border, weight in rest:
            rows.move(max(down.start - _ABOVE, 0), min(down.stop, raster.size[0]))
            band.grow(down.stop // STRIDE)
            for right, side, logits in zip(rights, across, run(down), strict=True):
                band.add(down, right, logits * weight[:, None] * side)
                done += 1
                if progress:
                    progress(done, total)
            first = rows.first + _HALF if band.top else 0
            mask = band.cut(border // STRIDE, predictors[0].threads, last=border == height)
            mask = mask[: raster.size[0] - first, : raster.size[1]]
            mask[~rows.valid[first - rows.first :][: len(mask)]] = labels.ignore_index
            work.save(mask, band.logits)
