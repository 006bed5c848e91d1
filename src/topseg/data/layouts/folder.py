"""Folder: images/ and masks/ side by side, paired by stem.

The split may be a sub-folder of each (``images/train``, ``masks/train``), a folder around both
(``train/images``, ``train/masks``), or a list file with one image per line; without any of these
all images are the training split, and the validation split has to be named. Other usual names are
taken as well (labels or annotations for masks, valid or validation for val), and the data section
may name its own: ``images_dir``, ``masks_dir`` (both "." where all files lie together; with
``<split>`` in them where folders are called train_masks and val_masks) and ``mask_suffix``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.storage import is_dir, subfolders
from topseg.data.errors import DataError, NoValError
from topseg.data.layouts.guess import guess_names
from topseg.data.layouts.layout import Layout, Names, Split
from topseg.data.layouts.pairs import SUFFIXES, Pairs, join, pair_folders, read_list

_IMAGES = ("images", "image", "imgs", "img")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation")
_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
"""Usual names; the first is the one that texts recommend."""
_SPLIT = "<split>"
"""What stands for a split's name where a data set's own names have it, as in <split>_masks."""
_WHOLE = "."
"""Name of the split that is the whole folder."""


@dataclass(frozen=True)
class Folder:
    """A way to name the files: the usual one, or a data set's own.

    Attributes:
        names: What the data section names.
    """

    names: Names

    def layout(self) -> Layout:
        """Return the record."""
        return Layout(
            name="folder",
            help="images/ and masks/ by stem, with sub-folders train/ and val/ if there are splits",
            find_pairs=self.find_pairs,
            default_split=self.default_split,
            with_names=lambda names: Folder(names).layout(),
        )

    def find_pairs(self, root: Path, names: tuple[str, ...], split: Split) -> Pairs:
        """Find the pairs of some splits, below their sub-folders or by their lists."""
        try:
            return join(self._part(root, name, split) for name in names)
        except InputError as error:
            found = () if any(vars(self.names).values()) else guess_names(root)
            found = found or self._inner_root(root)
            if not found or isinstance(error, DataError):
                raise
            raise DataError(str(error), *found) from None

    def default_split(self, root: Path, split: Split) -> str:
        """Return the sub-folder of a split; without one, the whole folder."""
        return _WHOLE if self._folders(root, split) is None else split

    def _part(self, root: Path, name: str, split: Split) -> Pairs:
        if name == _WHOLE:
            return self._whole(root, split)
        if name.endswith(".txt"):
            return self._listed(root, root / name)
        folders = self._folders(root, name)
        if folders is None:
            raise InputError(
                f"{root}: no split '{name}' (data.{split}): expected images/{name} and "
                f"masks/{name}, or {name}/images and {name}/masks, or a list file"
                f"{self._found(root)}"
            )
        return self._pair(*folders, root)

    def _folders(self, root: Path, name: str) -> tuple[Path, Path] | None:
        places = [
            pair
            for split in _SPLITS.get(name, (name,))
            for pair in zip(
                _places(root, split, self.names.images, _IMAGES),
                _places(root, split, self.names.masks, _MASKS),
                strict=True,
            )
        ]
        return next((pair for pair in places if is_dir(pair[0])), None)

    def _images(self, folder: Path) -> Path:
        """Return the folder of the images, by its own or whichever usual name it has."""
        return _first(folder, _names(self.names.images, _IMAGES))

    def _masks(self, folder: Path) -> Path:
        """Return the folder of the masks, by its own or whichever usual name it has."""
        return _first(folder, _names(self.names.masks, _MASKS))

    def _pair(self, images: Path, masks: Path, root: Path) -> Pairs:
        """Pair two folders, which may be one, by stem and by what a mask's name has after it."""
        suffix = self.names.suffix
        end, dot, extension = suffix.rpartition(".")
        whole = bool(dot) and f".{extension}".lower() in SUFFIXES
        added = end if whole else suffix

        def is_mask(path: Path) -> bool:
            return path.name.endswith(suffix) if whole else path.stem.endswith(suffix)

        if images.resolve() == masks.resolve() and not suffix:
            raise InputError(
                f"{images}: images and masks lie in one folder; say by data.mask_suffix what a "
                "mask's name has after the image's, such as _mask or .png"
            )
        return pair_folders(images, masks, root, lambda stem: f"{stem}{added}", is_mask)

    def _whole(self, root: Path, split: Split) -> Pairs:
        """All images of a folder without splits; it is the training split."""
        parted = split != "train" and self._folders(root, "train") is not None
        if not parted and not is_dir(self._images(root)):
            raise InputError(
                f"{root}: expected images/ and masks/ here (or train/images, train/masks, "
                f"val/images ...); is data.root right?{self._found(root)}"
            )
        if split != "train" or self._folders(root, "val") is not None:
            what = (
                f"{root}: no {split} split; make images/{split} and masks/{split}, or list its "
                f"images one per line in a file {split}.txt and name that, or take a share of the "
                f"training images{self._found(root)}"
            )
            raise NoValError(what, "val=0.2") if split == "val" else DataError(what)
        return self._pair(self._images(root), self._masks(root), root)

    def _listed(self, root: Path, path: Path) -> Pairs:
        """The images that a list names (file name or stem below images/), with their masks."""
        images = self._images(root)
        prefix = f"{images.name}/"
        whole = self._pair(images, self._masks(root), root)
        known = {pair.name.removeprefix(prefix): pair for pair in whole.pairs}
        known |= {Path(name).with_suffix("").as_posix(): pair for name, pair in known.items()}
        chosen = []
        for number, columns in read_list(path):
            names = " ".join(columns), columns[0]  # a name may have spaces, or a mask's behind it
            found = [name for one in names if (name := one.removeprefix(prefix)) in known]
            if not found:
                raise InputError(f"{path}: line {number}: no image '{names[0]}' in {images}")
            chosen.append(known[found[0]])
        return Pairs(tuple(chosen))

    def _inner_root(self, root: Path) -> tuple[str, ...]:
        """Return the setting of a root that is the only folder inside, as archives have it."""
        names = subfolders(root) if is_dir(root) else []
        if len(names) != 1:
            return ()
        inner = root / names[0]
        places = (self._images(inner), self._images(inner / "train"))
        return (f"root={inner}",) if any(map(is_dir, places)) else ()

    def _found(self, root: Path) -> str:
        folder = self._images(root) if is_dir(self._images(root)) else root
        names = subfolders(folder) if is_dir(folder) else []
        return f"; sub-folders of {folder.name}: {', '.join(names[:8])}" if names else ""


def _places(root: Path, split: str, own: str | None, usual: tuple[str, ...]) -> tuple[Path, Path]:
    """Return where one kind of files of a split may lie: split inside kind, or kind inside split.

    A data set's own name may hold the split's.
    """
    if own is not None and _SPLIT in own:
        place = root / own.replace(_SPLIT, split)
        return place, place
    names = _names(own, usual)
    return _first(root, names) / split, _first(root / split, names)


def _names(own: str | None, usual: tuple[str, ...]) -> tuple[str, ...]:
    return usual if own is None else (own,)


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first sub-folder that is there, or else what the first would be."""
    return next((folder / name for name in names if is_dir(folder / name)), folder / names[0])


LAYOUT = Folder(Names()).layout()
