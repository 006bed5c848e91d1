"""TopFormer computes what the reference computes."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from golden.fill import INPUTS, fill, golden_model, make_input, paddle_name
from topseg.core.errors import InputError
from topseg.models import create_model

GOLDEN = Path(__file__).parents[2] / "golden"
KEYS = json.loads((GOLDEN / "state_dict_keys.json").read_text())
TOLERANCE = 2e-5


def checksum(arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module", params=["tiny", "base"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def golden(size: str) -> dict[str, NDArray[Any]]:
    return dict(np.load(GOLDEN / f"topformer_{size}.npz"))


def sampled(tensor: torch.Tensor, strides: NDArray[np.int64]) -> NDArray[np.float32]:
    steps = tuple(slice(None, None, int(stride)) for stride in strides)
    return tensor.numpy()[steps]


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_names_and_shapes_are_the_published_ones(size: str) -> None:
    state = create_model(f"topformer_{size}").state_dict()
    shapes = {
        paddle_name(name): list(tensor.shape)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert list(shapes.items()) == list(KEYS[size]["entries"].items())


def test_golden_values_are_the_same_on_this_machine() -> None:
    for name, shape in INPUTS.items():
        assert checksum([make_input(shape)]) == KEYS["input_checksums"][name]
    for size in ("tiny", "small", "base"):
        tensors = (
            fill(name, tuple(shape)) for name, shape in sorted(KEYS[size]["entries"].items())
        )
        assert checksum(tensors) == KEYS[size]["fill_checksum"]


@pytest.mark.parametrize("name", INPUTS)
@torch.inference_mode()
def test_logits_and_masks_agree_with_the_reference(
    name: str, size: str, golden: dict[str, NDArray[Any]]
) -> None:
    logits = golden_model(f"topformer_{size}")(make_input(INPUTS[name]))
    assert list(logits.shape) == list(golden[f"{name}/lowres_shape"])
    coarse = sampled(logits, golden[f"{name}/lowres_strides"])
    assert np.abs(coarse - golden[f"{name}/lowres_sample"]).max() < TOLERANCE

    full = F.interpolate(logits, INPUTS[name][2:], mode="bilinear", align_corners=False)
    fine = sampled(full, golden[f"{name}/logits_strides"])
    assert np.abs(fine - golden[f"{name}/logits_sample"]).max() < TOLERANCE
    means = full.mean(dim=(0, 2, 3)).numpy()
    np.testing.assert_allclose(means, golden[f"{name}/logits_chanmean"], atol=TOLERANCE)

    mask = sampled(full.argmax(dim=1), golden[f"{name}/argmax_strides"])
    clear = golden[f"{name}/argmax_margin_sample"] >= 1e-4
    assert clear.mean() > 0.99
    assert (mask == golden[f"{name}/argmax_sample"])[clear].all()


@pytest.mark.parametrize("name", INPUTS)
@torch.inference_mode()
def test_every_stage_agrees_with_the_reference(
    name: str, size: str, golden: dict[str, NDArray[Any]]
) -> None:
    model, seen = golden_model(f"topformer_{size}"), dict[str, Any]()
    backbone = model.backbone
    backbone.tpm.register_forward_hook(
        lambda *call: seen.update({f"tpm{level}": map_ for level, map_ in enumerate(call[2])})
    )
    backbone.trans.register_forward_hook(lambda *call: seen.update(ppa=call[1][0], trans=call[2]))
    backbone.register_forward_hook(
        lambda *call: seen.update({f"sim{level + 1}": map_ for level, map_ in enumerate(call[2])})
    )
    model(make_input(INPUTS[name]))
    assert set(seen) == {key.split("/")[1].split("_")[0] for key in golden if "/" in key} - {
        "logits",
        "argmax",
        "lowres",
    }
    for stage, tensor in seen.items():
        assert list(tensor.shape) == list(golden[f"{name}/{stage}_shape"])
        ours = sampled(tensor, golden[f"{name}/{stage}_strides"])
        assert np.abs(ours - golden[f"{name}/{stage}_sample"]).max() < TOLERANCE, stage


@pytest.mark.parametrize(("height", "width"), [(64, 100), (33, 64), (500, 375)])
def test_other_sizes_are_refused_with_the_next_that_fits(height: int, width: int) -> None:
    model = create_model("topformer_tiny", 2).eval()
    up = f"{-(-height // 32) * 32}x{-(-width // 32) * 32}"
    with pytest.raises(InputError, match=f"{height}x{width} .* resize it to {up}"):
        model(torch.zeros(1, 3, height, width))


@torch.inference_mode()
def test_any_number_of_classes_and_channels() -> None:
    model = create_model("topformer_tiny", 300, in_channels=5).eval()
    assert model(torch.zeros(2, 5, 32, 96)).shape == (2, 300, 4, 12)


def test_training_on_one_token_is_refused() -> None:
    model = create_model("topformer_tiny", 2).train()
    with pytest.raises(InputError, match="larger batch_size or crop"):
        model(torch.zeros(1, 3, 64, 64))
    model(torch.zeros(2, 3, 64, 64))
    model(torch.zeros(1, 3, 64, 96))


def test_initial_weights_follow_the_table() -> None:
    torch.manual_seed(0)
    state = create_model("topformer_tiny").state_dict()

    def std(name: str) -> float:
        return float(state[name].std())

    assert std("backbone.tpm.layer8.conv.0.c.weight") == pytest.approx((2 / 384) ** 0.5, rel=0.05)
    assert std("backbone.tpm.layer9.conv.2.c.weight") == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    dwconv = "backbone.trans.transformer_blocks.0.mlp.dwconv"
    assert std(f"{dwconv}.weight") == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert std("decode_head.linear_fuse.conv.weight") == pytest.approx((2 / 128) ** 0.5, rel=0.3)
    assert std("decode_head.conv_seg.weight") == pytest.approx(0.01, rel=0.05)
    assert not state["decode_head.conv_seg.bias"].any()
    assert not state[f"{dwconv}.bias"].any()
    attention = "backbone.trans.transformer_blocks.2.attn"
    assert not state[f"{attention}.proj.1.bn.weight"].any()
    assert (state[f"{attention}.to_v.bn.weight"] == 1).all()


def test_drop_path_rises_over_the_blocks_and_keeps_the_mean() -> None:
    blocks = create_model("topformer_tiny", drop_path=0.3).backbone.trans.transformer_blocks
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    torch.manual_seed(0)
    dropped = blocks[3].train()._drop(torch.ones(4000, 2, 1, 1))
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 1 / 0.7])
    assert (dropped[:, 0] == dropped[:, 1]).all()  # a sample's branch goes whole
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
    ones = torch.ones(2, 2, 1, 1)
    assert blocks[3].eval()._drop(ones) is ones


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "topformer_tinny"}, "did you mean 'topformer_tiny'"),
        (
            {"name": "topformer_tiny", "pool": "max"},
            "topformer_tiny: pool: got 'max', expected 'adaptive'",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(**arguments)
