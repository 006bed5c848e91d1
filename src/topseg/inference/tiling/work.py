"""Work: what is done of a mask, kept on disk, so that a run that was stopped goes on."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from topseg.core.files import atomic_path, short_name, write_bytes, write_text
from topseg.core.labels import LabelSet, Mask
from topseg.inference.tta import Logits


class Work:
    """What is done of a mask, in a hidden folder beside it: strips, and the band below them."""

    def __init__(self, target: Path, job: dict[str, Any], labels: LabelSet, width: int) -> None:
        """Open the folder; one of another job (another image, model, engine or tile) is cleared."""
        self.folder = target.parent / f".{short_name(target.name)}.part"
        self.shape, self.dtype = (-1, width), labels.dtype
        self._scene = self.folder / "scene.npy"
        note, text = self.folder / "job.json", json.dumps(job, indent=2, sort_keys=True)
        if not note.is_file() or note.read_text(encoding="utf-8") != text:
            self.clear()
            write_text(note, text)
        self.done = 0
        while self._strip(self.done).is_file():
            self.done += 1

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def band(self) -> Logits | None:
        """Return the logits below the strips done, where there are any."""
        return np.load(self._band(self.done)) if self.done else None

    def scene(self) -> Logits | None:
        """Return what the transformer made of the whole image's tokens, where it has been kept."""
        return np.load(self._scene) if self._scene.is_file() else None

    def save_scene(self, scene: Logits) -> None:
        """Keep it."""
        _save(self._scene, scene)

    def save(self, strip: Mask, band: Logits) -> None:
        """Keep the next strip and the band below it; it counts as done when the strip is there."""
        _save(self._band(self.done + 1), band)
        write_bytes(self._strip(self.done), zlib.compress(strip.tobytes(), 1))
        self._band(self.done).unlink(missing_ok=True)
        self.done += 1

    def strips(self) -> Iterator[Mask]:
        """Return the strips done, from the top."""
        for index in range(self.done):
            data = zlib.decompress(self._strip(index).read_bytes())
            yield np.frombuffer(data, self.dtype).reshape(self.shape)

    def _strip(self, index: int) -> Path:
        return self.folder / f"strip_{index:06d}.z"

    def _band(self, index: int) -> Path:
        return self.folder / f"band_{index:06d}.npy"


def _save(path: Path, values: Logits) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
