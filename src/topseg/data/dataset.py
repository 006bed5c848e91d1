"""Dataset: pairs of image and mask files, read one at a time.

A layout (one file each beside this one) knows where a data set keeps its files and what its raw
mask values mean; everything after that is the same for all of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from topseg.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and masks, and what the masks' numbers mean."""

    layout: Literal["folder", "list", "ade20k", "cityscapes", "voc", "camvid"] = "folder"
    """How the files are kept: 'folder' (images/ and masks/ by stem, split sub-folders optional),
    'list' (files with an 'image mask' pair a line), or a published data set's own folders."""
    root: str = "."
    """Folder of the data set."""
    train: str | tuple[str, ...] | None = None
    """Training split: the layout's split name, a sub-folder, or list files; null: the layout's."""
    val: str | tuple[str, ...] | None = None
    """Validation split, as ``train``."""
    classes: str | tuple[str, ...] | None = None
    """Class names in order, or a published set: ade20k, camvid, cityscapes, voc; null: the
    layout's own."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """One [red, green, blue] a class; null: distinct colours by rule."""
    ignore_index: int | None = 255
    """Raw mask value that stands for 'no class'; null: there is none."""
    label_map: dict[int, int | Literal["ignore"]] | None = None
    """Raw mask value -> class index or 'ignore'; null: the layout's (or values as they are)."""
    masks: Literal["index", "color"] = "index"
    """Masks hold indices (grey or palette PNG), or RGB colours of the palette."""
    nearest_color: bool = False
    """Give a colour that is not in the palette to the nearest class instead of refusing it."""
