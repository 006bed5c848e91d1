"""Pascal VOC in its colours, and CVAT's export "Segmentation mask 1.1", which is kept the same way.

The names and colours are VOC's own, or those of CVAT's ``labelmap.txt``. The pale border around
VOC's objects has no class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from topseg.core.errors import InputError
from topseg.core.labels import standard_set
from topseg.data.annotations.colors import ColorLookup, read_palette
from topseg.data.annotations.files import Glimpse, split_of
from topseg.data.annotations.masked import Masked, mask_item
from topseg.data.annotations.source import Options, Source, SourceFormat
from topseg.data.layouts.pairs import files_by_stem, read_list
from topseg.data.layouts.voc import read_entry, split_suffix

_BORDER: Final = (224, 224, 192)
_MASKS: Final = ("SegmentationClass", "SegmentationClassAug")


def recognize(seen: Glimpse) -> bool:
    """Recognize the folder by that of its masks."""
    return (seen.source / _MASKS[0]).is_dir()


def open_source(source: Path, options: Options) -> Source:
    """Find the masks, their images and their splits.

    Raises:
        InputError: A folder is missing or empty.
    """
    folder = options.images or source / "JPEGImages"
    for place in (source / _MASKS[0], folder):
        if not place.is_dir():
            raise InputError(f"{place}: no such folder; name that of the images by --images")
    masks = files_by_stem(source / _MASKS[0])
    if (source / _MASKS[1]).is_dir():
        masks = files_by_stem(source / _MASKS[1]) | masks
    images, splits = files_by_stem(folder), _splits(source)
    pairs, problems = [], []
    for stem, (mask, *_) in sorted(masks.items()):
        if stem not in images:
            problems.append((str(mask), "a mask without an image"))
            continue
        image = images[stem][0]
        name = image.relative_to(folder).as_posix()
        pairs.append(Masked(image, mask, name, splits.get(stem, "train")))
    labelmap = options.palette or source / "labelmap.txt"
    labels = read_palette(labelmap) if labelmap.is_file() else standard_set("voc")[0]
    void = () if _BORDER in labels.palette else (_BORDER,)
    lookup = ColorLookup(labels, options.nearest, void)
    return Source(
        labels.names,
        tuple(mask_item(pair, lookup.read) for pair in pairs),
        palette=labels.palette,
        problems=tuple(problems),
    )


def _splits(source: Path) -> dict[str, str]:
    """Return the split of each stem that a list names; one for both comes after the others."""
    folder = source / "ImageSets" / "Segmentation"
    lists = sorted(folder.glob("*.txt"), key=lambda path: (path.stem == "trainval", path.name))
    found: dict[str, str] = {}
    for path in lists:
        for _, columns in read_list(path):
            found.setdefault(split_suffix(read_entry(columns))[0], split_of(path, folder))
    return found


FORMAT: Final = SourceFormat(
    name="voc",
    title="Pascal VOC, CVAT segmentation mask 1.1",
    files="`JPEGImages/`, `SegmentationClass/` in colours or palette, `ImageSets/Segmentation/`; "
    "CVAT's `labelmap.txt`",
    rest="ignore",
    notes="the pale border has no class; other colours as for `colors`",
    recognize=recognize,
    open=open_source,
)
