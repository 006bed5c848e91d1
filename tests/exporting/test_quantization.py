"""INT8 graphs: what they keep in float, what they say of themselves, and when they are refused."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.metadata import Graph
from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.data.sample import Sample
from topseg.exporting import formats
from topseg.exporting.formats import FORMATS
from topseg.exporting.quantization import CALIBRATION, calibration_batches, calibration_images
from topseg.exporting.run import export
from topseg.inference.predictor import Predictor
from topseg.media.drawing import picture_jpeg
from topseg.runtimes.registry import open_runtime

onnx = pytest.importorskip("onnx")
FREE = ["onnx", "openvino"]


def photos(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (64, 96, 3), np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def bundle(trained: Bundle, exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The golden Tiny in int8, in every format that can be quantised here.

    The float graphs are those of ``exported``: tracing once more would take seconds.
    """
    formats = [name for name in FREE if name in exported.metadata.graphs and _can(name)]
    with pytest.MonkeyPatch.context() as patch:
        _reuse(exported, patch)
        out = tmp_path_factory.mktemp("int8") / "golden-tiny"
        return quantized(trained, out, formats, report=lambda line: None)


def quantized(trained: Bundle, out: Path, formats: list[str], **more: Any) -> Bundle:
    settings: dict[str, Any] = {"images": photos(2), "calibration": photos(3)}
    return export(trained, out, formats, precision="int8", **settings | more)


@pytest.mark.parametrize("name", FREE)
def test_graph_says_what_it_is(bundle: Bundle, name: str) -> None:
    graph = graph_of(read_bundle(bundle.folder), name)
    made = graph.quantization
    assert graph.precision == "int8"
    assert made is not None
    assert made.calibration_images == 3
    assert made.bytes < 0.6 * made.float_bytes
    assert made.bytes == sum(path.stat().st_size for path in bundle.folder.glob(f"{stem(graph)}.*"))
    assert made.network_size == (128, 192)  # short side 128
    assert made.network_ms > 0 < made.float_network_ms
    assert any("blocks.0.attn/Softmax" in layer for layer in made.float_layers)
    assert not any("/Conv" in layer for layer in made.float_layers)


@pytest.mark.parametrize("name", FREE)
def test_graph_follows_torch_at_any_size(bundle: Bundle, name: str) -> None:
    graph = graph_of(bundle, name)
    assert graph.fixed_size is None
    assert graph.proof is not None
    assert len(graph.proof.sizes) == 3
    engine, torch = (open_runtime(bundle, one, device="cpu") for one in (name, "torch"))
    images = np.random.default_rng(5).integers(0, 256, (2, 96, 160, 3), np.uint8)
    found, expected = engine(images), torch(images)
    assert np.abs(found - expected).max() > 0  # it is another graph
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_litert_still_answers_in_float(trained: Bundle, tmp_path: Path) -> None:
    for package in (*packages("litert"), "ai_edge_litert"):
        pytest.importorskip(package)
    made = quantized(trained, tmp_path / "out", ["litert"], size=(64, 96))
    graph = made.metadata.graphs["litert"]
    assert graph.quantization is not None
    assert graph.quantization.network_size == graph.fixed_size == (64, 96)
    engine = open_runtime(made, "litert", device="cpu")
    torch = open_runtime(made, "torch", device="cpu")
    image = photos(1)[0][None]
    found, expected = engine(image), torch(image)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() > 0  # it is another graph
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("name", FREE)
def test_same_images_give_the_same_graph(exported: Bundle, tmp_path: Path, name: str) -> None:
    if name not in exported.metadata.graphs or not _can(name):
        pytest.skip(f"{name} cannot be quantised here")
    file = exported.metadata.graphs[name].file
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        batches = calibration_batches(photos(2), exported.metadata)
        FORMATS[name].quantize(exported.folder / file, folder / file, batches)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]


def test_weights_have_seven_bits_and_a_scale_a_channel(bundle: Bundle) -> None:
    graph = onnx.load(bundle.folder / "model.onnx").graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    by_output = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 66
    for node in convolutions:
        weights, scale, _ = (values[name] for name in by_output[node.input[1]].input)
        assert weights.dtype == np.int8
        assert np.abs(weights.astype(int)).max() <= 64
        assert scale.shape == weights.shape[:1]


def test_card_tells_of_int8(bundle: Bundle) -> None:
    card = (bundle.folder / "README.md").read_text()
    assert "* onnx: ranges from 3 images;" in card
    assert "mIoU not measured" in card
    assert "backbone.trans.transformer_blocks.0.attn/Softmax" in card


def test_loss_is_measured_and_bounded(
    trained: Bundle, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _reuse(exported, monkeypatch)
    predictor = Predictor(open_runtime(trained, "torch", device="cpu"))
    samples: Any = _Samples([Sample(one, predictor(one).mask, "") for one in photos(1)])
    samples.labels = trained.metadata.labels  # the truth is what float says: it scores 100 %
    with pytest.raises(InputError, match=r"onnx: int8 loses \d+\.\d+ points .* at most 0; calibr"):
        quantized(trained, tmp_path / "out", ["onnx"], dataset=samples, max_drop=0)
    assert not list(tmp_path.iterdir())
    made = quantized(trained, tmp_path / "out", ["onnx"], dataset=samples, max_drop=100)
    proof = made.metadata.graphs["onnx"].proof
    assert proof is not None
    assert proof.miou_difference is not None
    assert -1 < proof.miou_difference < 0


def test_unmeasured_loss_is_said(
    trained: Bundle, exported: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _reuse(exported, monkeypatch)
    lines: list[str] = []
    quantized(trained, tmp_path / "out", ["onnx"], report=lines.append)
    assert "onnx: int8 from 3 images" in lines[1]
    assert "mIoU not measured" in lines[2]


def test_bad_requests_are_refused(
    trained: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no images to calibrate on; give --data"):
        quantized(trained, out, ["onnx"], calibration=[])
    with pytest.raises(InputError, match=r"expected \(batch, height, width, 3\)"):
        quantized(trained, out, ["onnx"], calibration=[photos(1)[0][..., :1]])
    with pytest.raises(
        InputError, match="'onnx-mask' has no int8 form, only onnx, openvino, litert have"
    ):
        quantized(trained, out, ["onnx-mask"])
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == "nncf" else name)
    with pytest.raises(InputError, match=r"in int8 needs nncf: pip install .*\[int8\]'"):
        quantized(trained, out, ["openvino"])
    assert not out.exists()


def test_calibration_images_are_spread_evenly(tmp_path: Path) -> None:
    count = 2 * CALIBRATION
    for index in range(count):
        picture = np.full((8, 8, 3), 2 * index, np.uint8)
        write_bytes(tmp_path / f"{index:03}.jpg", picture_jpeg(picture))
    greys = [int(image.mean()) for image in calibration_images(tmp_path)]
    assert len(greys) == CALIBRATION
    assert (greys[0], greys[-1]) == pytest.approx((0, 2 * (count - 1)), abs=2)
    assert max(np.diff(greys)) <= 8


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images to calibrate on; give a folder"):
        list(calibration_images(tmp_path))


class _Samples(list[Sample]):
    labels: Any


def graph_of(bundle: Bundle, name: str) -> Graph:
    if name not in bundle.metadata.graphs:
        pytest.skip(f"{name} cannot be quantised here")
    return bundle.metadata.graphs[name]


def stem(graph: Graph) -> str:
    return Path(graph.file).stem


def packages(name: str) -> tuple[str, ...]:
    form = FORMATS[name]
    return (*form.packages, *(form.int8.packages if form.int8 else ()))


def _can(name: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages(name))


def _reuse(exported: Bundle, patch: pytest.MonkeyPatch) -> None:
    """Have the writers copy the graphs of a bundle instead of tracing the network."""

    def copier(name: str) -> Any:
        def copy(network: Any, folder: Path) -> Graph:
            graph = exported.metadata.graphs[name]
            for file in exported.folder.glob(f"{stem(graph)}.*"):
                (folder / file.name).write_bytes(file.read_bytes())
            return Graph(file=graph.file)

        return copy

    for name in FREE:
        function = str(FORMATS[name].writer).replace(":", ".")
        patch.setattr(function, copier(name))
