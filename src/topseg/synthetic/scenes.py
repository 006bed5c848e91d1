"""Scenes: a small synthetic data set, drawn anew from a seed wherever it is needed.

Landscapes with houses, trees, cars, balloons, balls and signs that hide each other, at any time of
the day. Colours are shared between classes, so that a method has to see shape and texture. A scene
is a function of (seed, index) alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.config import to_yaml
from topseg.core.errors import InputError
from topseg.core.files import write_bytes, write_text
from topseg.core.labels import LabelSet
from topseg.data.config import DataConfig
from topseg.data.sample import Sample
from topseg.media.drawing import mask_png, picture_jpeg
from topseg.synthetic.sprites import CLEAR, PAINTS, THINGS, Color, Plane, Point, Rng, Sprite, noise

LABELS = LabelSet(
    ("sky", "ground", *THINGS),
    (
        (142, 202, 230),
        (168, 140, 108),
        (231, 111, 81),
        (42, 157, 104),
        (58, 90, 190),
        (190, 110, 240),
        (255, 200, 40),
        (220, 30, 90),
        (20, 200, 200),
    ),
)
SIZE = (192, 256)
"""(height, width) of a scene in pixels."""

_SKY, _GROUND = 0, 1
_FINE = 2  # scenes are drawn this much larger, for smooth edges
_SKIES = (  # zenith, horizon
    ((84, 146, 220), (204, 228, 242)),
    ((98, 84, 150), (248, 172, 112)),
    ((150, 160, 172), (210, 214, 218)),
    ((34, 44, 88), (128, 108, 150)),
    ((150, 176, 226), (250, 204, 204)),
    ((226, 170, 96), (252, 228, 176)),
    ((60, 132, 140), (190, 224, 206)),
)
_SOILS = (
    (104, 152, 74),
    (192, 154, 84),
    (222, 194, 146),
    (112, 114, 120),
    (224, 230, 240),
    (150, 178, 208),
    (200, 138, 118),
    (142, 122, 178),
)
_SIZES = {  # height in pixels, width / height, where (0 = horizon, 1 = front), how many
    "house": ((66, 88), (0.9, 1.25), (0.02, 0.4), (1, 3)),
    "tree": ((66, 94), (0.6, 0.75), (0.0, 0.6), (1, 3)),
    "car": ((34, 42), (2.0, 2.2), (0.3, 0.9), (0, 2)),
    "balloon": ((56, 78), (0.76, 0.8), (-0.9, -0.35), (0, 2)),
    "ball": ((32, 46), (1.0, 1.0), (0.45, 1.0), (0, 2)),
    "round sign": ((58, 74), (0.58, 0.62), (0.35, 0.95), (0, 2)),
    "square sign": ((58, 74), (0.54, 0.58), (0.35, 0.95), (0, 2)),
}


def write_scenes(
    folder: Path,
    seed: int = 0,
    train: int = 400,
    val: int = 60,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a data set of scenes: images/ and masks/ with both splits, and ``dataset.yaml``.

    Args:
        folder: Where; it is made.
        seed: Of all scenes.
        train: Scenes to train on.
        val: Scenes held out.
        progress: Called after each scene with (done, total).

    Raises:
        InputError: A file cannot be written.
    """
    if min(train, val) < 1:
        raise InputError(f"scenes: got {train} and {val}, expected at least one of each split")
    splits = ["train"] * train + ["val"] * val
    for index, split in enumerate(splits):
        sample = draw_scene(seed, index)
        image, mask = picture_jpeg(sample.image, quality=92), mask_png(sample.mask, LABELS)
        write_bytes(folder / "images" / split / f"{sample.name}.jpg", image)
        write_bytes(folder / "masks" / split / f"{sample.name}.png", mask)
        if progress:
            progress(index + 1, len(splits))
    config = DataConfig(root=".", classes=LABELS.names, palette=LABELS.palette)
    write_text(folder / "dataset.yaml", to_yaml(config))


def draw_scene(seed: int, index: int) -> Sample:
    """Draw one scene.

    Args:
        seed: Of the data set.
        index: Which scene.

    Returns:
        An image (192, 256, 3) and its mask, 255 on poles and on the rims of trees.
    """
    rng = np.random.default_rng((seed, index))
    scene = _Scene(rng)
    for name, base, x, height, width in _stand(rng, scene.horizon):
        scene.place(name, base, x, height, width)
    return Sample(scene.lit(), scene.mask[::_FINE, ::_FINE].copy(), f"scene_{index:04d}")


class _Scene:
    """A picture in the making, from the back to the front."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        height, width = SIZE[0] * _FINE, SIZE[1] * _FINE
        self.light = float(rng.choice((-1, 1)) * rng.uniform(0.5, 1))
        self.horizon = int(height * rng.uniform(0.4, 0.55))
        self.mask = np.full((height, width), _SKY, np.uint8)
        zenith, haze = np.array(_SKIES[rng.integers(len(_SKIES))], np.float32)
        soil = np.array(_SOILS[rng.integers(len(_SOILS))], np.float32)
        self.image = self._sky(zenith, haze)
        for distance in (0.6, 0.3):  # hills fade into the haze
            self._land(self._hills(distance), soil + distance * (haze - soil))
        self._land([(0, self.horizon), (width, self.horizon), (width, height), (0, height)], soil)
        if rng.random() < 0.7:
            self._land(self._road(), 0.45 * soil + 0.55 * PAINTS[rng.integers(len(PAINTS))])
        self._roughen()

    def place(self, name: str, base: int, x: int, height: int, width: int) -> None:
        """Draw a thing over what is there, standing at ``base``."""
        sprite = Sprite(height, width, LABELS.names.index(name), self.light)
        THINGS[name](sprite, self.rng)
        if base > self.horizon:
            self._shadow(base, x, width)
        top, left = base - height, x - width // 2
        rows = slice(max(top, 0), min(base, self.mask.shape[0]))
        columns = slice(max(left, 0), min(left + width, self.mask.shape[1]))
        inside = np.s_[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        solid = sprite.mask[inside] != CLEAR
        self.image[rows, columns][solid] = sprite.image[inside][solid]
        self.mask[rows, columns][solid] = sprite.mask[inside][solid]

    def lit(self) -> NDArray[np.uint8]:
        """Return the picture at its own size, in the light of the hour, with the camera's noise."""
        small = cv2.resize(self.image, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        slope = np.linspace(-1, 1, SIZE[1], dtype=np.float32)[None, :, None] * self.light
        cast = self.rng.normal(1, 0.06, 3).astype(np.float32) * self.rng.uniform(0.75, 1.1)
        grain = self.rng.normal(0, self.rng.uniform(2, 8), small.shape).astype(np.float32)
        lit = small * (1 + 0.1 * slope) * cast + grain
        return np.asarray(np.clip(lit, 0, 255), np.uint8)

    def _sky(self, zenith: Color, haze: Color) -> NDArray[np.uint8]:
        down = np.linspace(0, SIZE[0] * _FINE / self.horizon, SIZE[0], dtype=np.float32).clip(0, 1)
        sky = zenith + down[:, None, None] * (haze - zenith)
        clouds = 0.65 * noise(self.rng, SIZE, (9, 4)) + 0.35 * noise(self.rng, SIZE, (22, 9))
        cover = 0.75 * np.clip((clouds - self.rng.uniform(0.48, 0.62)) * 5, 0, 1)[..., None]
        cloudy = (sky + cover * (0.5 * haze + 125 - sky)).astype(np.uint8)
        return np.asarray(cv2.resize(cloudy, self.mask.shape[::-1]), np.uint8)

    def _hills(self, distance: float) -> list[Point]:
        """Return the outline of a chain of hills."""
        height, width = self.mask.shape
        ridge = noise(self.rng, (1, width), (1, int(self.rng.integers(4, 8))))[0]
        tops = self.horizon - ridge * 90 * (0.4 + distance)
        return [(0, height), *enumerate(tops.tolist()), (width, height)]

    def _road(self) -> list[Point]:
        """Return the outline of a road to the horizon; it is ground like the rest."""
        height, width = self.mask.shape
        far, near = self.rng.uniform(0.3, 0.7) * width, self.rng.uniform(-0.1, 1.1) * width
        along = np.linspace(0, 1, 24)
        middle, half = far + (near - far) * along**2, 4 + 90 * along
        down = self.horizon + (height - self.horizon) * along
        left, right = np.stack([middle - half, down], 1), np.stack([middle + half, down], 1)
        return [*left.tolist(), *right[::-1].tolist()]

    def _land(self, outline: list[Point], color: Color) -> None:
        corners = np.rint(np.array(outline) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [corners], color.tolist(), shift=4)
        cv2.fillPoly(self.mask, [corners], _GROUND, shift=4)

    def _roughen(self) -> None:
        """Add texture to the ground: long streaks and fine grain."""
        top = int((self.mask == _GROUND).any(axis=1).argmax())
        size = self.mask.shape[0] - top, self.mask.shape[1]
        streaks = noise(self.rng, size, (48, 6)) + noise(self.rng, size, (90, 70))
        rough = 0.8 + 0.2 * streaks + np.linspace(-0.02, 0.08, size[0], dtype=np.float32)[:, None]
        rough[self.mask[top:] != _GROUND] = 1
        land = self.image[top:]
        np.clip(land * rough[..., None], 0, 255, out=land, casting="unsafe")

    def _shadow(self, base: int, x: int, width: int) -> None:
        height = max(width // 5, 6)
        center = x - int(0.25 * self.light * width)
        top, left = base - height // 2 - 2, center - width * 2 // 3
        rows = slice(max(top, self.horizon), min(top + height, self.mask.shape[0]))
        columns = slice(max(left, 0), min(left + width * 4 // 3, self.mask.shape[1]))
        down = (np.arange(rows.start, rows.stop) - top - height / 2) / (height / 2)
        across = (np.arange(columns.start, columns.stop) - center) / (width * 2 / 3)
        round_: Plane = np.clip(1.6 * (1 - down[:, None] ** 2 - across[None] ** 2), 0, 1)
        patch = self.image[rows, columns]
        ground = (self.mask[rows, columns] == _GROUND)[..., None]
        patch[:] = (patch * (1 - 0.45 * round_[..., None] * ground)).astype(np.uint8)


def _stand(rng: Rng, horizon: int) -> list[tuple[str, int, int, int, int]]:
    """Choose what stands where, from the back to the front, without hiding much of anything."""
    height, width = SIZE[0] * _FINE, SIZE[1] * _FINE
    placed: list[tuple[float, str, int, int, int, int]] = []
    for name, (heights, ratios, depths, counts) in _SIZES.items():
        for _ in range(rng.integers(counts[0], counts[1] + 1)):
            for _ in range(12):
                depth = rng.uniform(*depths)
                size = rng.uniform(*heights) * _FINE * (0.8 + 0.35 * abs(depth))
                tall, wide = int(size), int(size * rng.uniform(*ratios))
                base = int(horizon + 6 + depth * (height - horizon - 10))
                if depth < 0:
                    base = int(horizon * (1 + depth) + 0.6 * tall)
                x = int(rng.uniform(0.04, 0.96) * width)
                if all(_apart((base, x, tall, wide), other[2:]) for other in placed):
                    placed.append((depth, name, base, x, tall, wide))
                    break
    return [(name, base, x, tall, wide) for _, name, base, x, tall, wide in sorted(placed)]


def _apart(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two boxes (base, x, height, width) hide little of each other."""
    down = min(a[0], b[0]) - max(a[0] - a[2], b[0] - b[2])
    across = min(a[1] + a[3] // 2, b[1] + b[3] // 2) - max(a[1] - a[3] // 2, b[1] - b[3] // 2)
    return max(down, 0) * max(across, 0) < 0.3 * min(a[2] * a[3], b[2] * b[3])
