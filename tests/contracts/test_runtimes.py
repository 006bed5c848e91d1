"""What every runtime promises, whichever engine is behind it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from golden.fill import golden_model
from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Graph
from topseg.core.errors import InputError
from topseg.models.normalize import Normalize
from topseg.runtimes import registry
from topseg.runtimes.base import Runtime
from topseg.runtimes.registry import ENGINES, Engine, find_engine, open_runtime

WEIGHTS_ALONE = ["native", "torch"]
WITHOUT_NATIVE = {name: engine for name, engine in ENGINES.items() if name != "native"}
FREE = ["onnx", "openvino", "mnn", *WEIGHTS_ALONE]
SIZES = [(64, 64), (32, 96), (128, 160)]
Expected = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def expected(trained: Bundle) -> Expected:
    """The logits by the definition: the network on normalised values."""
    model, normalize = golden_model("topformer_tiny", "adaptive"), Normalize(trained.metadata.input)

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(normalize(torch.tensor(images))).numpy()
            return logits

    return run


@pytest.fixture(scope="module", params=FREE)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    name = request.param
    bundle = request.getfixturevalue("trained" if name in WEIGHTS_ALONE else "exported")
    if not find_engine(name).takes(bundle):
        pytest.skip(f"{name} is not installed")
    return open_runtime(bundle, name, device="cpu", threads=1)


def draw(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_logits_are_those_of_the_network(
    runtime: Runtime, expected: Expected, height: int, width: int
) -> None:
    images = draw(2, height, width, 3)
    before = images.copy()
    logits = runtime(images)
    assert logits.dtype == np.float32
    assert logits.shape == (2, 150, height // 8, width // 8)
    assert logits.flags.c_contiguous
    np.testing.assert_allclose(logits, expected(images), atol=1e-4)
    np.testing.assert_array_equal(images, before)


def test_an_image_does_not_depend_on_its_batch(runtime: Runtime) -> None:
    images = draw(3, 64, 96, 3)
    together = runtime(images)
    alone = np.concatenate([runtime(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_results_outlive_the_next_call(runtime: Runtime) -> None:
    first = runtime(draw(1, 64, 64, 3))
    kept = first.copy()
    runtime(draw(1, 64, 64, 3, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_any_memory_will_do(runtime: Runtime, expected: Expected) -> None:
    turned = draw(1, 64, 96, 3)[:, ::-1, ::-1]
    np.testing.assert_allclose(runtime(turned), expected(turned.copy()), atol=1e-4)
    frozen = draw(1, 64, 64, 3)
    frozen.setflags(write=False)
    np.testing.assert_allclose(runtime(frozen), expected(frozen), atol=1e-4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (draw(1, 64, 100, 3), "64x100 .* expected multiples of 32"),
        (draw(1, 64, 64, 4), r"\(1, 64, 64, 4\), expected \(batch, height, width, 3\)"),
        (draw(64, 64, 3), r"\(64, 64, 3\), expected \(batch, height, width, 3\)"),
        (draw(0, 64, 64, 3), r"\(0, 64, 64, 3\), expected"),
        (draw(1, 64, 64, 3).astype(np.uint16), "got uint16 values, expected uint8"),
    ],
)
def test_what_it_cannot_take_is_refused(
    runtime: Runtime, images: NDArray[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        runtime(images)


def test_auto_takes_torch_where_there_is_no_graph(
    trained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ENGINES", WITHOUT_NATIVE)
    assert open_runtime(trained).engine == "torch"


def test_auto_takes_onnx_before_openvino(trained: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(registry, "ENGINES", WITHOUT_NATIVE)
    monkeypatch.setattr(Engine, "open", lambda engine, *_, **__: opened.append(engine.name))
    for names in (["openvino", "onnx"], ["openvino"]):
        graphs = {name: Graph(file="graph") for name in names}
        metadata = dataclasses.replace(trained.metadata, graphs=graphs)
        open_runtime(Bundle(trained.folder, metadata))
    assert opened == ["onnx", "openvino"]


def test_unknown_and_missing_runtimes_are_refused(trained: Bundle) -> None:
    with pytest.raises(InputError, match="no 'trch', did you mean 'torch'"):
        open_runtime(trained, "trch")
    with pytest.raises(InputError, match="has no onnx graph; make one with 'topseg export"):
        open_runtime(trained, "onnx")
