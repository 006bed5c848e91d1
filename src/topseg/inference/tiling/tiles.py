"""Tiles: the image row by row of tiles, each read once and run on an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from topseg.inference.tta import Logits
from topseg.media.images import Image
from topseg.media.rasters import Raster

Network = Callable[[Image, slice, slice], Logits]
"""What makes something of a tile and its place."""


class Rows:
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
        """Return a tile, (H, W, C); beyond the image's lower and right borders it is mirrored."""
        inside = self.pixels[rows.start - self.first :, columns]
        beyond = [(0, rows.stop - rows.start - len(inside))]
        beyond += [(0, columns.stop - columns.start - inside.shape[1]), (0, 0)]
        return np.pad(inside, beyond, "symmetric")


@dataclass(frozen=True)
class Tiles:
    """The tiles of an image, and the engines that they run on."""

    raster: Raster
    downs: list[slice]
    rights: list[slice]
    pool: ThreadPoolExecutor
    tick: Callable[[], None]

    def rows(self, first: int, above: int) -> Iterator[tuple[slice, Rows]]:
        """Read on to each row of tiles, from one on; some rows of pixels above it are kept."""
        rows = Rows(self.raster, max(self.downs[first].start - above, 0))
        for down in self.downs[first:]:
            rows.move(max(down.start - above, 0), min(down.stop, self.raster.size[0]))
            yield down, rows

    def run(self, rows: Rows, down: slice, networks: Sequence[Network]) -> Iterator[Logits]:
        """Run a row of tiles, one on each engine at a time, and yield the results in order."""
        for at in range(0, len(self.rights), len(networks)):
            rights = self.rights[at : at + len(networks)]
            tiles = [rows.tile(down, right) for right in rights]
            work = zip(networks, tiles, rights, strict=False)
            for result in self.pool.map(lambda one: one[0](one[1], down, one[2]), work):
                yield result
                self.tick()
