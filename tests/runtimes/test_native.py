"""The native engine: every network, code path and number of threads; what it cannot take."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from golden.fill import golden_model
from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, InputConfig
from topseg.core.errors import InputError
from topseg.exporting.run import export
from topseg.inference.hub import load
from topseg.models.normalize import Normalize
from topseg.runtimes import registry
from topseg.runtimes.registry import UnavailableError, find_engine, open_runtime
from topseg.synthetic.scenes import draw_scene

pytest.importorskip("topseg._native")
from topseg import _native
from topseg.runtimes.native import NativeRuntime

NAME = "topformer-tiny-camvid"


def draw(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("path", _native.model_paths())
@pytest.mark.parametrize("name", ["topformer_tiny", "topformer_small", "topformer_base"])
@pytest.mark.parametrize("pool", ["adaptive", "fixed"])
def test_logits_are_those_of_float64(
    trained: Bundle, tmp_path: Path, name: str, path: str, pool: str
) -> None:
    model = golden_model(name, pool)
    bundle = with_weights(trained, tmp_path, name, pool, model.state_dict())
    images = draw(2, 96, 160, 3)
    with torch.inference_mode():
        values = Normalize(InputConfig())(torch.from_numpy(images)).double()
        expected = model.double()(values).numpy()
    found = NativeRuntime(bundle, threads=1, path=path)(images)
    assert np.abs(found - expected).max() <= 5e-5 * expected.std()


@pytest.mark.parametrize("path", _native.model_paths())
def test_threads_change_nothing(trained: Bundle, path: str) -> None:
    images = draw(1, 128, 96, 3)
    one, *others = (NativeRuntime(trained, threads=count, path=path)(images) for count in (1, 2, 3))
    for other in others:
        np.testing.assert_array_equal(one, other)


def test_an_image_does_not_depend_on_its_batch(trained: Bundle) -> None:
    images = draw(3, 64, 96, 3)
    runtime = NativeRuntime(trained, threads=2)
    together = runtime(images)
    for index in range(3):
        np.testing.assert_array_equal(together[index], runtime(images[index : index + 1])[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_may_be_stored_in_half(trained: Bundle, tmp_path: Path, dtype: torch.dtype) -> None:
    stored = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in load_file(trained.weights).items()
    }
    pool = str(trained.metadata.architecture.options["pool"])
    bundle = with_weights(trained, tmp_path, "topformer_tiny", pool, stored)
    widened = {
        name: value.float() if value.is_floating_point() else value
        for name, value in stored.items()
    }
    other = tmp_path / "widened"
    other.mkdir()
    same = with_weights(trained, other, "topformer_tiny", pool, widened)
    expected = open_runtime(same, "torch", device="cpu")(draw(1, 64, 64, 3))
    found = open_runtime(bundle, "native")(draw(1, 64, 64, 3))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_floats_are_taken_as_they_are(trained: Bundle) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    found, expected = (open_runtime(trained, n, device="cpu") for n in ("native", "torch"))
    np.testing.assert_allclose(found(images), expected(images), atol=1e-4)


def test_stages_add_up(trained: Bundle) -> None:
    stages = NativeRuntime(trained, threads=1).stages(draw(1, 64, 64, 3))
    assert {name for name, _ in stages} >= {"transformer", "injection", "head"}
    assert all(seconds >= 0 for _, seconds in stages)


def test_auto_takes_it_on_the_processor(
    trained: Bundle, exported: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_has_gpu", lambda: False)
    assert open_runtime(trained).engine == "native"
    assert open_runtime(exported).engine == "native"
    assert open_runtime(exported, "onnx", device="cpu").engine == "onnx"


def test_auto_leaves_a_gpu_to_the_others(
    trained: Bundle, exported: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_has_gpu", lambda: True)
    assert open_runtime(exported).engine == "onnx"
    assert open_runtime(trained).engine == "torch"
    assert open_runtime(exported, device="cpu").engine == "native"


def test_auto_does_without_it(
    exported: Bundle, trained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = registry.find_spec
    missing = "topseg._native"
    monkeypatch.setattr(registry, "find_spec", lambda n: None if n == missing else found(n))
    assert open_runtime(exported, device="cpu").engine == "onnx"
    assert open_runtime(trained, device="cpu").engine == "torch"
    with pytest.raises(UnavailableError, match=r"'topseg\._native' is not installed; pip install"):
        open_runtime(exported, "native")


def test_unknown_architectures_are_left_to_others(trained: Bundle) -> None:
    architecture = dataclasses.replace(trained.metadata.architecture, name="strange")
    metadata = dataclasses.replace(trained.metadata, architecture=architecture)
    other = Bundle(trained.folder, metadata)
    assert not find_engine("native").takes(other)
    with pytest.raises(InputError, match="does not know strange, only topformer_tiny"):
        open_runtime(other, "native")


def test_weights_that_do_not_fit_are_refused(trained: Bundle, tmp_path: Path) -> None:
    weights = load_file(trained.weights)
    weights["decode_head.conv_seg.bias"] = weights["decode_head.conv_seg.bias"][:-1].contiguous()
    pool = str(trained.metadata.architecture.options["pool"])
    bundle = with_weights(trained, tmp_path, "topformer_tiny", pool, weights)
    with pytest.raises(InputError, match=r"weights\.safetensors.*conv_seg\.bias"):
        open_runtime(bundle, "native")
    shutil.copy(trained.folder / "metadata.json", tmp_path / WEIGHTS)
    with pytest.raises(InputError, match=WEIGHTS):
        open_runtime(bundle, "native")


def test_export_proves_the_weights_on_it(trained: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    images = [draw(64, 96, 3)]
    made = export(
        trained, tmp_path / "b", ["native"], images=images, precision="fp16", report=lines.append
    )
    graph = made.metadata.graphs["native"]
    assert graph.file == WEIGHTS
    assert graph.proof is not None
    assert graph.proof.runtime.startswith("topseg ")
    assert lines[0].startswith("native: verified on topseg ")
    assert load(made.folder).runtime.engine == "native"


def test_a_photo_needs_neither_torch_nor_onnx_runtime(tmp_path: Path) -> None:
    import cv2

    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), draw_scene(0, 0).image)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None\n"
        "from topseg.cli import main; sys.exit(main())"
    )
    words = ["predict", NAME, str(photo), "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "photo.png").is_file()


def with_weights(
    trained: Bundle, folder: Path, name: str, pool: str, weights: dict[str, torch.Tensor]
) -> Bundle:
    """Write a bundle of other weights."""
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / WEIGHTS)
    architecture = dataclasses.replace(
        trained.metadata.architecture, name=name, options={"pool": pool}
    )
    return write_metadata(folder, dataclasses.replace(trained.metadata, architecture=architecture))
