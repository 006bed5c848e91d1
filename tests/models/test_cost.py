"""What the zoo says of a network is what is counted."""

import pytest

from topseg.models import VARIANTS
from topseg.models.cost import count_cost


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("topformer_base", 5_062_646, 1.7522e9),
        ("topformer_small", 3_034_662, 1.1123e9),
        ("topformer_tiny", 1_389_654, 0.5341e9),
    ],
)
def test_cost_is_the_published_one(name: str, parameters: int, macs: float) -> None:
    assert count_cost(name) == (VARIANTS[name].parameters, VARIANTS[name].macs)
    assert VARIANTS[name].parameters == parameters
    assert VARIANTS[name].macs == pytest.approx(macs, rel=5e-5)


def test_cost_follows_classes_channels_and_size() -> None:
    parameters, macs = count_cost("topformer_tiny", 2, in_channels=4, size=(256, 512))
    assert parameters == 1_389_654 - 148 * (128 + 1) + 16 * 9
    half = (VARIANTS["topformer_tiny"].macs - 148 * 128 * 64 * 64 + 16 * 9 * 256 * 256) / 2
    # Half the tokens halve every convolution and quarter the two attention products.
    attention = 4 * 4 * (16 + 32) * 64 * 64
    assert macs == half - attention / 4
