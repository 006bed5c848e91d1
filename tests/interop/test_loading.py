"""Loading says what fitted, and changes nothing where it refuses."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.fill import golden_model
from topseg.core.errors import InputError
from topseg.interop import load_weights, read_weights, write_weights
from topseg.models import create_model


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return golden_model("topformer_tiny").state_dict()


@pytest.fixture
def file(state: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "model.pdparams"
    write_weights({name: tensor.numpy() for name, tensor in state.items()}, path)
    return path


@pytest.mark.parametrize("pool", ["fixed", "adaptive"])
def test_a_whole_model_fits(file: Path, state: dict[str, torch.Tensor], pool: str) -> None:
    model = create_model("topformer_tiny", pool=pool)  # type: ignore[arg-type]
    report = load_weights(model, file)
    assert len(report.matched) == 315
    assert (report.missing, report.unexpected, report.misshaped) == ((), (), {})
    assert str(report) == "315 tensors matched"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert model.backbone.pool == pool


def test_parameters_stay_the_optimizers_own(file: Path) -> None:
    model = create_model("topformer_tiny")
    before = list(model.parameters())
    load_weights(model, file)
    assert all(a is b and a.requires_grad for a, b in zip(before, model.parameters(), strict=True))


def test_another_class_count_is_refused_and_can_be_allowed(file: Path) -> None:
    model = create_model("topformer_tiny", 5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match="150 classes and the model 5: build it with") as caught:
        load_weights(model, file)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())

    report = load_weights(model, file, allow_partial=True)
    assert report.misshaped == {
        "decode_head.conv_seg.weight": ((150, 128, 1, 1), (5, 128, 1, 1)),
        "decode_head.conv_seg.bias": ((150,), (5,)),
    }
    assert len(report.matched) == 313
    head = "decode_head.conv_seg.weight"
    assert torch.equal(model.state_dict()[head], before[head])
    assert not torch.equal(model.state_dict()[report.matched[0]], before[report.matched[0]])


def test_another_size_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="is it of another network, another size"):
        load_weights(create_model("topformer_base"), file)


def test_missing_and_unexpected_tensors_are_named(file: Path) -> None:
    weights = read_weights(file)
    del weights["decode_head.linear_fuse.bn.bias"]
    weights["decode_head.extra"] = np.zeros(3, np.float32)
    file = file.with_suffix(".safetensors")
    write_weights(weights, file)
    with pytest.raises(
        InputError,
        match=r"1 missing: decode_head.linear_fuse.bn.bias; 1 unexpected: decode_head.extra; load",
    ):
        load_weights(create_model("topformer_tiny"), file)
    report = load_weights(create_model("topformer_tiny"), file, allow_partial=True)
    assert report.missing == ("decode_head.linear_fuse.bn.bias",)
    assert report.unexpected == ("decode_head.extra",)


def test_a_pretrained_backbone_fits_as_one(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """ImageNet files: bare names, a classifier more, no injection."""
    tree = {
        name.removeprefix("backbone."): tensor.numpy()
        for name, tensor in state.items()
        if name.startswith(("backbone.tpm", "backbone.trans")) and "tracked" not in name
    }
    count = len(tree)
    tree["classifier.weight"] = np.zeros((1000, 208), np.float32)
    path = tmp_path / "backbone.pdparams"
    path.write_bytes(pickle.dumps(tree))
    model = create_model("topformer_tiny", 5)
    injection = model.backbone.SIM[1].global_act.conv.weight.clone()
    with pytest.raises(InputError, match="does not fit the model"):
        load_weights(model, path)
    report = load_weights(model, path, backbone_only=True)
    assert len(report.matched) == count
    assert report.unexpected == ("classifier.weight",)
    assert all(name.startswith("backbone.SIM.") for name in report.missing)
    assert torch.equal(model.backbone.SIM[1].global_act.conv.weight, injection)
    name = "backbone.tpm.stem.0.c.weight"
    assert torch.equal(model.state_dict()[name], state[name])
    with pytest.raises(InputError, match="another size"):
        load_weights(create_model("topformer_small"), path, backbone_only=True)


def test_a_backbone_alone_is_no_model(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    backbone = {n: t.numpy() for n, t in state.items() if n.startswith("backbone.")}
    write_weights(backbone, tmp_path / "backbone.pth")
    with pytest.raises(InputError, match=r"backbone alone: take it as one \(model.backbone_w"):
        load_weights(create_model("topformer_tiny"), tmp_path / "backbone.pth")


def test_half_precision_files_load(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    half = {n: t.half().numpy() if t.is_floating_point() else t.numpy() for n, t in state.items()}
    write_weights(half, tmp_path / "half.safetensors")
    model = create_model("topformer_tiny")
    load_weights(model, tmp_path / "half.safetensors")
    name = "decode_head.conv_seg.weight"
    assert torch.equal(model.state_dict()[name], state[name].half().float())
