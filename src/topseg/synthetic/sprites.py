"""Sprites: the things that stand in a synthetic scene, each a small drawing with its own mask.

Every thing may have every colour, so that colour does not tell what it is: a ball is shaded where a
round sign is flat, a balloon has stripes that follow its curve, a house has bricks, a tree leaves.
Coordinates are parts of the sprite's box: x to the right and y down, 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Plane = NDArray[np.floating[Any]]
"""(h, w), one number per pixel."""
Color = NDArray[np.floating[Any]]
"""(3,) RGB 0..255, or (h, w, 3)."""
Point = tuple[float, float]

CLEAR = 254
"""Mask value of pixels that show what is behind."""
IGNORE = 255
"""Mask value of pixels that belong to no class: poles, and the rims of leaves."""

PAINTS: Color = np.array(
    [
        (205, 62, 54),
        (233, 142, 56),
        (242, 206, 88),
        (92, 160, 84),
        (58, 152, 150),
        (72, 116, 196),
        (132, 92, 172),
        (232, 146, 172),
        (236, 232, 224),
        (146, 150, 156),
        (148, 108, 76),
        (66, 72, 90),
    ],
    np.float32,
)
LEAVES: Color = np.array(
    [(84, 146, 72), (48, 112, 84), (206, 128, 52), (190, 66, 52), (228, 190, 84), (232, 158, 180)],
    np.float32,
)
_WHITE, _DARK, _GLASS, _POLE = (
    np.array(color, np.float32)
    for color in ((238, 236, 230), (48, 48, 56), (178, 208, 224), (120, 118, 116))
)


class Sprite:
    """A drawing in the making.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        mask: (h, w) uint8: the class, CLEAR or IGNORE.
        x: (h, w) place of each pixel, 0..1 from left to right.
        y: (h, w) the same from top to bottom.
    """

    def __init__(self, height: int, width: int, label: int, light: float) -> None:
        """Begin with nothing.

        Args:
            height: Pixels.
            width: Pixels.
            label: The class of what is painted.
            light: Where the light comes from, -1 (left) to 1 (right).
        """
        self.image = np.zeros((height, width, 3), np.uint8)
        self.mask = np.full((height, width), CLEAR, np.uint8)
        self.label, self.light = label, light
        self.x, self.y = np.meshgrid(
            (np.arange(width, dtype=np.float32) + 0.5) / width,
            (np.arange(height, dtype=np.float32) + 0.5) / height,
        )

    def paint(
        self,
        outline: Iterable[Point],
        color: Color,
        shade: Plane | float = 1.0,
        label: int | None = None,
    ) -> None:
        """Fill a polygon with a colour, or a texture, times a shade."""
        height, width = self.mask.shape
        corners = np.array(list(outline)) * (width, height) - 0.5
        region = np.zeros((height, width), np.uint8)
        cv2.fillPoly(region, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)
        inside = region > 0
        texture = np.broadcast_to(color, (height, width, 3))[inside]
        brightness = np.broadcast_to(np.asarray(shade, np.float32), (height, width))[inside]
        self.image[inside] = np.clip(texture * brightness[:, None], 0, 255).astype(np.uint8)
        self.mask[inside] = self.label if label is None else label

    def soften(self) -> None:
        """Leave the rim to no class, as an annotator would who cannot tell leaf from sky."""
        solid = (self.mask == self.label).astype(np.uint8)
        inner = cv2.erode(solid, np.ones((5, 5), np.uint8), borderValue=0)
        self.mask[(solid > 0) & (inner == 0)] = IGNORE

    def slope(self, strength: float = 0.22) -> Plane:
        """Return the shade of a flat front: brighter on the side of the light."""
        return 1 + np.float32(strength * self.light) * (2 * self.x - 1)


def house(sprite: Sprite, rng: Rng) -> None:
    """Paint walls of brick or planks, windows, a door and a tiled roof."""
    wall, roof = _paints(rng, 2)
    eave, shade = rng.uniform(0.3, 0.45), sprite.slope()
    rows, columns = rng.integers(7, 11), rng.integers(5, 8)
    line = np.floor(sprite.y * rows)
    seam = (sprite.y * rows) % 1 < 0.16
    if rng.random() < 0.6:  # bricks, each row shifted by half a brick
        seam |= (sprite.x * columns + 0.5 * (line % 2)) % 1 < 0.09
    sprite.paint(_box(0.08, eave, 0.92, 1), wall, shade * np.where(seam, 0.78, 1.0))
    tiles = 0.9 + 0.14 * np.sin(sprite.y * 80).astype(np.float32)
    if rng.random() < 0.7:
        peak = rng.uniform(0.35, 0.65)
        sprite.paint(_box(0.68, 0.04, 0.78, eave), wall, 0.7 * shade)
        sprite.paint([(0, eave + 0.03), (peak, 0), (1, eave + 0.03)], roof, shade * tiles)
    else:
        sprite.paint(
            [(0, eave + 0.03), (0.14, 0.1), (0.86, 0.1), (1, eave + 0.03)], roof, shade * tiles
        )
    lit = np.array((250, 222, 140), np.float32) if rng.random() < 0.4 else _GLASS
    door = rng.integers(3)
    for column in range(3):
        left = 0.16 + 0.25 * column
        if column == door:
            sprite.paint(_box(left, 0.68, left + 0.17, 1), roof, 0.75)
            continue
        sprite.paint(_box(left, eave + 0.14, left + 0.18, eave + 0.38), _WHITE)
        sprite.paint(_box(left + 0.025, eave + 0.165, left + 0.155, eave + 0.355), lit, 0.95)


def tree(sprite: Sprite, rng: Rng) -> None:
    """Paint a trunk and a crown of leaves, round or in tiers."""
    color = _jitter(LEAVES[rng.integers(len(LEAVES))], rng)
    trunk = np.array((112, 84, 62), np.float32)
    sprite.paint([(0.43, 0.6), (0.57, 0.6), (0.6, 1), (0.4, 1)], trunk, sprite.slope())
    height, width = sprite.mask.shape
    leaves = noise(rng, (height, width), max(3, width // 5))
    shade = (0.72 + 0.56 * leaves) * (1.12 - 0.3 * sprite.y) * sprite.slope()
    if rng.random() < 0.35:
        for tier in range(3):
            top, half = 0.2 * tier, 0.3 + 0.1 * tier
            tip, left, right = (0.5, top), (0.5 - half, top + 0.42), (0.5 + half, top + 0.42)
            sprite.paint([tip, right, left], color, shade * (0.92 + 0.06 * tier))
    else:
        for angle in np.linspace(0, 2 * np.pi, 6, endpoint=False) + rng.uniform(0, 1):
            center = 0.5 + 0.24 * np.cos(angle), 0.38 + 0.19 * np.sin(angle)
            sprite.paint(_ellipse(*center, 0.25, 0.19), color, shade)
        sprite.paint(_ellipse(0.5, 0.38, 0.3, 0.24), color, shade * 1.06)
    sprite.soften()


def car(sprite: Sprite, rng: Rng) -> None:
    """Paint a car from its side."""
    (color,) = _paints(rng, 1)
    shade = sprite.slope(0.12) * (1.12 - 0.3 * sprite.y)
    cabin, hood = rng.uniform(0.2, 0.3), rng.uniform(0.68, 0.8)
    body = [(0.02, 0.52), (0.08, 0.42), (0.92, 0.44), (0.99, 0.56), (0.99, 0.82), (0.02, 0.82)]
    roof = [(cabin - 0.1, 0.46), (cabin, 0.04), (hood - 0.12, 0.04), (hood + 0.06, 0.46)]
    sprite.paint(roof, color, shade)
    sprite.paint(body, color, shade)
    middle = (cabin + hood - 0.12) / 2
    for left, right, lean in ((cabin, middle - 0.02, -0.06), (middle + 0.02, hood - 0.14, 0.1)):
        outside, inside = (left, right) if lean < 0 else (right, left)
        pane = [(outside, 0.12), (inside, 0.12), (inside, 0.42), (outside + lean, 0.42)]
        sprite.paint(pane, _GLASS, 0.62 + 0.4 * sprite.y)
    sprite.paint(_box(0.03, 0.62, 0.97, 0.67), color, 0.66)
    sprite.paint(_box(0.93, 0.5, 0.99, 0.6), np.array((255, 236, 170), np.float32))
    height, width = sprite.mask.shape
    for x in (0.23, 0.77):
        sprite.paint(_ellipse(x, 0.79, 0.21 * height / width, 0.21), _DARK)
        sprite.paint(_ellipse(x, 0.79, 0.1 * height / width, 0.1), _WHITE, 0.8)


def balloon(sprite: Sprite, rng: Rng) -> None:
    """Paint a hot-air balloon, its stripes narrowing towards the edge."""
    first, second = _paints(rng, 2)
    across, down = 2 * sprite.x - 1, (sprite.y - 0.38) / 0.38
    half = np.sqrt(np.clip(1 - down**2, 0.02, None))
    turn = np.arcsin(np.clip(across / half, -1, 1))  # longitude of each pixel
    stripes = np.floor((turn / np.pi + 0.5) * rng.integers(5, 9)) % 2 > 0
    shade = 0.78 + 0.32 * np.cos(turn - 0.7 * sprite.light)
    for x in (0.38, 0.62):
        sprite.paint(_box(x - 0.015, 0.72, x + 0.015, 0.9), _POLE, 0.8)
    skin = np.where(stripes[..., None], first, second)
    sprite.paint([(0.1, 0.53), (0.9, 0.53), (0.6, 0.8), (0.4, 0.8)], skin, shade * 0.92)
    sprite.paint(_ellipse(0.5, 0.38, 0.5, 0.38), skin, shade)
    sprite.paint(_box(0.36, 0.86, 0.64, 1), np.array((150, 106, 66), np.float32), sprite.slope())


def ball(sprite: Sprite, rng: Rng) -> None:
    """Paint a ball: one or two colours, shaded as a sphere with a highlight."""
    first, second = _paints(rng, 2)
    across, down = 2 * sprite.x - 1, 2 * sprite.y - 1
    depth = np.sqrt(np.clip(1 - across**2 - down**2, 0, None))
    facing = np.clip(0.55 * sprite.light * across - 0.6 * down + 0.6 * depth, 0, 1)
    kind = rng.integers(3)
    tilt = across * np.cos(0.5) + down * np.sin(0.5)
    pattern = (tilt > 9, np.abs(tilt) < 0.3, np.abs(tilt - depth) < 0.5)[kind]
    skin = np.where(pattern[..., None], second, first)
    color = skin * (0.38 + 0.8 * facing)[..., None] + 190 * (facing**24)[..., None]
    sprite.paint(_ellipse(0.5, 0.5, 0.5, 0.5), color)


def round_sign(sprite: Sprite, rng: Rng) -> None:
    """Paint a flat disc with a ring, on a pole."""
    _pole(sprite)
    radius = sprite.mask.shape[1] / sprite.mask.shape[0] / 2
    center, face = (0.5, radius), _face(sprite, rng)
    ring, inner = (_WHITE, face) if rng.random() < 0.6 else (face, _WHITE)
    sprite.paint(_ellipse(*center, 0.5, radius), ring, sprite.slope(0.08))
    sprite.paint(_ellipse(*center, 0.38, 0.76 * radius), inner, sprite.slope(0.08))
    if rng.random() < 0.5:
        sprite.paint(_box(0.26, 0.78 * radius, 0.74, 1.22 * radius), ring)


def square_sign(sprite: Sprite, rng: Rng) -> None:
    """Paint a flat square, upright or on its corner, plain or chequered, on a pole."""
    _pole(sprite)
    side = sprite.mask.shape[1] / sprite.mask.shape[0]
    face, shade = _face(sprite, rng), sprite.slope(0.08)
    standing = rng.random() < 0.6
    for size, color in ((1.0, _WHITE), (0.78, face)):
        half, high = size / 2, size / 2 * side
        low, up, left, right = side / 2 + high, side / 2 - high, 0.5 - half, 0.5 + half
        corners = [(left, up), (right, up), (right, low), (left, low)]
        if not standing:
            corners = [(0.5, up), (right, side / 2), (0.5, low), (left, side / 2)]
        sprite.paint(corners, color, shade)


THINGS: dict[str, Callable[[Sprite, Rng], None]] = {
    "house": house,
    "tree": tree,
    "car": car,
    "balloon": balloon,
    "ball": ball,
    "round sign": round_sign,
    "square sign": square_sign,
}


def noise(rng: Rng, size: tuple[int, int], cells: int | tuple[int, int]) -> Plane:
    """Return smooth random values 0..1, (height, width), from a grid of so many cells."""
    grid = rng.random((cells, cells) if isinstance(cells, int) else cells, np.float32)
    smooth = cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


def _paints(rng: Rng, count: int) -> list[Color]:
    """Draw different colours."""
    return [_jitter(PAINTS[i], rng) for i in rng.permutation(len(PAINTS))[:count]]


def _jitter(color: Color, rng: Rng) -> Color:
    return np.clip(color + rng.normal(0, 9, 3).astype(np.float32), 12, 248)


def _face(sprite: Sprite, rng: Rng) -> Any:
    """Draw what is on a sign: plain, chequered or striped."""
    first, second = _paints(rng, 2)
    kind, height = rng.integers(3), sprite.mask.shape[0] / sprite.mask.shape[1]
    columns = np.floor(sprite.x * 5)
    if kind == 0:
        return first
    rows = np.floor(sprite.y * height * 5) if kind == 1 else 0
    return np.where(((columns + rows) % 2 > 0)[..., None], first, second)


def _pole(sprite: Sprite) -> None:
    """Paint a pole; it belongs to no class."""
    sprite.paint(_box(0.45, 0.3, 0.55, 1), _POLE, sprite.slope(), label=IGNORE)


def _box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _ellipse(x: float, y: float, rx: float, ry: float) -> list[Point]:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return list(zip(x + rx * np.cos(angles), y + ry * np.sin(angles), strict=True))
