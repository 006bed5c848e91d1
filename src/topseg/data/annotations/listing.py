"""Listing: sources whose annotation files list many images each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from topseg.core.errors import InputError
from topseg.core.geometry import Size
from topseg.data.annotations.files import Images
from topseg.data.annotations.source import Content, Item


class Listing:
    """The items of a source, one for each image.

    Attributes:
        images: Where the images are.
        problems: (file, reason) of what could not be taken in.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self.problems: list[tuple[str, str]] = []
        self._items: dict[str, Item] = {}

    @property
    def items(self) -> tuple[Item, ...]:
        """The items, in the order in which they were added."""
        return tuple(self._items.values())

    def find(self, name: str, file: Path) -> Path | None:
        """Find an image that has no item yet; else note the problem and return None.

        Args:
            name: As the annotation has it.
            file: The annotation file.
        """
        try:
            image = self.images.find(name, file)
        except InputError as error:
            self.problems.append((f"{file}: {name}", str(error)))
            return None
        if (known := self.images.name(image)) in self._items:
            self.problems.append((f"{file}: {known}", "an image that is listed twice"))
            return None
        return image

    def add(self, image: Path, split: str, read: Callable[[Size], Content], *files: Path) -> None:
        """Add the item of an image that was found.

        Args:
            image: The image.
            split: "train", "val" or "test".
            read: From the upright image's (height, width) to what the image shows.
            files: The files that decide the labels.
        """
        name = self.images.name(image)
        self._items[name] = Item(image, name, split, read, files)
