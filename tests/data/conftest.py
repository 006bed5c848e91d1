"""Small files of data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest


class Tree:
    """A folder to fill with images and masks."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def image(self, *names: str, size: tuple[int, int] = (4, 6), value: int = 9) -> None:
        for name in names:
            self.array(name, np.full((*size, 3), value, np.uint8))

    def mask(self, *names: str, values: Any = 0, size: tuple[int, int] = (4, 6)) -> None:
        for name in names:
            self.array(name, np.broadcast_to(np.asarray(values, np.uint8), size))

    def array(self, name: str, pixels: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        return path

    def text(self, name: str, *lines: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)
