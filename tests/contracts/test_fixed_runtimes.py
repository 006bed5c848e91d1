"""What every runtime of one fixed size promises, on a graph that its own converter wrote."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.core.errors import InputError
from topseg.core.installing import pip_install
from topseg.exporting.formats import FORMATS
from topseg.exporting.run import export
from topseg.inference.hub import load
from topseg.runtimes.base import Runtime
from topseg.runtimes.registry import find_engine, open_runtime

FIXED = [one for one in FORMATS.values() if one.fixed_size and find_engine(one.engine).runs_here]
SIZE = (64, 96)


@pytest.fixture(scope="module", params=FIXED, ids=lambda one: one.name)
def exported(
    request: pytest.FixtureRequest, trained: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    name, engine = request.param.name, find_engine(request.param.engine)
    for package in request.param.packages:
        pytest.importorskip(package)
    pytest.importorskip(engine.distribution.replace("-", "_"))
    out = tmp_path_factory.mktemp(name) / "fixed"
    images = [draw(*SIZE, 3)]
    export(trained, out, [name], images=images, size=SIZE, report=lambda line: None)
    return read_bundle(out)


@pytest.fixture(scope="module")
def runtime(exported: Bundle) -> Runtime:
    return open_runtime(exported, *exported.metadata.graphs, device="cpu", threads=1)


@pytest.fixture(scope="module")
def expected(trained: Bundle) -> Runtime:
    return open_runtime(trained, "torch", device="cpu")


def draw(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_graph_declares_its_size_and_carries_its_proof(exported: Bundle) -> None:
    (graph,) = exported.metadata.graphs.values()
    assert graph.fixed_size == SIZE
    assert graph.proof is not None
    assert graph.proof.sizes == (SIZE,)
    assert graph.proof.mask_agreement > 0.999


def test_logits_are_those_of_the_network(runtime: Runtime, expected: Runtime) -> None:
    images = draw(2, *SIZE, 3)
    before = images.copy()
    logits = runtime(images)
    assert logits.dtype == np.float32
    assert logits.shape == (2, 150, SIZE[0] // 8, SIZE[1] // 8)
    assert logits.flags.c_contiguous
    np.testing.assert_allclose(logits, expected(images), atol=1e-4)
    np.testing.assert_array_equal(images, before)


def test_results_outlive_the_next_call(runtime: Runtime) -> None:
    first = runtime(draw(1, *SIZE, 3))
    kept = first.copy()
    runtime(draw(1, *SIZE, 3, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_any_memory_will_do(runtime: Runtime, expected: Runtime) -> None:
    turned = draw(1, *SIZE, 3)[:, ::-1, ::-1]
    np.testing.assert_allclose(runtime(turned), expected(turned), atol=1e-4)
    frozen = draw(1, *SIZE, 3)
    frozen.setflags(write=False)
    np.testing.assert_allclose(runtime(frozen), expected(frozen), atol=1e-4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (draw(1, 64, 64, 3), "got 64x64 .*takes only 64x96"),
        (draw(1, 64, 100, 3), "64x100 .* expected multiples of 32"),
        (draw(1, 64, 96, 4), r"\(1, 64, 96, 4\), expected \(batch, height, width, 3\)"),
        (draw(0, 64, 96, 3), r"\(0, 64, 96, 3\), expected"),
        (draw(1, 64, 96, 3).astype(np.uint16), "got uint16 values, expected uint8"),
    ],
)
def test_what_it_cannot_take_is_refused(
    runtime: Runtime, images: NDArray[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        runtime(images)


def test_images_of_other_sizes_are_brought_to_its_size(exported: Bundle) -> None:
    predictor = load(exported.folder, runtime=next(iter(exported.metadata.graphs)), threads=1)
    assert predictor(draw(90, 150, 3)).mask.shape == (90, 150)


def test_only_the_processor_is_offered(exported: Bundle) -> None:
    with pytest.raises(InputError, match=r"device cuda: the .* runtime has only 'cpu'"):
        open_runtime(exported, *exported.metadata.graphs, device="cuda")


def test_damaged_graph_is_refused(exported: Bundle, tmp_path: Path) -> None:
    (graph,) = exported.metadata.graphs.values()
    (tmp_path / graph.file).write_bytes(b"none")
    bundle = Bundle(tmp_path, exported.metadata)
    with pytest.raises(InputError, match=f"{graph.file}: .* cannot load it"):
        open_runtime(bundle, *bundle.metadata.graphs)


def test_what_is_missing_is_said_before_anything_starts(
    trained: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("litert_torch", "executorch"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as caught:
        export(trained, tmp_path / "out", ["litert", "executorch"], images=[draw(*SIZE, 3)])
    assert str(caught.value).splitlines() == [
        f"formats: 'litert' needs litert_torch: {pip_install('topseg[litert-export]')}",
        f"formats: 'executorch' needs executorch: {pip_install('topseg[executorch]')}",
    ]
    assert not list(tmp_path.iterdir())
