"""Normalisation by the metadata's mean and deviation."""

import numpy as np
import torch

from topseg.bundle.metadata import InputConfig
from topseg.models.normalize import Normalize


def test_values_are_scaled_shifted_and_moved() -> None:
    config = InputConfig(mean=(0.5, 0.1), std=(0.25, 2.0))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 2), np.uint8)
    expected = ((images / 255 - [0.5, 0.1]) / [0.25, 2.0]).transpose(0, 3, 1, 2)
    result = Normalize(config)(torch.from_numpy(images))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


def test_it_adds_nothing_to_a_state_dict() -> None:
    assert not Normalize(InputConfig()).state_dict()
