"""Each: sources that keep one annotation file for each image.

Every file is read twice: first for its image and its names, so that all names are known before
anything is painted, then, one at a time, for what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.files import Images, split_of
from topseg.data.annotations.source import Content, Item, Options

Read = Callable[[Path, Size, Mapping[str, int]], Content]
"""(annotation file, the image's upright size, number of each name) -> what it shows."""


@dataclass(frozen=True)
class Found:
    """What a folder of annotation files holds.

    Attributes:
        names: Every name, sorted.
        items: An item for each file.
        problems: (file, reason) of those that could not be taken in.
    """

    names: tuple[str, ...]
    items: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...]


def read_each(
    files: Iterable[Path],
    root: Path,
    images: Images,
    options: Options,
    look: Callable[[Path], tuple[Path, set[str]]],
    read: Read,
) -> Found:
    """Read every file for its image and names.

    Args:
        files: The annotation files.
        root: Folder that tells their splits.
        images: Where the images are.
        options: Told the progress.
        look: From a file to its image and names; may raise InputError.
        read: From a file to what it shows, when its turn has come.
    """
    files = list(files)
    names: set[str] = set()
    numbers: dict[str, int] = {}
    items: dict[str, Item] = {}
    problems = []
    for done, path in enumerate(files, 1):
        options.progress(done, len(files))
        try:
            image, own = look(path)
        except InputError as error:
            problems.append((str(path), str(error)))
            continue
        name = images.name(image)
        if name in items:
            problems.append((str(path), f"{name} has labels in another file already"))
            continue
        names |= own

        def read_content(size: Size, path: Path = path) -> Content:
            try:
                return read(path, size, numbers)
            except KeyError:
                raise InputError(f"{path}: changed while it was read; convert again") from None

        items[name] = Item(image, name, split_of(path, root), read_content, (path,))
    numbers.update((name, number) for number, name in enumerate(sorted(names)))
    return Found(tuple(numbers), tuple(items.values()), tuple(problems))
