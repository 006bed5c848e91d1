"""Contact sheets."""

from collections.abc import Callable
from typing import Any

import numpy as np

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.inference.predictor import Predictor
from topseg.report.sheet import contact_sheet


class Halves:
    """Images of one size whose left half is the first class; image i is i * 20 grey."""

    def __init__(self, labels: LabelSet, count: int) -> None:
        self.labels, self._count = labels, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        mask = np.zeros((96, 192), np.uint8)
        mask[:, 96:] = 1
        return Sample(np.full((96, 192, 1), 20 * index, np.uint8), mask, f"image {index}")


def test_images_of_a_data_set_beside_their_labels(labels: LabelSet) -> None:
    done: list[tuple[int, int]] = []
    sheet = contact_sheet(Halves(labels, 9), count=3, width=840, progress=lambda *n: done.append(n))
    assert done == [(1, 3), (2, 3), (3, 3)]
    tile = 832 // 4 - 8
    row = 22 + tile // 2 + 8
    assert sheet.shape == (2 * row + 22, 840, 3), "two rows of two images, and the classes"
    middle = 22 + tile // 4
    tiles = [
        sheet[top + middle, 8 + place * (tile + 8) + 10] for top in (0, row) for place in (0, 2)
    ]
    assert [pixel.tolist() for pixel in tiles] == [[0] * 3, [80] * 3, [160] * 3, [255] * 3]
    first = sheet[middle, 8 + tile + 8 + 10] / 0.75  # laid over black
    np.testing.assert_allclose(first, labels.palette[0], atol=1)


def test_a_model_s_masks_and_faults(labels: LabelSet, make_runtime: Callable[..., Any]) -> None:
    class Flags(Halves):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            image = np.full((96, 192, 3), labels.palette[0], np.uint8)  # the model sees one class
            return Sample(image, sample.mask, sample.name)

    sheet = contact_sheet(Flags(labels, 2), Predictor(make_runtime()), count=2, width=840)
    tile = 832 // 4 - 8
    row = 22 + tile // 2 + 8
    assert sheet.shape == (2 * row + 22, 840, 3), "one image a row"
    faults = sheet[22 : 22 + tile // 2, 8 + 3 * (tile + 8) : 8 + 3 * (tile + 8) + tile]
    red = (faults == (255, 45, 85)).all(axis=-1)
    assert not red[:, : tile // 2 - 2].any()
    assert red[:, tile // 2 + 2 :].all()
