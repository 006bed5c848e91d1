"""The one rule from an image's size to the network's."""

import pytest

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule, parse_size

REFERENCE = ResizeRule(short_side=512, max_long_side=2048, multiple=32, round="up")


@pytest.mark.parametrize(
    ("size", "expected"),
    [  # PaddleSeg's Resize([2048, 512], keep_ratio=True, size_divisor=32)
        ((375, 500), (512, 704)),
        ((683, 512), (704, 512)),
        ((512, 683), (512, 704)),
        ((480, 640), (512, 704)),
        ((256, 256), (512, 512)),
        ((1200, 300), (2048, 512)),
        ((2000, 700), (1472, 512)),
    ],
)
def test_reference_rule(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert REFERENCE.network_size(size) == expected


def test_own_rule_rounds_to_the_nearest_multiple_of_64() -> None:
    rule = ResizeRule()
    assert rule.network_size((512, 683)) == (512, 704)
    assert rule.network_size((512, 670)) == (512, 640)
    assert rule.network_size((512, 544)) == (512, 576)  # half a multiple goes up


def test_long_images_shrink_to_the_long_side() -> None:
    assert ResizeRule().network_size((100, 4000)) == (64, 2048)


def test_short_side_null_keeps_the_size() -> None:
    assert ResizeRule(short_side=None).network_size((360, 480)) == (384, 512)
    assert ResizeRule(short_side=None).network_size((1, 1)) == (64, 64)


def test_size_is_height_by_width() -> None:
    assert parse_size("512x704") == (512, 704)
    for text in ("512", "512x700", "0x32", "axb"):
        with pytest.raises(InputError, match="multiples of 32"):
            parse_size(text)
