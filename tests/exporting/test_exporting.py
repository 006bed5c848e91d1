"""Export: every graph is proven, and what cannot be is said or refused."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.metadata import Graph, Metadata
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.exporting import run as exporting
from topseg.exporting.formats import Format
from topseg.exporting.graphs.source import Source
from topseg.exporting.proving import proof_sizes
from topseg.exporting.run import export
from topseg.inference.hub import load
from topseg.inference.upsample import upsample_argmax
from topseg.runtimes import onnx, registry
from topseg.runtimes.registry import UnavailableError, open_runtime

WRITER = "topseg.exporting.graphs.onnx.write_onnx"


@pytest.fixture
def images() -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (64, 96, 3), np.uint8) for i in range(2)]


def test_every_graph_carries_its_proof(exported: Bundle) -> None:
    metadata = read_bundle(exported.folder).metadata
    assert {"onnx", "onnx-mask"} <= set(metadata.graphs)
    for graph in metadata.graphs.values():
        assert graph.proof is not None
        assert graph.proof.mask_agreement >= 0.999
        assert graph.proof.images == 9  # a batch of one and a batch of two at three sizes
    assert 0 < metadata.graphs["onnx"].proof.max_abs_difference < 1e-4


def test_bundle_is_readable_and_names_no_machine(exported: Bundle) -> None:
    card = (exported.folder / "README.md").read_text()
    assert "golden-tiny" in card
    assert "| onnx | model.onnx | fp32 | onnxruntime" in card
    graph = (exported.folder / "model.onnx").read_bytes()
    assert str(Path(exporting.__file__).parents[3]).encode() not in graph


@pytest.mark.parametrize("name", ["onnx", "openvino", "mnn"])
def test_engines_predict_as_torch_does(exported: Bundle, name: str) -> None:
    if name not in exported.metadata.graphs:
        pytest.skip(f"{name} is not installed")
    image = np.random.default_rng(9).integers(0, 256, (90, 150, 3), np.uint8)
    engine = load(exported.folder, runtime=name, threads=1)
    torch = load(exported.folder, runtime="torch")
    np.testing.assert_allclose(engine.logits(image), torch.logits(image), atol=1e-4)
    assert np.mean(engine(image).mask == torch(image).mask) > 0.999


def test_auto_takes_the_native_engine_and_else_the_graph(
    exported: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("topseg._native"):
        assert load(exported.folder).runtime.engine == "native"
    found = registry.find_spec  # as where the extension was not built:
    monkeypatch.setattr(registry, "find_spec", lambda n: ("_native" not in n and found(n)) or None)
    assert load(exported.folder).runtime.engine == "onnx"


def test_mask_graph_ends_in_masks_of_its_inputs_size(exported: Bundle) -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 64, 3), np.uint8)
    graphs = {"onnx": exported.metadata.graphs["onnx-mask"]}
    alone = dataclasses.replace(exported.metadata, graphs=graphs)
    masks = open_runtime(Bundle(exported.folder, alone), "onnx", device="cpu")(images)
    logits = open_runtime(exported, "onnx", device="cpu")(images)
    assert masks.dtype == np.uint8
    assert np.mean(masks == upsample_argmax(logits, (96, 64))) > 0.999


def test_half_precision_halves_the_file(exported: Bundle, tmp_path: Path, images: list) -> None:
    half = export(exported, tmp_path / "half", ["torch"], images=images, precision="fp16")
    assert half.weights.stat().st_size < 0.6 * exported.weights.stat().st_size
    assert not half.metadata.graphs
    load(half.folder, runtime="torch")(images[0])


def test_graph_that_disagrees_is_refused_and_nothing_stays(
    trained: Bundle,
    exported: Bundle,
    tmp_path: Path,
    images: list,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write_another(network: object, folder: Path) -> object:
        shutil.copy(exported.folder / "model.onnx", folder)
        return exported.metadata.graphs["onnx"]

    shuffled = dataclasses.replace(trained.metadata)
    other = tmp_path / "other"
    shutil.copytree(trained.folder, other)
    weights = exporting.read_safetensors(trained.weights)
    weights["decode_head.conv_seg.weight"] = weights["decode_head.conv_seg.weight"][::-1].copy()
    (other / trained.metadata.weights).write_bytes(exporting.save(weights))
    bundle = exporting.write_metadata(other, shuffled)
    monkeypatch.setattr(WRITER, write_another)
    with pytest.raises(InputError, match=r"onnx: masks agree .* first difference: image 0 at"):
        export(bundle, tmp_path / "out", ["onnx"], images=images)
    assert {path.name for path in tmp_path.iterdir()} == {"other"}


def test_nothing_stays_where_what_lies_beside_the_graphs_fails(
    trained: Bundle, tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bundle: Bundle, names: object) -> None:
        assert bundle.folder.name == "out"  # by which the page and the manifests call the model
        raise InputError("page: no")

    monkeypatch.setattr(exporting, "finish_bundle", fail)
    with pytest.raises(InputError, match="page: no"):
        export(trained, tmp_path / "out", ["torch"], images=images)
    assert not list(tmp_path.iterdir())


def test_missing_engine_is_said_not_hidden(
    trained: Bundle, exported: Bundle, tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnavailableError("the package is not installed")

    monkeypatch.setattr(Format, "open", fail)
    monkeypatch.setattr(WRITER, lambda n, f: exported.metadata.graphs["onnx"])
    lines: list[str] = []
    bundle = export(trained, tmp_path / "b", ["onnx"], images=images, report=lines.append)
    assert bundle.metadata.graphs["onnx"].proof is None
    assert lines == ["onnx: not verified (the package is not installed)"]
    assert "| not verified |" in (bundle.folder / "README.md").read_text()


def test_a_graph_that_does_not_load_is_refused(
    trained: Bundle, tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nonsense(source: Source, folder: Path) -> Graph:
        (folder / "model.onnx").write_bytes(b"no graph")
        return Graph(file="model.onnx")

    monkeypatch.setattr(WRITER, write_nonsense)
    with pytest.raises(InputError, match=r"model\.onnx"):
        export(trained, tmp_path / "b", ["onnx"], images=images)
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_refused(exported: Bundle, tmp_path: Path, images: list) -> None:
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        export(exported, tmp_path / "b", ["openvin"], images=images)
    with pytest.raises(InputError, match="exists already"):
        export(exported, exported.folder, ["torch"], images=images)


def test_one_proof_size_is_an_odd_multiple() -> None:
    for multiple in (32, 64):
        sizes = proof_sizes(ResizeRule(multiple=multiple))
        assert any(side // multiple % 2 for size in sizes for side in size)
        assert len(set(sizes)) == 3


def test_metadata_is_complete(exported: Bundle) -> None:
    assert isinstance(exported.metadata, Metadata)
    assert set(exported.metadata.files) == {
        path.name for path in exported.folder.iterdir() if path.name != "metadata.json"
    }


@pytest.mark.parametrize("name", ["onnx", "openvino", "mnn"])
def test_graph_of_another_model_is_refused(exported: Bundle, tmp_path: Path, name: str) -> None:
    if name not in exported.metadata.graphs:
        pytest.skip(f"{name} is not installed")
    model = dataclasses.replace(exported.metadata.architecture, num_classes=149)
    metadata = dataclasses.replace(
        exported.metadata,
        architecture=model,
        classes=exported.metadata.classes[:149],
        palette=exported.metadata.palette[:149],
    )
    with pytest.raises(InputError, match=r"classes: the graph has 150, the metadata 149"):
        open_runtime(Bundle(exported.folder, metadata), name)


@pytest.mark.parametrize("name", ["onnx", "openvino", "mnn"])
def test_graph_of_a_fixed_size_names_it(exported: Bundle, name: str) -> None:
    if name not in exported.metadata.graphs:
        pytest.skip(f"{name} is not installed")
    graph = dataclasses.replace(exported.metadata.graphs[name], fixed_size=(64, 96))
    metadata = dataclasses.replace(exported.metadata, graphs={name: graph})
    runtime = open_runtime(Bundle(exported.folder, metadata), name)
    assert runtime(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 150, 8, 12)
    with pytest.raises(InputError, match="takes only 64x96"):
        runtime(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize("name", ["onnx", "openvino", "mnn"])
def test_damaged_graph_is_refused(exported: Bundle, tmp_path: Path, name: str) -> None:
    if name not in exported.metadata.graphs:
        pytest.skip(f"{name} is not installed")
    copy = tmp_path / "copy"
    shutil.copytree(exported.folder, copy)
    file = copy / exported.metadata.graphs[name].file
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="bytes changed"):
        read_bundle(copy)
    with pytest.raises(InputError, match="cannot load it"):
        open_runtime(Bundle(copy, exported.metadata), name)


def test_devices_of_onnx_runtime(exported: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"device cuda:1: .* has only 'cpu', 'cuda', 'tensorrt'"):
        open_runtime(exported, "onnx", device="cuda:1")
    monkeypatch.setattr(onnx.onnxruntime, "get_available_providers", lambda: ["CPU..."])
    with pytest.raises(InputError, match="install onnxruntime-gpu"):
        open_runtime(exported, "onnx", device="tensorrt")
    every = list(onnx.PROVIDERS.values())
    monkeypatch.setattr(onnx.onnxruntime, "get_available_providers", lambda: every)
    assert onnx._providers("tensorrt") == every[::-1]
    assert onnx._providers("auto") == every[1::-1]
    assert onnx._providers("cpu") == every[:1]
