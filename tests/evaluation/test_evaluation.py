"""Whole data sets, counted right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.core.labels import LabelSet, standard_set
from topseg.data.config import DataConfig
from topseg.data.dataset import Dataset, open_dataset
from topseg.data.sample import Sample
from topseg.evaluation.run import evaluate
from topseg.inference.predictor import Predictor
from topseg.inference.tta import Slide

ADE = Path(__file__).parents[2] / "../shared/data/ade20k_sample"
SKY, TREE = 2, 4


@pytest.fixture
def dataset(tmp_path: Path, labels: LabelSet) -> Dataset:
    """Two images of red above blue in two sizes; the second's truth is ignored on the right."""
    for name, (height, width) in {"a": (64, 96), "b": (128, 64)}.items():
        image = np.zeros((height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        image[: height // 2, :, 0] = image[height // 2 :, :, 2] = 255
        mask[height // 2 :] = 2
        if name == "b":
            mask[:, 40:] = 255
        for folder, array in (("images/val", image), ("masks/val", mask)):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"{name}.png")
    config = DataConfig(root=str(tmp_path), classes=labels.names, palette=labels.palette)
    return open_dataset(config, "val")


def _top_and_bottom(top: int, bottom: int, classes: int) -> Callable[..., Any]:
    """Known logits: one class in the upper half of the network's input, one in the lower.

    On the boundary itself the upper one wins by a little, so that no mask hangs on rounding.
    """

    def logits(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.zeros((classes, *blocks.shape[:2]), np.float32)
        half = blocks.shape[0] // 2
        out[top, :half] = out[bottom, half:] = 1
        out[top] += 0.02
        return out

    return logits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flip": True, "scales": (1.0, 2.0)},
        {"slide": Slide((64, 64), (32, 32))},
        {"protocol": "reference"},
        {"protocol": "reference", "flip": True, "scales": (0.5, 1.0)},
        {"protocol": "network"},
    ],
    ids=str,
)
def test_a_right_model_scores_one(
    make_runtime: Callable[..., Any], dataset: Dataset, options: dict[str, Any]
) -> None:
    steps: list[tuple[int, int]] = []
    scores = evaluate(
        Predictor(make_runtime()), dataset, progress=lambda *s: steps.append(s), **options
    )
    assert scores.miou == 1.0
    assert (scores.images, scores.pixels, scores.absent) == (2, 64 * 96 + 128 * 40, 1)
    assert steps == [(1, 2), (2, 2)]


def test_counts_are_at_the_original_resolution(
    make_runtime: Callable[..., Any], dataset: Dataset
) -> None:
    # Whatever the network's size, the model says green above blue.
    runtime = make_runtime(resize=ResizeRule(short_side=128), logits=_top_and_bottom(1, 2, 3))
    scores = evaluate(Predictor(runtime), dataset)
    assert scores.confusion.matrix is not None
    half = 32 * 96 + 64 * 40
    assert scores.confusion.matrix.tolist() == [[0, half, 0], [0, 0, 0], [0, 0, half]]
    assert scores.miou == pytest.approx(1 / 3)
    assert scores.protocol == "original resolution"


def test_network_resolution_is_named_and_counted_there(
    make_runtime: Callable[..., Any], dataset: Dataset
) -> None:
    runtime = make_runtime(resize=ResizeRule(short_side=128), logits=_top_and_bottom(0, 2, 3))
    scores = evaluate(Predictor(runtime), dataset, protocol="network")
    # 64 x 96 -> 128 x 192, and 128 x 64 -> 256 x 128 with 40 of 64 columns that count.
    assert scores.pixels == 128 * 192 + 256 * 80
    assert "NETWORK resolution" in scores.protocol


def test_reference_counts_absent_classes_as_right(
    make_runtime: Callable[..., Any], dataset: Dataset
) -> None:
    runtime = make_runtime(logits=_top_and_bottom(2, 2, 3))
    direct = evaluate(Predictor(runtime), dataset)
    reference = evaluate(Predictor(runtime), dataset, protocol="reference")
    np.testing.assert_array_equal(direct.confusion.matrix, reference.confusion.matrix)
    assert direct.miou == pytest.approx((0 + 0.5) / 2)
    assert reference.miou == pytest.approx((0 + 1 + 0.5) / 3)


def test_the_protocol_is_told_in_words(make_runtime: Callable[..., Any], dataset: Dataset) -> None:
    scores = evaluate(
        Predictor(make_runtime()),
        dataset,
        flip=True,
        scales=(0.7, 1.0),
        slide=Slide((64, 96), (30, 40)),
        protocol="reference",
    )
    assert scores.protocol == (
        "original resolution, by the reference's protocol, scales 0.7 1, flip, windows of 64x96 "
        "every 30x40, 2 images with scales rounded to multiples of 32, resized images rounded to "
        "bytes (the torch runtime takes floats)"
    )


def test_an_image_without_truth_counts_nothing(
    make_runtime: Callable[..., Any], dataset: Dataset, tmp_path: Path
) -> None:
    Image.fromarray(np.full((128, 64), 255, np.uint8)).save(tmp_path / "masks/val/b.png")
    scores = evaluate(Predictor(make_runtime()), dataset)
    assert (scores.miou, scores.images, scores.pixels) == (1.0, 2, 64 * 96)


class _Wrong:
    """A data set whose truth holds a value that is no class."""

    def __init__(self, labels: LabelSet, value: int = 0, length: int = 1) -> None:
        self.labels, self.value, self.length = labels, value, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        mask = np.full((64, 64), self.value, np.uint8)
        return Sample(np.zeros((64, 64, 3), np.uint8), mask, "photos/x.jpg")


def _renamed(*names: str) -> LabelSet:
    return LabelSet(names, tuple((i, i, i) for i in range(len(names))))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (_Wrong(_renamed("a", "b")), {}, "has 2 classes, but the model has 3"),
        (_Wrong(_renamed("green", "red", "blue")), {}, "in another order"),
        (_Wrong(_renamed("a", "b", "c"), value=7), {}, "photos/x.jpg: mask: the truth holds 7"),
        (_Wrong(_renamed("a", "b", "c"), length=0), {}, "no images"),
        (_Wrong(_renamed("a", "b", "c")), {"protocol": "refrence"}, "did you mean 'reference'"),
        (_Wrong(_renamed("a", "b", "c")), {"scales": (0.0,)}, "scales"),
    ],
)
def test_what_cannot_be_evaluated(
    make_runtime: Callable[..., Any], data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(Predictor(make_runtime()), data, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("protocol", ["direct", "reference"])
def test_ade20k_samples_by_hand(make_runtime: Callable[..., Any], protocol: Any) -> None:
    """The file's value v is class v - 1 and 0 does not count, image by image at its own size."""
    if not ADE.is_dir():
        pytest.skip("the ADE20K samples are not beside this checkout")
    labels, _ = standard_set("ade20k")
    config = DataConfig(layout="ade20k", root=str(ADE), val=".")
    dataset = open_dataset(config, "val")
    runtime = make_runtime(
        labels=labels,
        resize=ResizeRule(multiple=32, round="up"),
        logits=_top_and_bottom(SKY, TREE, 150),
    )
    scores = evaluate(Predictor(runtime), dataset, protocol=protocol)

    right = {SKY: 0, TREE: 0}
    given = {SKY: 0, TREE: 0}
    truth = np.zeros(150, int)
    for path in sorted((ADE / "annotations").glob("*.png")):
        raw = np.asarray(Image.open(path)).astype(int)
        # Where the height is odd, the boundary is the middle row, which goes to the upper half.
        middle = (raw.shape[0] + 1) // 2
        for kind, half in ((SKY, raw[:middle]), (TREE, raw[middle:])):
            right[kind] += int((half == kind + 1).sum())
            given[kind] += int((half > 0).sum())
        for kind in range(150):
            truth[kind] += int((raw == kind + 1).sum())
    assert scores.images == 3
    assert right[SKY] > 0
    assert scores.pixels == truth.sum() < sum(raw.size for raw in _annotations())
    np.testing.assert_array_equal(scores.confusion.truth, truth)
    for kind in (SKY, TREE):
        assert scores.confusion.predicted[kind] == given[kind]
        assert scores.iou[kind] == right[kind] / (given[kind] + truth[kind] - right[kind])
    seen = (truth > 0) | np.isin(np.arange(150), (SKY, TREE))
    iou = sum(right[k] / (given[k] + truth[k] - right[k]) for k in (SKY, TREE))
    absent = int((~seen).sum())
    expected = iou / seen.sum() if protocol == "direct" else (iou + absent) / 150
    assert scores.miou == pytest.approx(expected)
    assert scores.absent == absent
    assert scores.accuracy == sum(right.values()) / truth.sum()


def _annotations() -> list[NDArray[Any]]:
    return [np.asarray(Image.open(path)) for path in (ADE / "annotations").glob("*.png")]
