"""The Core ML graph, which any machine can write, and its engine, which only Apple's have."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.metadata import Graph
from topseg.core.errors import InputError
from topseg.exporting.run import export
from topseg.inference.hub import load
from topseg.runtimes.registry import open_runtime

SIZE = (64, 96)


@pytest.fixture(scope="module")
def written(trained: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("coremltools")
    out = tmp_path_factory.mktemp("coreml") / "bundle"
    images = [np.zeros((*SIZE, 3), np.uint8)]
    lines: list[str] = []
    export(trained, out, ["coreml"], images=images, size=SIZE, report=lines.append)
    assert len(lines) == 1
    return read_bundle(out)


def test_every_file_of_the_package_is_in_the_metadata(written: Bundle) -> None:
    assert written.metadata.graphs["coreml"].fixed_size == SIZE
    assert {
        "model.mlpackage/Manifest.json",
        "model.mlpackage/Data/com.apple.CoreML/model.mlmodel",
        "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
    } <= set(written.metadata.files)


@pytest.mark.filterwarnings("ignore")  # of coremltools' own imports
def test_specification_takes_a_picture_and_gives_logits(written: Bundle) -> None:
    import coremltools

    path = str(written.folder / "model.mlpackage")
    model = coremltools.models.MLModel(path, skip_model_load=True)
    (taken,), (given,) = model.get_spec().description.input, model.get_spec().description.output
    picture = taken.type.imageType
    assert (taken.name, picture.height, picture.width) == ("image", *SIZE)
    assert picture.colorSpace == picture.ColorSpace.Value("RGB")
    assert given.name == "logits"
    assert list(given.type.multiArrayType.shape) == [1, 150, 8, 12]


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here")
def test_elsewhere_it_is_said_and_torch_is_taken(written: Bundle) -> None:
    assert written.metadata.graphs["coreml"].proof is None
    with pytest.raises(InputError, match="runs on macOS only"):
        open_runtime(written, "coreml")
    assert load(written.folder).runtime.engine == "torch"


def test_half_precision_is_refused(trained: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    images = [np.zeros((*SIZE, 3), np.uint8)]
    with pytest.raises(InputError, match="coreml: got precision fp16, expected fp32"):
        export(trained, tmp_path / "b", ["coreml"], images=images, size=SIZE, precision="fp16")
    assert not list(tmp_path.iterdir())


def test_pictures_go_through_one_by_one(trained: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stand-in for the engine: what it is asked, and what becomes of its answers."""
    import dataclasses

    asked: list[Image.Image] = []

    class Model:
        def __init__(self, path: str, compute_units: str) -> None:
            assert (Path(path).name, compute_units) == ("model.mlpackage", "cpu only")

        def predict(self, given: dict[str, Image.Image]) -> dict[str, Any]:
            asked.append(given["image"])
            return {"logits": np.full((1, 150, 8, 12), len(asked), np.float64)}

    fake = SimpleNamespace(
        models=SimpleNamespace(MLModel=Model), ComputeUnit=SimpleNamespace(CPU_ONLY="cpu only")
    )
    monkeypatch.setitem(sys.modules, "coremltools", fake)
    monkeypatch.setattr(sys, "platform", "darwin")
    graph = Graph(file="model.mlpackage", fixed_size=SIZE)
    metadata = dataclasses.replace(trained.metadata, graphs={"coreml": graph})
    runtime = open_runtime(Bundle(trained.folder, metadata), "coreml")
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    logits = runtime(images)
    assert logits.dtype == np.float32
    assert logits[:, 0, 0, 0].tolist() == [1, 2]
    np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in asked]), images)
    with pytest.raises(InputError, match="takes only 64x96"):
        runtime(images[:, :32, :32])
    with pytest.raises(InputError, match="has only 'cpu'"):
        open_runtime(Bundle(trained.folder, metadata), "coreml", device="cuda")
