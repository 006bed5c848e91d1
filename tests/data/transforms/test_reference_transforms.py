"""The reference's augmented samples, replayed: its random draws through our transforms.

``transforms_metrics.npz`` holds three samples of PaddleSeg's TopFormer pipeline (step scaling, pad
and crop, flip, distortion, normalisation), thinned out by strides of 16 and 8.
"""

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from topseg.data.sample import Sample
from topseg.data.transforms import Change, Distort, Flip, PadCrop, StepScale

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "transforms_metrics.npz")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def original() -> Sample:
    image = cv2.imdecode(GOLDEN["train_img_jpg"], cv2.IMREAD_COLOR_RGB)
    raw = cv2.imdecode(GOLDEN["train_lab_png"], cv2.IMREAD_UNCHANGED)
    return Sample(image, raw - np.uint8(1), "reference")  # 0 wraps to 255, as there


def replay(seed: int) -> tuple[Sample, list[Change]]:
    """Draw with the reference's generators in the reference's order, apply with our functions."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    sample = original()

    scale, crop, distort = StepScale(), PadCrop(size=(512, 512)), Distort()
    factors = scale.factors()
    np.random.shuffle(factors)  # noqa: NPY002
    sample = scale.apply(sample, factors[0])

    if sample.mask.shape != crop.size:
        margins = [max(side - 512, 0) for side in sample.mask.shape]
        top, left = (np.random.randint(margin + 1) for margin in margins)  # noqa: NPY002
        sample = crop.apply(sample, (top, left))

    sample = Flip().apply(sample, random.random() < 0.5)

    bounds = {
        "brightness": (1 - distort.brightness, 1 + distort.brightness),
        "contrast": (1 - distort.contrast, 1 + distort.contrast),
        "saturation": (1 - distort.saturation, 1 + distort.saturation),
        "sharpness": (0.0, 0.0),  # its probability is 0 there, but it takes part in the draws
        "hue": (-distort.hue, distort.hue),
    }
    order = list(bounds)
    random.shuffle(order)
    changes = []
    for kind in order:
        if np.random.uniform(0, 1) < (0 if kind == "sharpness" else 0.5):  # noqa: NPY002
            changes.append((kind, np.random.uniform(*bounds[kind])))  # noqa: NPY002
    return distort.apply(sample, changes), changes


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reference_samples(seed: int, record_property: Callable[[str, object], None]) -> None:
    sample, changes = replay(seed)
    np.testing.assert_array_equal(sample.mask[::8, ::8], GOLDEN[f"seed{seed}_label"])

    expected = (GOLDEN[f"seed{seed}_img"].transpose(1, 2, 0) * STD + MEAN) * 255
    difference = np.abs(sample.image[::16, ::16] - expected)
    kinds = [kind for kind, _ in changes]
    record_property("changes", kinds)
    record_property("largest difference in grey levels", float(difference.max()))
    assert np.quantile(difference, 0.99) <= (8 if "hue" in kinds else 1)
    assert difference.max() < 1.01 or "hue" in kinds  # measured: 0, 0 and 1 at the three seeds
