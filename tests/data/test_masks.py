"""Reading masks: numbers, palettes, colours, and every value that has no meaning."""

from typing import Any

import numpy as np
import PIL.Image
import pytest

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette
from topseg.data.masks import MaskReader

ABC = LabelSet(("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))


def test_grey_palette_and_bilevel_files_hold_the_same_numbers(tree: Any) -> None:
    values = np.array([[0, 1, 1], [1, 0, 255]], np.uint8)
    grey = tree.array("grey.png", values)
    image = PIL.Image.fromarray(values).convert("P")
    image.putpalette(sum(default_palette(256), ()))
    image.save(tree.root / "palette.png")
    bilevel = tree.array("bilevel.png", values == 1)
    read = MaskReader(ABC)
    np.testing.assert_array_equal(read(grey), values)
    np.testing.assert_array_equal(read(tree.root / "palette.png"), values)
    np.testing.assert_array_equal(read(bilevel), values == 1)


def test_few_colors_packed_into_bits(tree: Any) -> None:
    image = PIL.Image.fromarray(np.array([[0, 1, 2, 1, 0]], np.uint8)).convert("P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tree.root / "a.png", bits=2)
    assert MaskReader(ABC)(tree.root / "a.png").tolist() == [[0, 1, 2, 1, 0]]


def test_label_map_and_ignore_index(tree: Any) -> None:
    path = tree.array("a.png", np.array([[7, 8, 9, 255, 0]], np.uint8))
    read = MaskReader(ABC, {7: 0, 8: 2, 9: "ignore", 0: 1})
    assert read(path).tolist() == [[0, 2, 255, 255, 1]]
    assert MaskReader(ABC, {7: 0, 8: 2, 9: 1, 255: 0, 0: 1})(path).tolist() == [[0, 2, 1, 0, 1]]
    path = tree.array("b.png", np.array([[0, 1, 2]], np.uint8))
    assert MaskReader(ABC, ignore_index=0)(path).tolist() == [[255, 1, 2]]


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (
            [[0, 1, 2], [2, 3, 3]],
            {},
            r"a.png: value 3 at row 1, column 1 \(2 such pixels\), expected 0-2, 255; correct "
            r"data.classes, or map it by data.label_map=\{3: ignore\}",
        ),
        ([[255]], {"ignore_index": None}, r"value 255 at row 0, column 0 .* expected 0-2;"),
        ([[254]], {}, r"value 254"),
        ([[1]], {"label_map": {0: 0, 5: 1, 6: 2}}, r"value 1 .* expected 0, 5-6, 255;"),
    ],
)
def test_values_without_a_meaning(tree: Any, values: Any, more: Any, message: str) -> None:
    path = tree.array("a.png", np.array(values, np.uint8))
    with pytest.raises(InputError, match=message):
        MaskReader(ABC, **more)(path)


def test_16_bit_values(tree: Any) -> None:
    path = tree.array("a.png", np.array([[0, 2, 65535]], np.uint16))
    with pytest.raises(InputError, match="value 65535 at row 0, column 2"):
        MaskReader(ABC)(path)
    assert MaskReader(ABC, ignore_index=65535)(path).tolist() == [[0, 2, 255]]
    many = LabelSet(tuple(map(str, range(300))), default_palette(300))
    assert MaskReader(many)(path).tolist() == [[0, 2, 65535]]
    assert MaskReader(many)(tree.array("b.png", np.uint8([[255]]))).tolist() == [[255]]
    with pytest.raises(InputError, match="value 300"):
        MaskReader(many)(tree.array("c.png", np.uint16([[300]])))


def test_negative_values(tree: Any) -> None:
    path = tree.array("a.tif", np.array([[0, -1]], np.int32))
    with pytest.raises(InputError, match="value -1 at row 0, column 1"):
        MaskReader(ABC)(path)


def test_colors(tree: Any) -> None:
    pixels = np.uint8([[[255, 0, 0], [0, 0, 255]], [[0, 255, 0], [9, 9, 9]]])
    path = tree.array("a.png", pixels)
    alpha = tree.array("b.png", np.dstack([pixels, np.full((2, 2), 7, np.uint8)]))
    PIL.Image.fromarray(pixels).quantize(8).save(tree.root / "c.png")
    read = MaskReader(ABC, colors=True, ignore_colors=((9, 9, 9),))
    for file in (path, alpha, tree.root / "c.png"):
        assert read(file).tolist() == [[0, 2], [1, 255]]
    message = r"colour \[9, 9, 9\] at row 1, column 1 \(1 such .*data.nearest_color=true"
    with pytest.raises(InputError, match=message):
        MaskReader(ABC, colors=True)(path)
    with pytest.raises(InputError, match=r"got colours, .* set data.masks=color"):
        MaskReader(ABC)(path)


def test_nearest_color(tree: Any) -> None:
    path = tree.array("a.png", np.uint8([[[250, 3, 0], [0, 90, 200], [30, 20, 20], [0, 255, 0]]]))
    read = MaskReader(ABC, colors=True, ignore_colors=((0, 0, 0),), nearest=True)
    for _ in range(2):  # the second time from the table
        assert read(path).tolist() == [[0, 2, 255, 1]]


def test_colors_must_tell_classes_apart() -> None:
    two = LabelSet(("a", "b"), ((1, 1, 1), (1, 1, 1)))
    with pytest.raises(InputError, match="classes 'a' and 'b' share a colour"):
        MaskReader(two, colors=True)
    with pytest.raises(InputError, match=r"data.ignore_colors: \[255, 0, 0\] is also a class's"):
        MaskReader(ABC, colors=True, ignore_colors=((255, 0, 0),))


def test_jpeg_is_refused_unless_colors_may_be_near(tree: Any) -> None:
    path = tree.array("a.jpg", np.full((16, 16, 3), (255, 0, 0), np.uint8))
    for colors in (False, True):
        with pytest.raises(InputError, match=r"a.jpg: JPEG changes a mask's values"):
            MaskReader(ABC, colors=colors)(path)
    assert (MaskReader(ABC, colors=True, nearest=True)(path) == 0).all()


def test_unreadable_masks(tree: Any) -> None:
    path = tree.array("a.png", np.random.default_rng(0).integers(0, 2, (99, 99), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])
    read = MaskReader(ABC)
    with pytest.raises(InputError, match=r"a.png: truncated, the end of the mask is missing"):
        read(path)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"a.png: not readable as a mask"):
        read(path)
    with pytest.raises(InputError, match=r"b.png: no such file"):
        read(tree.root / "b.png")
    floats = tree.array("c.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match="got float32 values, expected whole numbers"):
        read(floats)
