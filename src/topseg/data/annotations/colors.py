"""Colours: masks in which every class has its colour of RGB, exact or nearly.

The colours come from a file of names and colours: ``labelmap.txt`` (CVAT's), ``class_dict.csv`` or
any lines ``name,red,green,blue``, in the folder or given; or from a published set. A colour that is
not among them has no class, or becomes the nearest one on request; both are reported.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError, shorten
from topseg.core.labels import STANDARD_SETS, Color, LabelSet, standard_set
from topseg.data.annotations.files import Glimpse
from topseg.data.annotations.masked import find_masked, mask_item, read_codes
from topseg.data.annotations.source import IGNORED, Options, Source, SourceFormat
from topseg.data.masks import decode_colors, encode_colors

PALETTES: Final = ("labelmap.txt", "class_dict.csv", "palette.txt", "palette.csv")
_LINE: Final = re.compile(r"(.+?)\s*[:,;\t ]\s*(\d+)\s*[,;\t ]\s*(\d+)\s*[,;\t ]\s*(\d+)\s*(:.*)?")
_FAR: Final = 48  # a distance in RGB above which nearest is a guess: JPEG moves colours by less
_SHOWN: Final = 8
_MOST: Final = 1 << 18  # colours of one mask


def recognize(seen: Glimpse) -> bool:
    """Recognize a folder by its file of names and colours."""
    return seen.source.is_dir() and any((seen.source / name).is_file() for name in PALETTES[1:])


def open_source(source: Path, options: Options) -> Source:
    """Read the colours and find the pairs of images and masks.

    Raises:
        InputError: There are no colours (those in the masks are named), or no pairs.
    """
    pairs, problems = find_masked(source, options.images)
    labels = _labels(source, options, [pair.mask for pair in pairs[:20]])
    lookup = ColorLookup(labels, options.nearest)
    return Source(
        labels.names,
        tuple(mask_item(pair, lookup.read) for pair in pairs),
        palette=labels.palette,
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class ColorLookup:
    """From a mask's colours to numbers of names.

    Attributes:
        labels: The names and their colours.
        nearest: Whether an unknown colour becomes the nearest one.
        void: Colours that stand for "no class".
    """

    labels: LabelSet
    nearest: bool = False
    void: tuple[Color, ...] = ()

    def __post_init__(self) -> None:
        codes = self.codes.tolist()
        twice = next((i for i, code in enumerate(codes) if code in codes[:i]), None)
        if twice is not None:
            first, second = self._name(codes.index(codes[twice])), self._name(twice)
            raise InputError(f"palette: '{first}' and '{second}' share a colour; masks need others")

    @functools.cached_property
    def codes(self) -> NDArray[np.int32]:
        """Every known colour as a code, those of the names first."""
        return encode_colors(np.array([*self.labels.palette, *self.void], np.uint8))

    def read(self, mask: Path) -> tuple[NDArray[np.uint16], dict[str, int]]:
        """Read a mask.

        Returns:
            (H, W) numbers of names, ``IGNORED`` where a colour has none; and what did not fit, as
            reasons with their pixels.

        Raises:
            InputError: It cannot be read, or has as many colours as a photograph.
        """
        found, inverse = np.unique(read_codes(mask, self.nearest), return_inverse=True)
        if len(found) > _MOST:
            raise InputError(f"{mask}: {len(found):,} colours; it is a picture, not a mask")
        which, apart = self._nearest(found)
        numbers = np.where(which < self.labels.num_classes, which, IGNORED).astype(np.uint16)
        if not self.nearest:
            numbers[apart > 0] = IGNORED
        left_out: dict[str, int] = {}
        if apart.any():
            counts = np.bincount(inverse.ravel(), minlength=len(found))
            left_out = self._reasons(found, counts, which, apart)
        return numbers[inverse], left_out

    def _reasons(
        self,
        found: NDArray[np.int32],
        counts: NDArray[np.int64],
        which: NDArray[np.int64],
        apart: NDArray[np.float64],
    ) -> dict[str, int]:
        """Describe the colours without a name: those that are many, and the others together."""
        reasons = {}
        odd = apart > (_FAR if self.nearest else 0)
        if self.nearest and (near := int(counts[(apart > 0) & ~odd].sum())):
            reasons[f"pixels taken for the nearest colour, at most {_FAR} from it"] = near
        order = sorted(np.flatnonzero(odd).tolist(), key=lambda i: (-counts[i], found[i]))
        what = "taken for it all the same" if self.nearest else "without a class"
        for i in order[:_SHOWN]:
            color = decode_colors(found[i : i + 1])[0].tolist()
            text = f"pixels of {color}, {apart[i]:.0f} from {self._name(int(which[i]))}, {what}"
            reasons[text] = int(counts[i])
        if others := int(counts[order[_SHOWN:]].sum()):
            reasons[f"pixels of other colours without a name, {what}"] = others
        return reasons

    def _name(self, number: int) -> str:
        return self.labels.names[number] if number < self.labels.num_classes else "no class"

    def _nearest(self, codes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the nearest known colour of each, by Euclidean distance, and how far it is."""
        which, apart = np.zeros(len(codes), np.int64), np.zeros(len(codes))
        known = decode_colors(self.codes)
        for start in range(0, len(codes), 4096):
            block = decode_colors(codes[start : start + 4096])
            squares = ((block[:, None] - known[None]) ** 2).sum(-1)
            which[start : start + 4096] = squares.argmin(1)
            apart[start : start + 4096] = np.sqrt(squares.min(1))
        return which, apart


def _labels(source: Path, options: Options, masks: list[Path]) -> LabelSet:
    given = options.palette
    if given is not None and not given.exists() and str(given) in STANDARD_SETS:
        return standard_set(str(given))[0]
    file = given or next((source / n for n in PALETTES if (source / n).is_file()), None)
    if file is not None:
        return read_palette(file)
    seen: Counter[int] = Counter()
    for mask in masks:
        codes, counts = np.unique(read_codes(mask, lossy=True), return_counts=True)
        seen.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
    colors = [decode_colors(np.array([code]))[0].tolist() for code, _ in seen.most_common(_SHOWN)]
    shown = " ".join(f"NAME,{r},{g},{b}" for r, g, b in colors)
    raise InputError(
        f"{source}: no names for the masks' colours; write a line NAME,RED,GREEN,BLUE for each "
        f"into {source / PALETTES[2]} (or --palette FILE, or one of {', '.join(STANDARD_SETS)}); "
        f"{len(seen)} colours in {len(masks)} masks, the first: {shown}"
    )


def read_palette(file: Path) -> LabelSet:
    """Read names and colours, one a line: ``name,red,green,blue`` or CVAT's labelmap.

    Raises:
        InputError: The file cannot be read, or a line is something else.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as names and colours ({error})") from None
    rows: dict[str, Color] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            if not rows and number == 1:  # a head of columns
                continue
            raise InputError(
                f"{file}: line {number}: got {shorten(line, 60)}, expected name,red,green,blue"
            )
        name, red, green, blue = found[1].strip(), int(found[2]), int(found[3]), int(found[4])
        if max(red, green, blue) > 255 or name in rows:
            what = f"'{name}' twice" if name in rows else f"{(red, green, blue)}"
            raise InputError(
                f"{file}: line {number}: got {what}, expected each name once and values of 0 to 255"
            )
        rows[name] = red, green, blue
    if not rows:
        raise InputError(f"{file}: empty, expected a line name,red,green,blue for each class")
    return LabelSet(tuple(rows), tuple(rows.values()))


def parse_hex(text: str) -> Color | None:
    """Read ``#rrggbb``; None: it is no such text."""
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


FORMAT: Final = SourceFormat(
    name="colors",
    title="RGB colours",
    files="images and masks by stem, as layout `folder`; `palette.txt`, `class_dict.csv`, "
    "`labelmap.txt` or `--palette`",
    rest="ignore",
    notes="a colour without a name has no class, or `--nearest` takes the nearest; both are "
    "reported with their distance",
    recognize=recognize,
    open=open_source,
)
