"""What is ncnn's own: weights in a second file, stored as float16 on request."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.exporting.run import export
from topseg.runtimes.registry import open_runtime

pytest.importorskip("ncnn")
pytest.importorskip("pnnx")

SIZE = (64, 96)


@pytest.fixture(scope="module")
def half(trained: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("ncnn") / "half"
    images = [np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)]
    more = {"images": images, "size": SIZE, "precision": "fp16", "report": lambda line: None}
    return export(trained, out, ["ncnn"], **more)


def test_filters_are_stored_in_half(half: Bundle, trained: Bundle) -> None:
    weights = half.folder / "model.ncnn.bin"
    assert weights.name in half.metadata.files
    assert weights.stat().st_size < 0.6 * trained.weights.stat().st_size
    assert half.metadata.graphs["ncnn"].precision == "fp16"


@pytest.mark.parametrize("keep", [0, 1000, None])
def test_damaged_weights_are_refused(half: Bundle, tmp_path: Path, keep: int | None) -> None:
    shutil.copytree(half.folder, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.ncnn.bin"
    content = weights.read_bytes()
    weights.unlink()
    if keep is not None:
        weights.write_bytes(content[:keep])
    with pytest.raises(InputError, match=r"model.ncnn.bin: ncnn cannot load it"):
        open_runtime(Bundle(tmp_path / "copy", half.metadata), "ncnn")
