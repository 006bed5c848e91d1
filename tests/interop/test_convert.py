"""A foreign file becomes a bundle that keeps its origin's rules, and goes back again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.fill import golden_model, make_input
from topseg.bundle.bundle import read_bundle
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.interop import convert_weights, load_weights, read_weights, write_weights
from topseg.models import create_model
from topseg.models.normalize import Normalize
from topseg.runtimes.registry import open_runtime


def write_golden(path: Path, name: str = "topformer_tiny") -> Path:
    state = golden_model(name).state_dict()
    write_weights({key: tensor.numpy() for key, tensor in state.items()}, path)
    return path


@pytest.mark.parametrize(
    ("file", "pool", "origin"),
    [
        ("model.pdparams", "fixed", "PaddleSeg (model.pdparams)"),
        ("model.pth", "adaptive", "hustvl/TopFormer (model.pth)"),
        ("model.safetensors", "adaptive", "topseg (model.safetensors)"),
    ],
)
def test_a_bundle_predicts_as_the_weights_do(
    tmp_path: Path, file: str, pool: str, origin: str
) -> None:
    folder = convert_weights(write_golden(tmp_path / file), tmp_path / "bundle")
    bundle = read_bundle(folder)
    assert bundle.metadata.architecture.name == "topformer_tiny"
    assert bundle.metadata.architecture.options == {"pool": pool}
    assert bundle.metadata.origin == origin
    assert bundle.metadata.classes[:2] == ("wall", "building")
    assert bundle.metadata.resize == ResizeRule(multiple=32, round="up")

    images = np.random.default_rng(0).integers(0, 256, (1, 96, 160, 3), np.uint8)
    values = Normalize(bundle.metadata.input)(torch.from_numpy(images))
    with torch.inference_mode():
        expected = golden_model("topformer_tiny", pool)(values).numpy()
    np.testing.assert_allclose(open_runtime(bundle, "torch")(images), expected, atol=2e-5)


@torch.inference_mode()
def test_the_golden_logits_survive_the_way_there_and_back(tmp_path: Path) -> None:
    golden = np.load(Path(__file__).parents[1] / "golden" / "topformer_tiny.npz")
    convert_weights(write_golden(tmp_path / "a.pdparams"), tmp_path / "bundle")
    convert_weights(tmp_path / "bundle", tmp_path / "b.pth")
    convert_weights(tmp_path / "b.pth", tmp_path / "c.pdparams")
    assert (tmp_path / "c.pdparams").read_bytes() == (tmp_path / "a.pdparams").read_bytes()
    model = create_model("topformer_tiny", pool="fixed").eval()
    load_weights(model, tmp_path / "c.pdparams")
    logits = model(make_input((1, 3, 256, 384))).numpy()
    a, b, c, d = golden["1x3x256x384/lowres_strides"]
    sample = golden["1x3x256x384/lowres_sample"]
    assert np.abs(logits[::a, ::b, ::c, ::d] - sample).max() < 2e-5


@pytest.mark.parametrize("name", ["topformer_base", "topformer_small"])
def test_size_and_classes_are_read_off_the_tensors(tmp_path: Path, name: str) -> None:
    state = create_model(name, 7).state_dict()
    write_weights({key: tensor.numpy() for key, tensor in state.items()}, tmp_path / "a.pdparams")
    convert_weights(tmp_path / "a.pdparams", tmp_path / "bundle")
    tree = json.loads((tmp_path / "bundle" / "metadata.json").read_text())
    assert tree["architecture"] == {
        "name": name,
        "num_classes": 7,
        "in_channels": 3,
        "options": {"pool": "fixed"},
    }
    assert tree["classes"] == [f"class_{index}" for index in range(7)]


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    source = write_golden(tmp_path / "a.pdparams")
    with pytest.raises(InputError, match=r"a.pdparams: exists already"):
        convert_weights(source, source)
    with pytest.raises(InputError, match=r"out.onnx: cannot write this kind"):
        convert_weights(source, tmp_path / "out.onnx")
    convert_weights(source, tmp_path / "bundle")
    with pytest.raises(InputError, match="a bundle is made of a weight file"):
        convert_weights(tmp_path / "bundle", tmp_path / "bundle2")
    with pytest.raises(InputError, match=r"absent.pth: no such weight file"):
        convert_weights(tmp_path / "absent.pth", tmp_path / "bundle2")

    weights = read_weights(source)
    backbone = {name: array for name, array in weights.items() if name.startswith("backbone.")}
    write_weights(backbone, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="a backbone without its head"):
        convert_weights(tmp_path / "b.safetensors", tmp_path / "bundle2")
    weights = {name: array for name, array in weights.items() if ".trans." not in name}
    write_weights(weights, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="not a TopFormer Base, Small or Tiny"):
        convert_weights(tmp_path / "c.safetensors", tmp_path / "bundle2")
    state = create_model("topformer_tiny", in_channels=4).state_dict()
    write_weights({key: tensor.numpy() for key, tensor in state.items()}, tmp_path / "d.pth")
    with pytest.raises(InputError, match="takes 4 channels, whose mean and deviation"):
        convert_weights(tmp_path / "d.pth", tmp_path / "bundle2")
    assert not (tmp_path / "bundle2").exists()
