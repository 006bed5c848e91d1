"""Labels: a source to fill with pictures and labels, and what a conversion makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import yaml
from numpy.typing import NDArray

from topseg.core.labels import LabelSet
from topseg.data.annotations.converting import convert_data
from topseg.data.annotations.source import Options
from topseg.data.annotations.summary import Summary
from topseg.data.masks import MaskReader


class Labels:
    """A source in ``src``, and the data set in ``out``."""

    def __init__(self, folder: Path) -> None:
        self.root, self.out = folder / "src", folder / "out"
        self.root.mkdir()
        self.said: list[str] = []

    def picture(self, name: str, size: tuple[int, int] = (60, 80), **more: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path, **more)
        return path

    def mask(self, name: str, pixels: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        return path

    def text(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def json(self, name: str, value: Any) -> Path:
        return self.text(name, json.dumps(value))

    def convert(self, source: str = "", **more: Any) -> Summary:
        keys = ("images", "palette", "nearest")
        options = Options(**{key: more.pop(key) for key in keys if key in more})
        self.said = []
        report = self.said.append
        return convert_data(
            self.root / source, self.out, options=options, report=report, workers=1, **more
        )

    @property
    def classes(self) -> list[str]:
        names: list[str] = yaml.safe_load((self.out / "dataset.yaml").read_text())["classes"]
        return names

    def read(self, name: str) -> NDArray[Any]:
        """Read a mask that was made, in classes."""
        labels = LabelSet(tuple(self.classes), ((0, 0, 0),) * len(self.classes))
        return MaskReader(labels)(self.out / "masks" / name)
