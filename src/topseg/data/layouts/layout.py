"""Layout: the record by which the rest of topseg knows how a data set lies on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from topseg.core.labels import LabelMap, LabelSet
from topseg.data.layouts.pairs import Pairs

Split = Literal["train", "val"]


def same_name(root: Path, split: Split) -> str:
    """Return the split itself: the files call it as the recipe does."""
    return split


def no_folder(root: Path) -> bool:
    """Recognize nothing: any folder might be one."""
    return False


@dataclass(frozen=True)
class Names:
    """A data set's own names, where its layout lets the data section give them."""

    images: str | None = None
    """Folder of the images."""
    masks: str | None = None
    """Folder of the masks."""
    suffix: str = ""
    """What a mask's name has after the image's stem."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """How the files of a data set are kept, and what the raw values of its masks mean.

    Another package adds a layout by an entry point of the group ``topseg.layouts`` that is such a
    record.
    """

    name: str
    """What ``data.layout`` calls it."""
    help: str
    """One line: which folders and files it expects."""
    find_pairs: Callable[[Path, tuple[str, ...], Split], Pairs]
    """(root, names of one or more splits, whether they serve as train or val) -> the pairs of all
    of them, whether the files exist or not; raise InputError where a folder or list is missing."""
    default_split: Callable[[Path, Split], str] = same_name
    """(root, "train" or "val") -> the split that is taken where the recipe names none."""
    labels: Callable[[], tuple[LabelSet, LabelMap | None]] | None = None
    """() -> its classes, and raw value -> class (None: values as they are); None: the recipe or
    classes.txt names them."""
    recognize: Callable[[Path], bool] = no_folder
    """Whether a folder is certainly kept so."""
    image_names: str | None = None
    """Regular expression of its images' stems, by which they are known in other folders."""
    with_names: Callable[[Names], Layout] | None = None
    """Return the layout with a data set's own names; None: its names are fixed."""
