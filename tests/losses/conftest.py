"""Logits and masks to measure, and the plain way to upsample them."""

import pytest
import torch
from torch import Tensor

from topseg.losses import lean

IGNORE = 255


@pytest.fixture(params=[2, 5])
def K(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def logits(K: int) -> Tensor:
    logits = torch.randn(3, K, 4, 6, generator=torch.Generator().manual_seed(0)) * 3
    return logits.requires_grad_()


@pytest.fixture
def masks(K: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randint(0, K, (3, 31, 45), generator=generator, dtype=torch.uint8)
    masks[0, :20] = IGNORE  # images have unequal shares of labelled pixels
    masks[2] = IGNORE
    if K > 2:
        masks[masks == 2] = 1  # a class that is nowhere
    return masks


@pytest.fixture(params=[2**19, 500], ids=["one band", "bands"])
def band(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_CPU_BAND", request.param)
