"""Colours of classes without any."""

import numpy as np
import pytest

from topseg.core.palette import VISIONS, default_palette, seen_colors


def closest(count: int) -> dict[str, float]:
    """The smallest distance in CIELAB between two of so many colours, black included."""
    found = {}
    for name, colors in zip(
        VISIONS, seen_colors([(0, 0, 0), *default_palette(count)]), strict=True
    ):
        apart = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
        found[name] = float(apart[np.triu_indices(len(apart), 1)].min())
    return found


@pytest.mark.parametrize(("count", "least"), [(4, 17), (7, 17), (19, 17), (32, 13), (150, 5)])
def test_colours_are_told_apart_by_every_eye(count: int, least: float) -> None:
    found = closest(count)
    assert min(found.values()) >= least, found


def test_colours_of_known_values() -> None:
    """CIELAB of sRGB's corners; grey looks alike to all; red and green do not to a deuteranope."""
    colors = [(255, 255, 255), (255, 0, 0), (0, 0, 255), (128, 128, 128)]
    seen = seen_colors(colors)
    expected = [(100, 0, 0), (53.24, 80.09, 67.20), (32.30, 79.19, -107.86), (53.59, 0, 0)]
    np.testing.assert_allclose(seen[0], expected, atol=0.02)
    np.testing.assert_allclose(seen[:, 3], [(53.59, 0, 0)] * 3, atol=0.05)
    red_green = seen_colors([(200, 60, 60), (107, 107, 60)])
    normal, _, deuteranope = np.linalg.norm(red_green[:, 0] - red_green[:, 1], axis=-1)
    assert normal > 45
    assert deuteranope < normal / 3


def test_a_colour_does_not_depend_on_how_many_follow() -> None:
    assert default_palette(200)[:9] == default_palette(9)
    assert default_palette(300)[:255] == default_palette(255)


def test_all_are_different_and_none_is_black() -> None:
    palette = default_palette(5000)
    assert len({*palette, (0, 0, 0)}) == 5001
    assert default_palette(1) == ((230, 159, 0),)
