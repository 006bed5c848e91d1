"""Drawing: masks as colours, overlays, palette PNGs and legends.

A mask file is an index PNG with the class colours as its palette: exact to read back, coloured in
every viewer, and several times cheaper to write than a colour PNG.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from topseg.core.errors import InputError
from topseg.core.labels import Color, LabelSet, Mask

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_PNG = {"compress_level": 1, "compress_type": 3}
"""zlib at its lowest level and looking for runs alone (Z_RLE), which masks consist of: the fastest
choice, and files a third to two thirds smaller than by zlib's default strategy at that level."""

JPEG_SIDE = 65500
_BAND = 32  # rows that are mixed at a time: what they take stays in the processor's cache


@dataclass(frozen=True)
class Share:
    """How much of an image one class covers.

    Attributes:
        index: The class.
        name: Its name.
        color: Its (red, green, blue).
        share: Its part of all pixels, 0..1.
    """

    index: int
    name: str
    color: Color
    share: float


def count_pixels(mask: Mask, labels: LabelSet) -> NDArray[np.int64]:
    """Count the pixels of each class, (K,); those without a class are left out."""
    classes = labels.num_classes
    if mask.dtype == np.uint8:  # Pillow takes a third of np.bincount's time
        return np.array(Image.fromarray(mask).histogram()[:classes], np.int64)
    return np.bincount(mask.ravel(), minlength=classes)[:classes]


def shares(pixels: NDArray[np.int64], labels: LabelSet) -> tuple[Share, ...]:
    """List the classes found, the largest first.

    Args:
        pixels: (K,) how many pixels each class has, as :func:`count_pixels` gives them.
        labels: The classes.
    """
    total = max(int(pixels.sum()), 1)
    order = np.argsort(-pixels, kind="stable")
    return tuple(
        Share(int(i), labels.names[i], labels.palette[i], int(pixels[i]) / total)
        for i in order
        if pixels[i]
    )


def colorize(mask: Mask, labels: LabelSet) -> Picture:
    """Paint every class in its colour; pixels without a class are black.

    Args:
        mask: (H, W) class indices.
        labels: The classes.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    table = np.zeros((int(np.iinfo(mask.dtype).max) + 1, 3), np.uint8)
    table[: labels.num_classes] = labels.colors()
    return np.take(table, mask, axis=0)


def overlay(image: Picture, mask: Mask, labels: LabelSet, alpha: float = 0.5) -> Picture:
    """Lay the coloured mask over the image; pixels without a class show the image alone.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) class indices.
        labels: The classes.
        alpha: How much of the colour, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colors = np.zeros((int(np.iinfo(mask.dtype).max) + 1, 3), np.float32)
    colors[: labels.num_classes] = labels.colors() * np.float32(alpha)
    out = np.empty_like(image)
    for top in range(0, len(mask), _BAND):
        rows = slice(top, top + _BAND)
        mixed = np.multiply(image[rows], np.float32(1 - alpha), dtype=np.float32)
        mixed += np.take(colors, mask[rows], axis=0)
        np.rint(mixed, out=mixed)
        nothing = mask[rows] >= labels.num_classes
        if nothing.any():
            mixed[nothing] = image[rows][nothing]
        out[rows] = mixed
    return out


def mask_png(mask: Mask, labels: LabelSet) -> bytes:
    """Encode a mask as PNG: palette indices, or 16-bit grey for uint16 masks.

    Args:
        mask: (H, W) uint8 or uint16.
        labels: The classes, for the palette.
    """
    picture = Image.fromarray(mask)
    if mask.dtype == np.uint8:
        picture = picture.convert("L")
        picture.putpalette(_full_palette(labels))
    return _encode(picture, "PNG", **_PNG)


def picture_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode (H, W, 3) RGB or (H, W) grey as PNG."""
    return _encode(Image.fromarray(picture), "PNG", **_PNG)


def picture_jpeg(picture: Picture, quality: int = 90) -> bytes:
    """Encode (H, W, 3) RGB as JPEG.

    Raises:
        InputError: A side is longer than the format (as libjpeg writes it) can hold.
    """
    if max(picture.shape) > JPEG_SIDE:
        height, width = picture.shape[:2]
        raise InputError(
            f"JPEG: got {height}x{width}, but a side has at most {JPEG_SIDE} pixels; take PNG"
        )
    return _encode(Image.fromarray(picture), "JPEG", quality=quality)


def legend_text(found: Sequence[Share]) -> str:
    """Return the classes found as lines of share and name, the largest first."""
    return "\n".join(f"{100 * item.share:6.2f} %  {item.name}" for item in found)


def legend_image(found: Sequence[Share], width: int = 320, line: int = 24) -> Picture:
    """Draw the classes found: colour, name and share, as many in a row as there is room for.

    Args:
        found: As :func:`shares` gives them.
        width: Pixels; a text that is longer is cut off.
        line: Height of a row in pixels.

    Returns:
        (line * rows, width, 3) uint8 RGB.
    """
    font = ImageFont.load_default(0.6 * line)
    gap, chip = line // 3, line
    most = width - chip - 4 * gap
    texts = [f"{item.name}  {_percent(item.share)}" for item in found]
    texts = [shorten(text, font, most) for text in texts]
    # Place each item behind the last, or in the next row where it would not fit.
    places, left, row = [], gap, 0
    for text in texts:
        room = chip + gap + int(font.getlength(text)) + 2 * gap
        if left > gap and left + room > width:
            left, row = gap, row + 1
        places.append((left, row))
        left += room
    picture = Image.new("RGB", (width, line * (row + 1)), "white")
    draw = ImageDraw.Draw(picture)
    edge = max(1, line // 6)
    for item, text, (left, row) in zip(found, texts, places, strict=True):
        top = row * line
        box = (left, top + edge, left + chip, top + line - edge - 1)
        draw.rectangle(box, fill=item.color, outline="black")
        place = (left + chip + gap, top + line // 2)
        draw.text(place, text, fill="black", anchor="lm", font=font)
    return np.asarray(picture)


def shorten(text: str, font: Any, width: float) -> str:
    """Cut a text off where it is wider than so many pixels in a Pillow font."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def add_legend(picture: Picture, found: Sequence[Share]) -> Picture:
    """Put the classes found below a picture, in rows that suit its width.

    Args:
        picture: (H, W, 3) uint8 RGB.
        found: As :func:`shares` gives them.

    Returns:
        (H + h, W, 3) uint8 RGB.
    """
    width = picture.shape[1]
    line = int(np.clip(width / 36, 16, 60))
    return np.concatenate([picture, legend_image(found, width, line)])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "<0.1 %"


def _full_palette(labels: LabelSet) -> bytes:
    """256 entries, so that every reader keeps the indices as they are (8 bits per pixel)."""
    return labels.colors().tobytes().ljust(768, b"\0")


def _encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()
