"""Faults of pictures: the same for every model, of the right size, and felt."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.robustness import FAULTS, Faulty, evaluate_faults
from topseg.inference.predictor import Predictor


class _One:
    """The same image three times, with a truth of two classes."""

    def __init__(self, labels: LabelSet, image: NDArray[np.uint8]) -> None:
        self.labels, self._image = labels, image

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        mask = np.zeros(self._image.shape[:2], np.uint8)
        mask[len(mask) // 2 :] = 2
        return Sample(self._image, mask, str(index))


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", FAULTS)
def test_faults_change_pixels_and_nothing_else(
    name: str, channels: int, labels: LabelSet, photo: NDArray[np.uint8]
) -> None:
    image = np.repeat(photo[..., :1], channels, axis=2)
    data = Faulty(_One(labels, image), FAULTS[name])
    first, again = data[1], data[1]
    assert first.image.shape == image.shape
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, image)
    assert np.array_equal(first.mask, data[2].mask)
    assert np.array_equal(first.image, data[2].image) == (name != "noise")


def test_light_and_noise_are_as_strong_as_said(labels: LabelSet) -> None:
    grey = np.full((200, 200, 3), 100, np.uint8)
    data = _One(labels, grey)
    assert set(np.unique(Faulty(data, FAULTS["dark"])[0].image)) == {40}
    assert set(np.unique(Faulty(data, FAULTS["bright"])[0].image)) == {160}
    noise = Faulty(data, FAULTS["noise"])[0].image.astype(float) - 100
    assert noise.std() == pytest.approx(20, rel=0.02)


def test_a_model_of_colours_fails_in_the_dark_alone(
    make_runtime: Callable[..., Any], labels: LabelSet, flag: NDArray[np.uint8]
) -> None:
    """Red and blue are told apart by a threshold that no fault but darkness crosses."""

    def logits(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        red, blue = blocks[..., 0] > 120, blocks[..., 2] > 120
        return np.stack([red, ~(red | blue), blue]).astype(np.float32)

    steps: list[tuple[int, int]] = []
    found = evaluate_faults(
        Predictor(make_runtime(logits=logits)), _One(labels, flag), lambda *s: steps.append(s)
    )
    assert found["bright"].accuracy == 1.0
    assert found["dark"].accuracy == 0.0
    assert found["noise"].accuracy > 0.95
    assert steps[-1] == (18, 18)
