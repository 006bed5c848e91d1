"""Data section: where the images and masks are, and what the masks' numbers mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT
from topseg.core.paths import LocalPath
from topseg.core.ranges import Byte
from topseg.data.layouts import LayoutName

RawValue = Annotated[int, Field(ge=0, le=65535)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataConfig:
    """The images and masks, and what the masks' numbers mean."""

    layout: LayoutName = "folder"
    """How the files are kept, by one of these names:"""
    root: LocalPath = "."
    """Folder of the data set, or a ZIP or TAR of it."""
    train: str | tuple[str, ...] | None = None
    """Training split: the layout's split name, a sub-folder, or list files; null: the layout's."""
    val: Annotated[float, Field(gt=0, lt=1)] | str | tuple[str, ...] | None = None
    """Validation split, as ``train``; or a share of the training split, such as 0.2, which is taken
    out of it: always the same images, whole sequences where the names show them."""
    group: str | None = None
    """Regular expression that is found in every image's name: images for which it finds the same
    (its groups in parentheses, or all of it) stay together where ``val`` is a share, and are told
    by check where they are in both splits; null: the sequences that names show."""
    stratify: bool = False
    """Divide every class by the share that ``val`` is; the masks are read once for that."""
    images_dir: str | None = None
    """Folder of the images, below the root or below each split's folder (layout folder alone);
    ".": the root itself; with <split> where the folders are called train_images and val_images;
    null: images, or another usual name."""
    masks_dir: str | None = None
    """Folder of the masks, as ``images_dir``; null: masks, or another usual name."""
    mask_suffix: str = ""
    """What a mask's name has after the image's stem (layout folder alone), such as _mask, or with
    the ending, as .png or _mask.png, where images and masks lie in one folder."""
    classes: str | tuple[str, ...] | None = None
    """Class names in order, a file below the root with one name per line, or a published set:
    ade20k, camvid, cityscapes, voc; null: labelmap.txt in the root (CVAT's), the layout's own, or
    classes.txt in the root."""
    palette: tuple[tuple[Byte, Byte, Byte], ...] | None = None
    """One [red, green, blue] per class; null: distinct colours by rule."""
    ignore_index: RawValue | tuple[RawValue, ...] | None = 255
    """Raw mask value that stands for 'no class', or a list of them (above 255 classes 255 means
    65535 here); null: there is none."""
    label_map: dict[RawValue, int | Literal["ignore"]] | None = None
    """Raw mask value -> class index or 'ignore', complete; where it names ignored values alone, the
    others stay as they are; null: the layout's (or values as they are)."""
    masks: Literal["index", "color"] | None = None
    """Masks hold indices (grey or palette PNG), or RGB colours of the palette; null: colours where
    the classes come from a labelmap.txt of CVAT, indices everywhere else."""
    ignore_colors: tuple[tuple[Byte, Byte, Byte], ...] = ()
    """Colours of pixels without a class, where masks hold colours."""
    nearest_color: bool = False
    """Assign a colour that is not in the palette to the nearest class instead of stopping."""
