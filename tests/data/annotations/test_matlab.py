"""MATLAB's files, as SciPy writes them."""

from typing import Any

import numpy as np
import pytest
from labelled import Labels

from topseg.core.errors import InputError

scipy_io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
SIZE = (6, 8)


def write(labels: Labels, name: str = "a", **arrays: Any) -> None:
    labels.picture(f"images/{name}.jpg", SIZE)
    (labels.root / "labels").mkdir(exist_ok=True)
    scipy_io.savemat(labels.root / f"labels/{name}.mat", arrays, do_compression=True)


def rows(*values: int, kind: Any = np.uint8) -> Any:
    return np.repeat(np.array(values, kind), SIZE[1]).reshape(SIZE)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_numbers_are_names(labels: Labels, kind: Any) -> None:
    write(labels, mask=rows(0, 1, 1, 40, 40, 0, kind=kind), note="a text", one=3.0)
    labels.convert(rename=["0=ignore", "1=road"])
    assert labels.classes == ["road", "40"]
    assert labels.read("images/a.png")[:, 0].tolist() == [255, 0, 0, 1, 1, 255]


def test_classes_from_a_file(labels: Labels) -> None:
    labels.text("classes.txt", "road\nsky\n")
    write(labels, "a", mask=rows(0, 1, 2, 2, 1, 0))
    write(labels, "b", mask=rows(0, 1, 2, 2, 3, 0))
    summary = labels.convert()
    assert labels.read("images/a.png")[:, 0].tolist() == [255, 0, 1, 1, 0, 255]
    assert "got number 3, expected one of 2 names" in summary.problems[0][1]


def test_semantic_boundaries_dataset(labels: Labels) -> None:
    write(labels, GTcls={"Segmentation": rows(0, 15, 15, 7, 0, 0), "CategoriesPresent": [7, 15]})
    labels.convert()
    assert len(labels.classes) == 21
    assert labels.read("images/a.png")[:, 0].tolist() == [0, 15, 15, 7, 0, 0]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": rows(0, 1, 1, 1, 1, 1), "b": rows(0, 1, 1, 1, 1, 1)}, r"got 2 arrays.*\(a, b\)"),
        ({"a": "text"}, "got 0 arrays"),
        ({"a": rows(0, 1, 1, 1, 1, 1) + 0.5}, "fractions"),
        ({"a": rows(0, 1, 1, 1, 1, 1) * np.nan}, "fractions"),
    ],
)
def test_files_without_a_mask(labels: Labels, arrays: dict[str, Any], text: str) -> None:
    write(labels, **arrays)
    with pytest.raises(InputError, match=text):
        labels.convert()


def test_damaged_files(labels: Labels) -> None:
    write(labels, mask=rows(0, 1, 1, 40, 40, 0))
    path = labels.root / "labels/a.mat"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="not readable as a file of MATLAB"):
        labels.convert()
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600))
    with pytest.raises(InputError, match=r"version 7\.3"):
        labels.convert()
