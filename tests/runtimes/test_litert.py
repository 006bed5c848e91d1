"""The LiteRT engine on a graph of a few bytes, where no converter is needed."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Architecture, Graph, Metadata
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.core.labels import default_palette
from topseg.runtimes.registry import open_runtime

pytest.importorskip("ai_edge_litert")

BLOCKS = Path(__file__).parents[1] / "golden" / "blocks.tflite"
SIZE = (64, 96)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A network whose logits are the mean colour of each block; see golden/make_blocks.py."""
    folder = tmp_path / "blocks"
    folder.mkdir()
    (folder / WEIGHTS).touch()
    shutil.copy(BLOCKS, folder)
    metadata = Metadata(
        architecture=Architecture(name="blocks", num_classes=3, in_channels=3),
        classes=("red", "green", "blue"),
        palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        resize=ResizeRule(short_side=None, multiple=32),
        graphs={"litert": Graph(file=BLOCKS.name, fixed_size=SIZE)},
    )
    return write_metadata(folder, metadata)


def draw(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def means(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, height // 8, 8, width // 8, 8, channels)
    return blocks.mean(axis=(2, 4)).transpose(0, 3, 1, 2)


def test_batch_goes_through_one_by_one(bundle: Bundle) -> None:
    runtime = open_runtime(bundle)
    assert runtime.fixed_size == SIZE
    images = draw(3, *SIZE, 3)
    logits = runtime(images)
    assert logits.dtype == np.float32
    assert logits.flags.c_contiguous
    np.testing.assert_allclose(logits, means(images), rtol=1e-5)
    kept = logits.copy()
    runtime(draw(1, *SIZE, 3, seed=1))
    np.testing.assert_array_equal(logits, kept)


def test_any_memory_will_do(bundle: Bundle) -> None:
    runtime = open_runtime(bundle)
    turned = draw(2, *SIZE, 3)[:, ::-1, ::-1]
    turned.setflags(write=False)
    np.testing.assert_allclose(runtime(turned), means(turned.copy()), rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (draw(1, 96, 64, 3), "got 96x64 .* takes only 64x96"),
        (draw(1, *SIZE, 4), r"\(1, 64, 96, 4\), expected"),
        (draw(0, *SIZE, 3), r"\(0, 64, 96, 3\), expected"),
        (draw(1, *SIZE, 3).astype(np.float32), "got float32 values, expected uint8"),
    ],
)
def test_what_it_cannot_take_is_refused(bundle: Bundle, images: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_runtime(bundle)(images)


def test_threads_reach_the_engine(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from topseg.runtimes import litert

    asked: list[int | None] = []
    real = litert.Interpreter

    def spy(path: str, num_threads: int | None) -> object:
        asked.append(num_threads)
        return real(path, num_threads=num_threads)

    monkeypatch.setattr(litert, "Interpreter", spy)
    open_runtime(bundle, "litert", threads=2)
    open_runtime(bundle, "litert")
    assert asked == [2, None]


def test_another_models_graph_is_refused(bundle: Bundle) -> None:
    model = dataclasses.replace(bundle.metadata.architecture, num_classes=4)
    metadata = dataclasses.replace(
        bundle.metadata, architecture=model, classes=tuple("abcd"), palette=default_palette(4)
    )
    other = Bundle(bundle.folder, metadata)
    with pytest.raises(InputError, match=r"classes: the graph has 3, the metadata 4"):
        open_runtime(other)


def test_damaged_graph_and_other_devices_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="device cuda: the litert runtime has only 'cpu'"):
        open_runtime(bundle, "litert", device="cuda")
    (bundle.folder / BLOCKS.name).write_bytes(BLOCKS.read_bytes()[:100])
    with pytest.raises(InputError, match=r"blocks.tflite: LiteRT cannot load it"):
        open_runtime(bundle)


def test_it_needs_neither_torch_nor_the_converter(bundle: Bundle) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, litert_torch=None, onnxruntime=None)\n"
        "import numpy, topseg\n"
        f"predictor = topseg.load({str(bundle.folder)!r}, runtime='litert')\n"
        "print(*predictor(numpy.full((50, 70, 3), (9, 200, 7), numpy.uint8)).mask.mean(axis=1))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1.0"] * 50
