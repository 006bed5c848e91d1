"""Prediction: what a model sees in one image, and the forms that people want it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.core.geometry import Size
from topseg.core.labels import LabelSet, Mask
from topseg.inference.tta import Logits
from topseg.inference.upsample import upsample_argmax_probability
from topseg.media import drawing, regions
from topseg.media.drawing import Picture, Share
from topseg.media.outlines import Polygon, trace_polygons
from topseg.media.resize import resize_planes

_NO_LOGITS = "probability: the logits were not kept; predict with keep_logits=True"


@dataclass(frozen=True, repr=False)
class Prediction:
    """What the model sees in one image.

    Attributes:
        mask: (H, W) class indices at the image's own size.
        labels: What they mean.
        logits: (K, h, w) float32 at stride 8 of the network's input, where asked for.
        image: (H, W, C) uint8, the pixels that were predicted, where they are at hand; held, not
            copied.
    """

    mask: Mask
    labels: LabelSet
    logits: Logits | None = field(default=None, repr=False)
    image: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.mask.shape[0], self.mask.shape[1]

    def __repr__(self) -> str:
        height, width = self.size
        found = ", ".join(f"{share.name} {100 * share.share:.0f} %" for share in self.shares()[:3])
        return f"Prediction({width}x{height}: {found})"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: the mask over the image, or in colours without one."""
        shown = self.image is not None and self.image.shape[2] == 3
        return drawing.picture_png(self.overlay() if shown else self.color())

    def shares(self) -> tuple[Share, ...]:
        """List the classes found with their share of the image, the largest first."""
        return drawing.shares(drawing.count_pixels(self.mask, self.labels), self.labels)

    def color(self) -> Picture:
        """Return the mask in the classes' colours, (H, W, 3) uint8 RGB."""
        return drawing.colorize(self.mask, self.labels)

    def overlay(
        self, image: Picture | None = None, alpha: float = 0.5, *, legend: bool = False
    ) -> Picture:
        """Lay the mask over the image, (H, W, 3) uint8 RGB.

        Args:
            image: The image, (H, W, 3) uint8 RGB; None takes the pixels that were predicted.
            alpha: Weight of the classes' colours, 0..1.
            legend: Put the classes found below, with their colours and shares; (H + h, W, 3) then.

        Raises:
            InputError: An image of another size or channel count, or none at hand.
        """
        if image is None:
            image = self.image
        if image is None:
            raise InputError("overlay: no image at hand; pass the one that was predicted")
        if image.shape != (*self.size, 3):
            raise InputError(f"overlay: got an image {image.shape}, expected {(*self.size, 3)}")
        picture = drawing.overlay(image, self.mask, self.labels, alpha)
        return drawing.add_legend(picture, self.shares()) if legend else picture

    def probability(self) -> NDArray[np.float32]:
        """Return the softmax probability of the winning class for each pixel, (H, W) float32.

        Raises:
            InputError: The logits were not kept.
        """
        if self.logits is None:
            raise InputError(_NO_LOGITS)
        return upsample_argmax_probability(self.logits, self.size)[1]

    def probabilities(self) -> NDArray[np.float16]:
        """Return the softmax probability of every class for each pixel, (K, H, W) float16.

        Raises:
            InputError: The logits were not kept.
        """
        out = np.empty((self.labels.num_classes, *self.size), np.float16)
        best = np.full(self.size, -np.inf, np.float32)
        for value in self._planes():
            np.maximum(best, value, out=best)
        total = np.zeros(self.size, np.float32)
        for value in self._planes():
            total += np.exp(value - best)
        for target, value in zip(out, self._planes(), strict=True):
            target[:] = np.exp(value - best) / total
        return out

    def polygons(self) -> dict[int, list[Polygon]]:
        """Return the outlines of each class found, by its index.

        Each connected part is a list of simple rings, (N, 2) int32 corners x, y along the edges of
        the pixels, the shell first, then its holes; filled, they give the mask again.
        """
        found = np.flatnonzero(drawing.count_pixels(self.mask, self.labels)).tolist()
        return {index: trace_polygons(self.mask, index) for index in found}

    def rle(self, *, compressed: bool = False) -> dict[int, dict[str, Any]]:
        """Return COCO's run lengths of each class found: ``{"size": [H, W], "counts": ...}``.

        Args:
            compressed: Return the counts as COCO's short text, not as a list.
        """
        runs = regions.run_lengths(self.mask)
        return {
            index: {
                "size": list(self.size),
                "counts": regions.compress_runs(counts) if compressed else counts,
            }
            for index, counts in runs.items()
            if index < self.labels.num_classes
        }

    def to_coco(self, *, image_id: int = 1, file_name: str = "") -> dict[str, Any]:
        """Return a COCO data set of this image: one annotation for each class found.

        Args:
            image_id: Of the image; join the ``images`` and ``annotations`` of several.
            file_name: Of the image.
        """
        return regions.to_coco(self.mask, self.labels, image_id=image_id, file_name=file_name)

    def to_geojson(self, transform: regions.Affine | None = None) -> dict[str, Any]:
        """Return a GeoJSON FeatureCollection: one polygon with holes for each connected part.

        Args:
            transform: (a, b, c, d, e, f) of x' = a x + b y + c, y' = d x + e y + f from pixels to
                the map; None: the coordinates are pixels.
        """
        return regions.to_geojson(self.mask, self.labels, transform)

    def to_json(self, shapes: regions.Shapes = "all") -> bytes:
        """Return what is seen as JSON: classes with area, share, run lengths and outlines.

        Args:
            shapes: Which of the last two.
        """
        return regions.describe(self.mask, self.labels, shapes)

    def save(self, path: str | Path) -> None:
        """Write the mask as an index PNG with palette (16-bit grey above 255 classes).

        Raises:
            InputError: The file cannot be written.
        """
        write_bytes(Path(path), drawing.mask_png(self.mask, self.labels))

    def _planes(self) -> Iterator[Any]:
        """Interpolate one class after the other to the image's size."""
        if self.logits is None:
            raise InputError(_NO_LOGITS)
        return (resize_planes(plane[None], self.size)[0] for plane in self.logits)
