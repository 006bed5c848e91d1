"""Each deeper score against a slow and plain form of its definition."""

import csv
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.evaluation.accumulator import Accumulator
from topseg.evaluation.bootstrap import expanded, interval, paired_interval
from topseg.evaluation.boundary import BoundaryIoU
from topseg.evaluation.calibration import Calibration
from topseg.evaluation.images import PerImage, accuracy, iou, miou
from topseg.evaluation.objects import ObjectRecall

K, IGNORE = 3, 255
Bytes = NDArray[np.uint8]


def _pair(seed: int, height: int = 70, width: int = 90) -> tuple[Bytes, Bytes, Any]:
    """A truth with blobs and ignored pixels, logits, and their mask."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(K, height // 10, width // 10)).astype(np.float32)
    large = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in noise]
    truth = np.argmax(large, axis=0).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.01] = IGNORE
    logits = 2 * noise + rng.normal(size=noise.shape).astype(np.float32)
    up = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in logits]
    return truth, np.argmax(up, axis=0).astype(np.uint8), logits


def _eroded_band(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """The paper's: a mask without what is left of it after d erosions, with zeros around it."""
    padded = np.pad(mask.astype(np.uint8), 1)
    inside = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return np.asarray(mask & (inside == 0))


def test_boundary_iou_is_the_papers() -> None:
    found, sums = BoundaryIoU(K, IGNORE), np.zeros((2, K))
    for seed in range(4):
        truth, mask, _ = _pair(seed)
        found.update(truth, mask)
        mask = np.where(truth == IGNORE, IGNORE, mask)
        distance = round(0.02 * math.hypot(70, 90))
        for index in range(K):
            ours = _eroded_band(truth == index, distance)
            theirs = _eroded_band(mask == index, distance)
            sums[:, index] += (ours & theirs).sum(), (ours | theirs).sum()
    expected = sums[0] / sums[1]
    assert 0 < expected.min() < expected.max() < 1
    np.testing.assert_allclose(found.scores()["class_boundary_iou"], expected, rtol=1e-12)
    assert found.scores()["boundary_iou"] == pytest.approx(expected.mean())


def test_trimap_is_the_band_around_the_truths_contours() -> None:
    truth, mask, _ = _pair(5, 40, 50)
    found = BoundaryIoU(K, IGNORE, trimaps=(1, 3))
    found.update(truth, mask)
    for width in (1, 3):
        hits, union = np.zeros(K), np.zeros(K)
        for y in range(40):
            for x in range(50):
                near = truth[max(y - width, 0) : y + width + 1, max(x - width, 0) : x + width + 1]
                here = truth[y, x]
                if here == IGNORE or set(near.ravel().tolist()) <= {int(here), IGNORE}:
                    continue
                for index in {int(here), int(mask[y, x])}:
                    union[index] += 1
                hits[here] += here == mask[y, x]
        expected = (hits / union).mean()
        assert found.scores()["trimap_miou"][width] == pytest.approx(expected)


def test_perfect_masks_have_perfect_boundaries() -> None:
    truth = _pair(1)[0]
    found = BoundaryIoU(K, IGNORE)
    found.update(truth, truth)
    assert found.scores()["boundary_iou"] == 1
    assert set(found.scores()["trimap_miou"].values()) == {1.0}


def test_calibration_error_is_the_papers() -> None:
    found, rows = Calibration(IGNORE, bins=10), []
    for seed in range(3):
        truth, mask, logits = _pair(seed)
        found.update(truth, mask, logits)
        planes = [cv2.resize(p, (90, 70), interpolation=cv2.INTER_LINEAR) for p in logits]
        exps = np.exp(np.asarray(planes, np.float64))
        chance = (exps / exps.sum(axis=0)).max(axis=0)
        valid = truth != IGNORE
        rows += list(zip(chance[valid].tolist(), (truth == mask)[valid].tolist(), strict=True))
    expected = 0.0
    for index in range(10):
        inside = [row for row in rows if index / 10 < row[0] <= (index + 1) / 10]
        if inside:
            apart = abs(sum(p for p, _ in inside) - sum(right for _, right in inside))
            expected += apart / len(rows)
    scores = found.scores()
    assert expected > 0.01
    assert scores["ece"] == pytest.approx(expected, abs=2e-4)  # of probabilities within 1e-4
    assert sum(one["pixels"] for one in scores["reliability"]) == len(rows)


def test_calibration_needs_logits() -> None:
    truth, mask, _ = _pair(0)
    with pytest.raises(InputError, match="take the protocol direct"):
        Calibration(IGNORE).update(truth, mask, None)


def test_images_are_counted_apart() -> None:
    found = PerImage(K, IGNORE)
    for seed in range(3):
        found.update(*_pair(seed)[:2])
    counts = found.stacked()
    for seed in range(3):
        truth, mask, _ = _pair(seed)
        for index in range(K):
            there, given = truth == index, (mask == index) & (truth != IGNORE)
            expected = (there & given).sum() / (there | given).sum()
            assert iou(counts)[seed, index] == pytest.approx(expected)
        right = (truth == mask).sum() / (truth != IGNORE).sum()
        assert accuracy(counts)[seed] == pytest.approx(right)
    rows = list(csv.reader(found.to_csv(["a", "b,c", "d"], ["x", "y", "z"]).splitlines()))
    assert rows[0] == ["image", "miou", "accuracy", "pixels", "x", "y", "z"]
    assert [row[0] for row in rows[1:]] == ["a", "b,c", "d"]
    assert float(rows[2][1]) == pytest.approx(miou(counts)[1], abs=1e-6)


def test_class_that_is_nowhere_has_no_iou() -> None:
    counts = np.array([[2, 0, 0], [4, 0, 0], [2, 0, 3]])
    np.testing.assert_array_equal(iou(counts), [0.5, np.nan, 0.0])
    assert miou(counts) == 0.25
    assert np.isnan(miou(np.zeros((3, K))))


def test_objects_by_size_by_hand() -> None:
    truth = np.zeros((200, 200), np.uint8)
    truth[10:20, 10:20] = 1  # 100 pixels, of which a quarter is right
    truth[50:100, 50:100] = 1  # 2,500 pixels: right
    truth[19:22, 20:22] = 2  # touches the first by a corner, and is another class: wrong
    mask = np.zeros_like(truth)
    mask[10:15, 10:15] = mask[50:100, 50:100] = 1
    found = ObjectRecall(K)
    found.update(truth, mask)
    scores = found.scores()["objects"]
    assert scores["small"] == {"count": 2, "recall": pytest.approx(0.125), "found": 0.0}
    assert scores["medium"] == {"count": 1, "recall": 1.0, "found": 1.0}
    assert scores["large"] == {"count": 1, "recall": 1.0, "found": 1.0}  # what is around them


MAKERS: list[Callable[[], Accumulator]] = [
    lambda: BoundaryIoU(K, IGNORE),
    lambda: Calibration(IGNORE),
    lambda: PerImage(K, IGNORE),
    lambda: ObjectRecall(K),
]


@pytest.mark.parametrize("make", MAKERS)
def test_processes_together_have_the_scores_of_one(make: Callable[[], Accumulator]) -> None:
    alone, parts, whole = make(), (make(), make()), make()
    for seed in range(4):
        alone.update(*_pair(seed))
        parts[seed // 2].update(*_pair(seed))
    for part in parts:
        whole.merge(part.state())
    for name, value in alone.state().items():
        np.testing.assert_allclose(whole.state()[name], value, rtol=1e-12)
    assert str(whole.scores()) == str(alone.scores())


def _images(seed: int, count: int = 30, quality: float = 0.8) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(50, 200, (count, K))
    hits = rng.binomial(truth, np.clip(quality + rng.normal(0, 0.05, (count, 1)), 0, 1))
    return np.stack([hits, truth, truth], axis=1)


def test_bootstrap_is_drawing_images_again() -> None:
    counts = _images(0)
    found = interval(counts, draws=500, seed=3)
    assert found.value == pytest.approx(miou(counts.sum(axis=0)))
    rng, scores = np.random.default_rng(7), []
    for _ in range(4000):
        sums = counts[rng.integers(0, len(counts), len(counts))].sum(axis=0)
        scores.append(np.mean([h / (p + t - h) for h, p, t in sums.T]))
    # Of 30 images: sqrt(30 / 29) * 2.04523 (Student's t, 29 degrees of freedom) is the normal's
    # 98.127 % point.
    low, high = np.percentile(scores, [1.873, 98.127])
    spread = high - low
    assert abs(found.low - low) < 0.15 * spread
    assert abs(found.high - high) < 0.15 * spread
    classes = interval(counts, iou, draws=100)
    assert classes.low.shape == (K,)
    assert (classes.low <= classes.value).all()
    assert (classes.value <= classes.high).all()


def test_pairs_are_drawn_together() -> None:
    """A model that is better by as much on every image: hardly any interval at all."""
    truth = np.full((40, K), 1000)
    hits = np.random.default_rng(0).integers(500, 800, (40, K))
    a, b = (np.stack([h, truth, truth], axis=1) for h in (hits, hits + 50))
    found = paired_interval(a, b)
    assert 0 < found.low < found.value < found.high
    apart = interval(a)
    assert found.high - found.low < 0.2 * (apart.high - apart.low)


@pytest.mark.parametrize(
    ("images", "share"), [(2, 1.0), (5, 0.9981), (30, 0.96254), (1000, 0.950294), (10**6, 0.95)]
)
def test_few_images_take_wider_percentiles(images: int, share: float) -> None:
    """Figures by the quantiles of Student's t of statistical tables."""
    assert expanded(0.95, images) == pytest.approx(share, abs=1e-4)
    assert expanded(0.95, 1) == 1


def _equal_models(seed: int, images: int = 60) -> list[NDArray[np.int64]]:
    """Two draws of one quality on the same images, of which some are hard."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(100, 1000, (images, K))
    rate = np.clip(0.8 + rng.normal(0, 0.1, (images, 1)), 0, 1)
    return [np.stack([rng.binomial(truth, rate), truth, truth], axis=1) for _ in range(2)]


def test_equal_models_are_called_equal_nearly_always() -> None:
    """A/A: a 95 % interval misses 0 in about one of twenty."""
    found = [paired_interval(*_equal_models(seed), seed=seed) for seed in range(100)]
    assert sum(bool(one.low <= 0 <= one.high) for one in found) >= 94


def test_intervals_of_few_images_are_wide_enough() -> None:
    """Percentiles of the plain level hold 0 in 90 % of these."""
    found = [paired_interval(*_equal_models(seed, 8), draws=500) for seed in range(600)]
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.975
