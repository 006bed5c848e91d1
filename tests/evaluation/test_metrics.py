"""Counts against loops, scores against the reference's figures."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from topseg.core.errors import InputError
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.scores import Scores

GOLDEN = Path(__file__).parents[1] / "golden" / "transforms_metrics.npz"


def _count(truth: list[int], prediction: list[int], classes: int = 3) -> ConfusionMatrix:
    confusion = ConfusionMatrix(classes, 255)
    confusion.update(np.array(truth, np.uint8), np.array(prediction, np.uint8))
    return confusion


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


@pytest.mark.parametrize(("classes", "dtype"), [(5, np.uint8), (300, np.uint16), (5000, np.uint16)])
def test_counts_are_those_of_a_loop(classes: int, dtype: type) -> None:
    rng = np.random.default_rng(classes)
    ignore = int(np.iinfo(dtype).max)
    truth = rng.integers(0, classes, (2, 30, 20)).astype(dtype)
    prediction = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes))
    truth[rng.random(truth.shape) < 0.3] = ignore
    confusion = ConfusionMatrix(classes, ignore)
    for t, p in zip(truth, prediction.astype(dtype), strict=True):
        confusion.update(t, p)
    hits, given, there = (np.zeros(classes, int) for _ in range(3))
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != ignore:
            hits[t] += t == p
            given[p] += 1
            there[t] += 1
    assert (confusion.matrix is None) == (classes > 4096)
    np.testing.assert_array_equal(confusion.intersection, hits)
    np.testing.assert_array_equal(confusion.predicted, given)
    np.testing.assert_array_equal(confusion.truth, there)
    assert confusion.state()["counts"].dtype == np.int64


def test_rows_are_truth() -> None:
    matrix = _count([0, 0, 1, 255], [0, 2, 2, 1]).matrix
    assert matrix is not None
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("classes", [3, 5000])
def test_merging_is_counting_together(classes: int) -> None:
    a, b = _count([0, 1], [0, 0], classes), _count([2, 1], [2, 1], classes)
    both = _count([0, 1, 2, 1], [0, 0, 2, 1], classes)
    np.testing.assert_array_equal((a + b).state()["counts"], both.state()["counts"])
    a.merge(b.state())
    np.testing.assert_array_equal(a.state()["counts"], both.state()["counts"])
    with pytest.raises(InputError, match="got 4 classes, expected"):
        a.merge(ConfusionMatrix(4).state())


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 3], [0, 0], "the truth holds 3, expected 0 to 2 or 255"),
        ([0, 1], [0, 7], "the prediction holds 7"),
        ([0, 1], [0], "expected the same"),
    ],
)
def test_what_is_no_class_is_refused(truth: list[int], prediction: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _count(truth, prediction)


def test_negative_values_are_refused_and_large_matrices_too() -> None:
    with pytest.raises(InputError, match="the truth holds -1"):
        ConfusionMatrix(3).update(np.array([-1]), np.array([0]))
    with pytest.raises(InputError, match="the truth holds 5000"):
        ConfusionMatrix(5000).update(np.array([5000]), np.array([0]))


def test_predictions_where_the_truth_is_ignored_do_not_matter() -> None:
    assert _count([255, 255], [0, 200]).state()["counts"].sum() == 0


def test_scores_by_hand() -> None:
    # Truth 0 0 0 1 1, predicted 0 0 1 1 2; class 3 is nowhere.
    scores = Scores(_names(4), _count([0, 0, 0, 1, 1], [0, 0, 1, 1, 2], 4), images=1)
    np.testing.assert_allclose(scores.iou, [2 / 3, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(scores.precision, [1, 1 / 2, 0, np.nan])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1 / 2, np.nan, np.nan])
    np.testing.assert_allclose(scores.class_dice, [4 / 5, 2 / 4, 0, np.nan])
    assert scores.miou == pytest.approx(1 / 3)
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.dice == pytest.approx(1.3 / 3)
    assert scores.frequency_weighted_iou == pytest.approx(3 / 5 * 2 / 3 + 2 / 5 * 1 / 3)
    chance = (3 * 2 + 2 * 2) / 25
    assert scores.kappa == pytest.approx((3 / 5 - chance) / (1 - chance))
    assert (scores.absent, scores.pixels) == (1, 5)


def test_reference_figures() -> None:
    golden = np.load(GOLDEN)
    confusion = ConfusionMatrix(7, 255)
    confusion.update(golden["metric_label"], golden["metric_pred"])
    scores = Scores(_names(7), confusion, images=1, absent_as_right=True)
    ours = {
        "class_iou": scores.iou,
        "miou": scores.miou,
        "acc": scores.accuracy,
        "prec": scores.precision,
        "rec": scores.recall,
        "kappa": scores.kappa,
        "dice": scores.dice,
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value, golden[f"metric_{name}"], rtol=0, atol=1e-9)
    assert Scores(_names(7), confusion).miou == pytest.approx(scores.iou[:5].mean())


def test_nothing_counted_is_nan_and_null() -> None:
    scores = Scores(_names(3), _count([255], [0]))
    assert math.isnan(scores.miou)
    assert math.isnan(scores.kappa)
    plain = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert plain["miou"] is None
    assert plain["absent_classes"] == 3


def test_json_and_table_say_the_same() -> None:
    from rich.console import Console

    scores = Scores(_names(4), _count([0, 0, 1], [0, 1, 1], 4), images=2)
    plain = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert plain["miou"] == pytest.approx(0.5)
    assert plain["images"] == 2
    assert [row["name"] for row in plain["classes"]] == list(_names(4))
    assert plain["classes"][0]["recall"] == pytest.approx(0.5)
    assert plain["classes"][3]["iou"] is None
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(scores.table())
    rows = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    assert ["class", "0", "50.00", "100.00", "50.00", "66.67", "66.67"] in rows
    assert ["class", "3", "-", "-", "-", "-", "0.00"] in rows
    assert "mIoU 50.00" in scores.summary()
    assert "2 absent classes left out of the means" in scores.summary()


def test_counts_beyond_32_bits() -> None:
    confusion = _count([0, 1], [0, 0])
    for _ in range(40):
        confusion.merge((confusion + ConfusionMatrix(3)).state())
    scores = Scores(_names(3), confusion)
    assert scores.pixels == 2 * 2**40
    assert scores.accuracy == 0.5
    assert math.isfinite(scores.kappa)
