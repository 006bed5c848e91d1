"""Masks of black and white: one for each image, and one for each class."""

import numpy as np
import pytest
from labelled import Labels

from topseg.core.errors import InputError

SIZE = (8, 12)


def stripes(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    """Rows of one value each, the last repeated."""
    rows = [*values, *[values[-1]] * (SIZE[0] - len(values))]
    return np.repeat(np.array(rows, np.uint8), SIZE[1]).reshape(SIZE)


@pytest.mark.parametrize("white", [255, 1])
def test_binary(labels: Labels, white: int) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.mask("masks/a.png", stripes(white, 0))
    labels.convert(format="binary", rename=["foreground=crack"])
    assert labels.classes == ["background", "crack"]
    assert labels.read("images/a.png")[:, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_greys_are_counted(labels: Labels) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.mask("masks/a.png", stripes(255, 128, 127, 0))
    summary = labels.convert(format="binary")
    assert labels.read("images/a.png")[:4, 0].tolist() == [1, 1, 0, 0]
    assert summary.left_out == {"pixels between black and white, taken by halves": 24}


def test_colors_are_refused(labels: Labels) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.mask("masks/a.png", np.dstack([stripes(255, 0)] * 2 + [stripes(0)]))
    with pytest.raises(InputError, match="got colours, expected black and white"):
        labels.convert(format="binary")


@pytest.mark.parametrize(
    "name", ["masks/{0}/{1}.png", "masks/{1}/{0}.png", "masks/{0}_{1}.png", "masks/{0}-{1}.png"]
)
def test_one_file_a_class(labels: Labels, name: str) -> None:
    """The smaller region is above; stems and classes may have underscores."""
    labels.picture("images/a_1.jpg", SIZE)
    labels.picture("images/a.jpg", SIZE)
    labels.mask(name.format("a_1", "road"), stripes(255, 255, 255, 0))
    labels.mask(name.format("a_1", "big car"), stripes(0, 255, 0))
    labels.mask(name.format("a", "road"), stripes(255, 0))
    labels.convert(format="classfiles")
    assert labels.classes == ["background", "big car", "road"]
    assert labels.read("images/a_1.png")[:, 0].tolist() == [2, 1, 2, 0, 0, 0, 0, 0]
    assert labels.read("images/a.png")[:, 0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0]


def test_masks_that_tell_no_class(labels: Labels) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.picture("images/b.jpg", SIZE)
    labels.mask("masks/a_road.png", stripes(255, 0))
    labels.mask("masks/a/road.png", stripes(255, 0))
    labels.mask("masks/a.png", stripes(255, 0))
    labels.mask("masks/c_road.png", stripes(255, 0))
    reasons = sorted(reason for _, reason in labels.convert(format="classfiles").problems)
    assert reasons == [
        "a mask whose name tells no image and class",
        "a mask whose name tells no image and class",
        "a second mask of road for one image",
        "an image without a mask",
    ]


def test_masks_of_two_sizes(labels: Labels) -> None:
    labels.picture("images/a.jpg", SIZE)
    labels.mask("masks/a/x.png", stripes(255, 0))
    labels.mask("masks/a/y.png", stripes(255, 0)[:4])
    with pytest.raises(InputError, match="another size than the other masks"):
        labels.convert(format="classfiles")
