"""HTML: what pages share: the frame with its style, chips, bars, and pictures inside the file."""

from __future__ import annotations

import base64
import importlib.resources
import math
from collections.abc import Iterable, Iterator, Mapping
from html import escape

from topseg import __version__
from topseg.core.geometry import Size
from topseg.core.labels import Color, LabelSet
from topseg.media.drawing import Picture, picture_jpeg, picture_png

BLUE, ORANGE, GREEN = (86, 180, 233), (230, 159, 0), (0, 158, 115)
"""Colours that colour-blind people tell apart as well (Okabe and Ito,
https://jfly.uni-koeln.de/color)."""


def document(title: str, header: Iterable[str], main: Iterable[str]) -> Iterator[str]:
    """Return a page, line by line.

    Args:
        title: Of the window.
        header: HTML of the head of the page.
        main: HTML of its sections.
    """
    style = (importlib.resources.files("topseg.report") / "style.css").read_text(encoding="utf-8")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)} - topseg</title>\n<style>\n{style}</style>\n</head>\n<body>"
    yield "<header>"
    yield from header
    yield "</header>\n<main>"
    yield from main
    yield f"</main>\n<footer>Made by topseg {__version__}.</footer>\n</body>\n</html>"


def definitions(name: str, pairs: Mapping[str, str]) -> str:
    """Return names with their texts as a list of a CSS class."""
    rows = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs.items())
    return f'<dl class="{name}">{"".join(rows)}</dl>'


def chip(name: str, color: Color) -> str:
    """Return a class's name behind its colour."""
    return f'<i style="background:{css(color)}"></i>{escape(name)}'


def legend(labels: LabelSet, used: Iterable[int]) -> str:
    """Return the colours of some classes as a list."""
    chips = (chip(labels.names[i], labels.palette[i]) for i in used)
    return f'<ul class="legend">{"".join(f"<li>{one}</li>" for one in chips)}</ul>'


def bar(ratio: float, color: str, longest: float = 1.0) -> str:
    """Return a table's cell with a ratio as a bar and a number.

    Args:
        ratio: From 0 to 1.
        color: Any CSS colour.
        longest: The ratio whose bar fills the cell.
    """
    width = 0 if math.isnan(ratio) else min(100.0, 100 * ratio / longest)
    filled = f'<i><b style="width:{width:.1f}%;background:{color}"></b></i>'
    return f'<td class="bar"><span>{filled}<em>{percent(ratio)}</em></span></td>'


def cell(what: str, picture: Picture, alt: str, *, photo: bool = True) -> str:
    """Return a picture with its caption.

    Args:
        what: The caption.
        picture: (H, W, 3) uint8 RGB.
        alt: What it is, for those who cannot see it.
        photo: As JPEG; else as PNG, exact and small for few colours.
    """
    data = (picture_jpeg if photo else picture_png)(picture)
    kind, (height, width) = "jpeg" if photo else "png", picture.shape[:2]
    return (
        f'<div><img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" '
        f'width="{width}" height="{height}" alt="{alt}" loading="lazy"><span>{what}</span></div>'
    )


def fit(size: Size, largest: int) -> Size:
    """Return a size whose longer side is at most so many pixels."""
    scale = min(1.0, largest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def css(color: Color) -> str:
    """Return a colour as CSS has it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def percent(ratio: float, form: str = ".1f") -> str:
    """Return a ratio in percent; "-" for nan."""
    return "-" if math.isnan(ratio) else f"{100 * ratio:{form}}"
