"""Layouts: how data sets lie on disk, one file and one record for each layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from topseg.core.choice import NamedRecord
from topseg.data.layouts import ade20k, camvid, cityscapes, folder, lists, shards, voc
from topseg.data.layouts.layout import Layout

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT
    for module in (folder, lists, shards, ade20k, cityscapes, voc, camvid)
}
"""Every built-in layout by its name."""

NAMED_LAYOUT = NamedRecord("layouts", LAYOUTS, Layout)

LayoutName = Annotated[str, NAMED_LAYOUT]
"""Type of ``data.layout``: the name of a built-in layout or of a plug-in."""


def find_layout(name: str) -> Layout:
    """Return the layout of a name.

    Raises:
        InputError: There is none.
    """
    found: Layout = NAMED_LAYOUT.find(name, "data.layout")
    return found


def recognize_layout(root: Path) -> Layout | None:
    """Return the built-in layout that a folder is certainly kept in."""
    return next((layout for layout in LAYOUTS.values() if layout.recognize(root)), None)
