import base64
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.inference.predictor import Predictor
from topseg.report.pictures import Example, choose_examples, example_figure


class Squares:
    """Ten images of the first class; in image i, i rows of blocks look like the second."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        image = np.full((96, 96, 3), self.labels.palette[0], np.uint8)
        image[: 8 * index] = self.labels.palette[1]
        return Sample(image, np.zeros((96, 96), np.uint8), f"image {index}")


def test_examples_go_from_the_worst_to_the_best(
    labels: LabelSet, make_runtime: Callable[..., Any]
) -> None:
    found = choose_examples(Predictor(make_runtime()), Squares(labels), count=4)
    assert [example.name for example in found] == ["image 9", "image 6", "image 3", "image 0"]
    assert found[-1].scores(labels).accuracy == 1
    assert len(choose_examples(Predictor(make_runtime()), Squares(labels), count=99)) == 10


def test_figure_shows_image_truth_prediction_and_differences(labels: LabelSet) -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:] = 1
    truth[:10] = labels.ignore_index
    prediction = np.zeros((40, 60), np.uint8)
    figure = example_figure(Example("a <b>", image, truth, prediction), labels)
    pictures = _pictures(figure)
    assert [alt for alt, _ in pictures] == [
        f"{what} of a &lt;b&gt;" for what in ("image", "truth", "prediction", "differences")
    ]
    shown = {alt.split()[0]: pixels for alt, pixels in pictures}
    assert shown["image"].shape == (40, 60, 3)
    assert shown["truth"][20, 10].tolist() == list(labels.palette[0])
    assert shown["truth"][20, 50].tolist() == list(labels.palette[1])
    assert not shown["truth"][5].any()
    assert (shown["prediction"] == labels.palette[0]).all()
    red = shown["differences"][..., 0] > 200
    assert not red[:8].any()  # pixels without a class are not wrong
    assert red[20, 40:].all()
    assert not red[20, :20].any()
    assert "50.0% of the pixels right" in figure


@pytest.mark.parametrize("channels", [1, 4])
def test_large_images_of_any_channels_are_made_small(labels: LabelSet, channels: int) -> None:
    image = np.full((300, 1280, channels), 90, np.uint8)
    mask = np.zeros((300, 1280), np.uint8)
    pictures = _pictures(example_figure(Example("wide", image, mask, mask), labels))
    assert {pixels.shape for _, pixels in pictures} == {(150, 640, 3)}


def _pictures(figure: str) -> list[tuple[str, Any]]:
    found = re.findall('src="data:[a-z/]*;base64,([^"]*)".*?alt="([^"]*)"', figure)
    return [(alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(d))))) for d, alt in found]
