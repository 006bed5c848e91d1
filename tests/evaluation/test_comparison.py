"""Two models on the same images: verdict, exit code and page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.comparison import compare
from topseg.evaluation.details import describe, details_of, summarize
from topseg.evaluation.images import PerImage
from topseg.evaluation.run import evaluate
from topseg.inference.predictor import Predictor
from topseg.report.comparison import write_comparison


class _Scenes:
    """Images of three colours in blocks of 8 pixels; a share of the blocks has another truth."""

    def __init__(self, labels: LabelSet, count: int = 12) -> None:
        self.labels, self._count = labels, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        blocks = rng.integers(0, 3, (8, 8)).astype(np.uint8)
        wrong = np.where(rng.random(blocks.shape) < 0.1, (blocks + 1) % 3, blocks)
        image = self.labels.colors()[blocks].repeat(8, 0).repeat(8, 1)
        return Sample(image, wrong.astype(np.uint8).repeat(8, 0).repeat(8, 1), f"<{index}>.png")


def _often_red(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The colours, with red where blue is."""
    return np.moveaxis(blocks, 2, 0) * np.array([1, 1, 0], np.float32)[:, None, None]


def test_a_worse_model_is_called_worse(
    make_runtime: Callable[..., Any], labels: LabelSet, tmp_path: Path
) -> None:
    good, bad = Predictor(make_runtime()), Predictor(make_runtime(logits=_often_red))
    scenes = _Scenes(labels)
    found = compare(good, bad, scenes)
    scores = [evaluate(model, scenes).miou for model in (good, bad)]
    assert found.miou == pytest.approx(scores)
    assert found.difference.value == pytest.approx(scores[1] - scores[0])
    assert found.is_worse()
    assert not found.is_worse(points=100 * (scores[0] - scores[1]))
    assert found.verdict().startswith("B is worse: mIoU -")
    assert not compare(bad, good, scenes).is_worse()
    assert compare(bad, good, scenes).verdict().startswith("B is better")
    tree = found.to_dict()
    assert tree["classes"][2]["difference"][2] < 0  # blue: certainly worse

    write_comparison(tmp_path / "page.html", found, good, bad, scenes, names=("a<b", "c"))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<figure") == 6
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "&lt;" + str(int(np.argmax(found.disagreement))) + "&gt;.png" in page
    assert "<script" not in page


def test_a_model_is_no_different_from_itself(predictor: Predictor, labels: LabelSet) -> None:
    found = compare(predictor, predictor, _Scenes(labels))
    assert found.verdict() == "no difference: mIoU +0.00 points (95 % interval +0.00 to +0.00)"
    assert not found.is_worse()
    assert not found.disagreement.any()


def test_models_of_other_classes(predictor: Predictor, labels: LabelSet) -> None:
    other = LabelSet(("x", "y"), ((0, 0, 0), (1, 1, 1)))
    with pytest.raises(InputError, match="A: its classes are not the data's"):
        compare(predictor, predictor, _Scenes(other))
    with pytest.raises(InputError, match="no images"):
        compare(predictor, predictor, _Scenes(labels, count=0))


def test_details_together(predictor: Predictor, labels: LabelSet) -> None:
    more, images = details_of(labels), PerImage(labels.num_classes, labels.ignore_index)
    scores = evaluate(predictor, _Scenes(labels), accumulators=[*more, images])
    found = summarize(more, images)
    low, high = found["miou_interval"]
    assert low < scores.miou < high
    text = describe(found)
    for word in ("boundary IoU", "2 px", "small", "calibration error"):
        assert word in text
    assert "ece" not in summarize(details_of(labels, logits=False), images)
