"""What the torch runtime promises beyond the contract of every runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from topseg.bundle.bundle import write_metadata
from topseg.bundle.metadata import Architecture, Metadata
from topseg.core.errors import InputError
from topseg.core.labels import default_palette
from topseg.models import create_model
from topseg.runtimes.registry import open_runtime
from topseg.runtimes.torch import TorchRuntime, choose_device


@pytest.fixture
def metadata() -> Metadata:
    return Metadata(
        architecture=Architecture(
            name="topformer_tiny", num_classes=4, in_channels=3, options={"pool": "adaptive"}
        ),
        classes=("a", "b", "c", "d"),
        palette=default_palette(4),
    )


def test_a_model_in_training_stays_as_it_was(metadata: Metadata) -> None:
    model = create_model("topformer_tiny", 4).train()
    frozen = model.backbone.tpm["stem"].eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    TorchRuntime(model, metadata)(np.zeros((1, 64, 64, 3), np.uint8))
    assert model.training
    assert model.decode_head.dropout.training
    assert not any(module.training for module in frozen.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_modes_come_back_after_an_error(metadata: Metadata) -> None:
    model = create_model("topformer_tiny", 4).train()
    model.decode_head.conv_seg = torch.nn.Conv2d(1, 4, 1)  # cannot run
    with pytest.raises(RuntimeError):
        TorchRuntime(model, metadata)(np.zeros((1, 64, 64, 3), np.uint8))
    assert model.training


def test_float_images_give_the_logits_of_the_same_bytes(metadata: Metadata) -> None:
    runtime = TorchRuntime(create_model("topformer_tiny", 4), metadata)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(runtime(images), runtime(images.astype(np.float32)))


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="device: 'gpu' cannot be used here"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(InputError, match="device: 'cuda' cannot be used here"):
            choose_device("cuda")


def test_weights_of_another_network_are_refused(metadata: Metadata, tmp_path: Path) -> None:
    save_file(create_model("topformer_tiny", 5).state_dict(), tmp_path / "weights.safetensors")
    bundle = write_metadata(tmp_path, metadata)
    with pytest.raises(InputError, match=r"(?s)weights.safetensors: .*decode_head.conv_seg"):
        open_runtime(bundle, "torch")


def test_a_damaged_weight_file_is_refused(metadata: Metadata, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"weights.safetensors: "):
        open_runtime(write_metadata(tmp_path, metadata), "torch")
