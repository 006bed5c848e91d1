"""Guess: which names a folder uses for its images and masks, seen from the files themselves.

Nothing is taken for granted: a guess becomes a setting that is printed, and whoever pastes it has
seen it.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Final

from topseg.core.errors import InputError
from topseg.core.storage import is_dir, read_bytes, walk
from topseg.data.layouts.pairs import SUFFIXES

_MOST_FILES: Final = 20_000
"""Files that are looked at."""
_MOST_FOLDERS: Final = 12
_SPLITS: Final = "training|train|validation|valid|val|test"
_BEFORE: Final = re.compile(rf"({_SPLITS})(?=$|[-_ ]|annot|image|img|label|mask)")
_AFTER: Final = re.compile(rf"(?<=[-_ ])({_SPLITS})$")
_PALETTE_OR_GREY: Final = ("1", "L", "P", "LA", "I", "I;16", "I;16B")
_LOSSY: Final = (".jpg", ".jpeg", ".jpe", ".jfif")


def guess_names(root: Path) -> tuple[str, ...]:
    """Guess the settings ``images_dir``, ``masks_dir`` and ``mask_suffix`` of a folder.

    Args:
        root: The data set.

    Returns:
        ``key=value`` of each that is not as usual; nothing where no names fit.
    """
    folders = _folders(root)
    together = ((name, name, _suffix_within(files)) for name, files in folders.items())
    apart = (
        (images, masks, _suffix_between(folders[images], folders[masks]))
        for images, masks in itertools.permutations(folders, 2)
    )
    for images, masks, suffix in itertools.chain(together, apart):
        if suffix is None or (images != masks and not _is_mask(folders[masks][0])):
            continue
        if images != masks and _is_mask(folders[images][0]) and images > masks:
            continue  # both may be: by name
        settings = {"images_dir": images, "masks_dir": masks, "mask_suffix": suffix}
        usual = {"images_dir": "images", "masks_dir": "masks", "mask_suffix": ""}
        return tuple(f"{key}={value}" for key, value in settings.items() if value != usual[key])
    return ()


def _folders(root: Path) -> dict[str, list[Path]]:
    """Return the image files of each folder, by its name in the root or in a split's folder.

    ``train/a`` and ``a/train`` are both ``a``, ``train_a`` is ``<split>_a``; the root, and a
    split's folder, are ".".
    """
    found: dict[str, list[Path]] = {}
    if not is_dir(root):
        return found
    files = itertools.islice(walk(root, lambda problem: None), _MOST_FILES)
    for path in sorted(path for path in files if path.suffix.lower() in SUFFIXES):
        parts = [_of_any_split(part) for part in path.relative_to(root).parent.parts]
        parts = [part for part in parts if part != "<split>"]
        if len(parts) < 2:
            found.setdefault(parts[0] if parts else ".", []).append(path)
    return dict(itertools.islice(found.items(), _MOST_FOLDERS))


def _of_any_split(name: str) -> str:
    """Return a folder's name with ``<split>`` for a split's that it begins or ends with."""
    found = _BEFORE.match(name) or _AFTER.search(name)
    return name if found is None else f"{name[: found.start()]}<split>{name[found.end() :]}"


def _suffix_within(files: list[Path]) -> str | None:
    """Return what masks have after their images' stems, where both lie in one folder."""
    stems = sorted({path.stem for path in files})
    rests = Counter(
        longer[len(stem) :]
        for stem, follower in itertools.pairwise(stems)
        for longer in [follower]
        if longer.startswith(stem)
    )
    if rests:
        suffix, count = rests.most_common(1)[0]
        if 2 * count >= len(stems) - 1 and not suffix.isdigit():
            return suffix
    endings = {ending: {p.stem for p in files if p.suffix == ending} for ending in _endings(files)}
    for images, masks in itertools.permutations(endings, 2):
        if images.lower() in _LOSSY and masks.lower() not in _LOSSY:
            common = endings[images] & endings[masks]
            if 2 * len(common) >= len(endings[images]):
                return masks
    return None


def _endings(files: list[Path]) -> list[str]:
    return sorted({path.suffix for path in files})


def _suffix_between(images: list[Path], masks: list[Path]) -> str | None:
    """Return what masks have after their images' stems, where they lie in two folders."""
    stems = {path.stem for path in images}
    masks_stems = {path.stem for path in masks}
    if 2 * len(stems & masks_stems) >= len(stems):
        return ""
    first = min(stems)
    rests = {stem.removeprefix(first) for stem in masks_stems if stem.startswith(first)}
    for rest in sorted(rests, key=len):
        if 2 * len({f"{stem}{rest}" for stem in stems} & masks_stems) >= len(stems):
            return rest
    return None


def _is_mask(path: Path) -> bool:
    """Whether a file may be a mask of indices: grey or palette, and not lossy."""
    import PIL.Image

    if path.suffix.lower() in _LOSSY:
        return False
    try:
        with PIL.Image.open(io.BytesIO(read_bytes(path))) as file:
            return file.mode in _PALETTE_OR_GREY
    except (InputError, OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return path.suffix.lower() == ".npy"
