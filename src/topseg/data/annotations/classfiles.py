"""One file a class: black and white masks, several for each image.

``masks/IMAGE/CLASS.png``, ``masks/CLASS/IMAGE.png``, or ``masks/IMAGE_CLASS.png`` (also with ``-``
or ``.``), where IMAGE is the stem of an image.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path
from typing import Final

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.binary import GREYS, read_binary
from topseg.data.annotations.files import split_of
from topseg.data.annotations.masked import image_files, in_mask_folder, is_mask_word
from topseg.data.annotations.shapes import Bitmap, crop
from topseg.data.annotations.source import Content, Item, Options, Region, Source, SourceFormat


def open_source(source: Path, options: Options) -> Source:
    """Find the masks of each image.

    Raises:
        InputError: There are none.
    """
    files = image_files(source)
    root = options.images or source
    masks = files
    if options.images is None:
        masks = [path for path in files if in_mask_folder(path, source)]
        pictures = [path for path in files if not in_mask_folder(path, source)]
    else:
        pictures = image_files(options.images)
    images: dict[str, Path] = {}
    problems = []
    for picture in pictures:
        if images.setdefault(picture.stem, picture) != picture:
            problems.append((str(picture), "two images of one stem; masks cannot tell them apart"))
    found: dict[str, dict[str, Path]] = {stem: {} for stem in images}
    for mask in masks:
        stem, name = _parse(mask, images)
        if name is None:
            problems.append((str(mask), "a mask whose name tells no image and class"))
        elif found[stem].setdefault(name, mask) != mask:
            problems.append((str(mask), f"a second mask of {name} for one image"))
    names = sorted({name for own in found.values() for name in own})
    if not names:
        raise InputError(f"{source}: no masks such as masks/IMAGE/CLASS.png ({len(images)} images)")
    numbers = {name: number for number, name in enumerate(names)}

    def item(image: Path, own: dict[str, Path]) -> Item:
        def read_content(size: Size) -> Content:
            return _content({numbers[name]: mask for name, mask in own.items()}, options.nearest)

        name = image.relative_to(root).as_posix()
        return Item(image, name, split_of(image, root), read_content, tuple(own.values()))

    items = tuple(item(images[stem], own) for stem, own in found.items() if own)
    problems += [
        (str(images[stem]), "an image without a mask") for stem, own in found.items() if not own
    ]
    return Source(tuple(names), items, problems=tuple(problems))


def _parse(mask: Path, images: Container[str]) -> tuple[str, str | None]:
    """Return the image's stem and the class that a mask's name tells; None: it does not."""
    folder, stem = mask.parent.name, mask.stem
    if folder in images:
        return folder, stem
    if stem in images:
        return stem, None if is_mask_word(folder) else folder
    for at in reversed([match.start() for match in re.finditer(r"[_.-]", stem)]):
        if stem[:at] in images and stem[at + 1 :]:
            return stem[:at], stem[at + 1 :]
    return stem, None


def _content(masks: dict[int, Path], lossy: bool) -> Content:
    regions = []
    greys = 0
    size: Size | None = None
    for number, path in masks.items():
        white, between = read_binary(path, lossy)
        greys += between
        own = white.shape[0], white.shape[1]
        if size not in (None, own):
            raise InputError(f"{path}: of another size than the other masks of its image")
        size = own
        if white.any():
            patch = crop(white)
            regions.append(Region(number, Bitmap(patch.bits, patch.top, patch.left)))
    left_out = {GREYS: greys} if greys else {}
    return Content(size or (0, 0), tuple(regions), left_out=left_out)


FORMAT: Final = SourceFormat(
    name="classfiles",
    title="one file a class",
    files="`images/`; `masks/IMAGE/CLASS.png`, `masks/CLASS/IMAGE.png` or `masks/IMAGE_CLASS.png`",
    overlap="area",
    notes="white is the class; a grey between counts by halves",
    open=open_source,
)
