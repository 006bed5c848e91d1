"""Folding batch norms leaves the logits where they were."""

import pytest
import torch
from torch import nn

from golden.fill import golden_model, make_input
from spread import assert_within
from topseg.models.fuse import fuse


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
@torch.inference_mode()
def test_fused_logits_are_equal(size: str) -> None:
    model = golden_model(f"topformer_{size}")
    x = make_input((1, 3, 96, 128))
    before = model(x)
    fused = fuse(model.train())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert not any(module.training for module in fused.modules())
    assert_within(fused(x), before, 5e-5)  # seen: 4e-6
    assert model.training
    torch.testing.assert_close(model.eval()(x), before, atol=0, rtol=0)  # itself untouched
