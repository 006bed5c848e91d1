"""The tail equals full interpolation and argmax, by every implementation."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.inference.upsample import (
    _Axis,
    _bilinear,
    implementations,
    upsample_argmax,
    upsample_argmax_probability,
)

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "resize_vectors.json").read_text())

SHAPES = [  # (K, h, w), (H, W)
    ((1, 4, 5), (32, 40)),
    ((2, 1, 1), (7, 9)),
    ((2, 16, 16), (128, 128)),
    ((3, 1, 9), (20, 31)),
    ((5, 17, 1), (8, 3)),
    ((19, 13, 21), (97, 101)),
    ((150, 16, 16), (128, 128)),
    ((150, 9, 33), (41, 100)),
    ((150, 20, 30), (7, 11)),
    ((150, 12, 12), (12, 12)),
    ((256, 5, 6), (24, 31)),
    ((1000, 6, 7), (48, 56)),
]


@pytest.fixture(params=implementations())
def implementation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def smooth(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Blurred noise: most cells have few candidates, as in the logits of a trained network."""
    logits = noise(shape, seed)
    for axis in (-1, -2):
        for _ in range(6):
            logits = (np.roll(logits, 1, axis) + 2 * logits + np.roll(logits, -1, axis)) / 4
    return (logits * 30).astype(np.float32)


def positions(samples: int, pixels: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """PyTorch's rule: the lower sample of every pixel and the weight of the next."""
    scale = np.float64(np.float32(samples) / np.float32(pixels))
    source = np.maximum((scale * (np.arange(pixels) + 0.5) - 0.5).astype(np.float32), 0)
    low = np.minimum(source.astype(np.intp), samples - 1)
    return low, source - low.astype(np.float32)


def full(logits: NDArray[Any], size: tuple[int, int], lerp: Any) -> NDArray[Any]:
    """The (K, H, W) tensor that the tail never builds."""
    (y, t), (x, s) = positions(logits.shape[-2], size[0]), positions(logits.shape[-1], size[1])
    y1, x1 = np.minimum(y + 1, logits.shape[-2] - 1), np.minimum(x + 1, logits.shape[-1] - 1)
    rows = lerp(logits[:, y], logits[:, y1], t[:, None])
    return np.asarray(lerp(rows[:, :, x], rows[:, :, x1], s))


def exact(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    return full(logits.astype(np.float64), size, lambda a, b, t: a + t * (b - a))


def assert_best(mask: NDArray[Any], logits: NDArray[np.float32], size: tuple[int, int]) -> None:
    """The contract: no other class is better by more than 1e-5 x max(1, largest logit)."""
    values = exact(logits, size)
    chosen = np.take_along_axis(values, mask[None].astype(np.intp), axis=0)[0]
    assert (values.max(axis=0) - chosen).max() < 1e-5 * max(1, np.abs(logits).max())


@pytest.mark.parametrize("kind", [noise, smooth])
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_equals_full_interpolation(shape: Any, size: Any, kind: Any, implementation: str) -> None:
    logits = kind(shape)
    mask = upsample_argmax(logits, size, implementation=implementation)
    assert mask.shape == size
    assert mask.dtype == (np.uint8 if shape[0] <= 255 else np.uint16)
    assert_best(mask, logits, size)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_equals_full_interpolation_at_random_sizes(scale: float, implementation: str) -> None:
    rng = np.random.default_rng(1)
    for seed in range(40):
        classes, *size = (int(n) for n in rng.integers(1, 40, 3))
        logits = smooth((classes, *(int(n) for n in rng.integers(1, 20, 2))), seed)
        logits *= np.float32(scale)
        mask = upsample_argmax(logits, (size[0], size[1]), implementation=implementation)
        assert_best(mask, logits, (size[0], size[1]))


@pytest.mark.parametrize("kind", [noise, smooth])
@pytest.mark.parametrize(
    ("shape", "size"), [((150, 32, 32), (256, 256)), ((21, 31, 23), (250, 70))]
)
def test_equals_torch(shape: Any, size: Any, kind: Any, implementation: str) -> None:
    torch = pytest.importorskip("torch")
    logits = kind(shape)
    plain = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size=size, mode="bilinear", align_corners=False
    )
    expected = plain[0].argmax(dim=0).numpy()
    assert np.array_equal(upsample_argmax(logits, size, implementation=implementation), expected)


def test_pruning_changes_nothing_not_even_by_rounding(implementation: str) -> None:
    """Logits a few units in the last place apart, where any slip of rounding would show."""
    rng = np.random.default_rng(2)
    for shape, size in SHAPES:
        steps = rng.integers(-3, 4, shape).astype(np.float32)
        logits = np.float32(1.7) + steps * np.float32(2**-23)
        every = full(logits, size, _bilinear)
        mask = upsample_argmax(logits, size, implementation=implementation)
        assert np.array_equal(mask, every.argmax(axis=0))


def test_interpolation_stays_within_its_end_points() -> None:
    rng = np.random.default_rng(3)
    low, high = rng.normal(size=(2, 100_000)).astype(np.float32)
    high[:50_000] = low[:50_000] * (1 + rng.integers(-9, 9, 50_000).astype(np.float32) * 2.0**-23)
    weight = 1 - rng.integers(0, 3, low.size).astype(np.float32) * np.float32(2**-24)
    value = _bilinear(low, high, weight)
    assert (value >= np.minimum(low, high)).all()
    assert (value <= np.maximum(low, high)).all()


@pytest.mark.parametrize("row", TABLE["masks"], ids=lambda row: f"{row['note']}-{row['shape']}")
def test_shared_masks(row: dict[str, Any], implementation: str) -> None:
    with np.errstate(over="ignore"):
        logits = np.array(row["logits"], np.float64).astype(np.float32).reshape(row["shape"])
    mask = upsample_argmax(logits, tuple(row["size"]), implementation=implementation)
    assert mask.ravel().tolist() == row["mask"]


@pytest.mark.parametrize("row", TABLE["axes"], ids=lambda row: f"{row['samples']}-{row['pixels']}")
def test_shared_positions(row: dict[str, Any]) -> None:
    axis = _Axis.of(row["samples"], row["pixels"])
    low, weight = axis.cell - 1, axis.weight[axis.cell, axis.place]
    inside = (low >= 0) & (low < row["samples"] - 1)  # elsewhere both samples are the same
    assert np.array_equal(np.clip(low, 0, None), row["low"])
    assert np.array_equal(weight[inside], np.array(row["weight"], np.float32)[inside])


def test_all_implementations_give_the_same_bits() -> None:
    for seed, (shape, size) in enumerate(SHAPES):
        logits = np.stack([noise(shape, seed), smooth(shape, seed)])
        logits[logits > 2.5] = np.inf
        logits[:, :, ::3, ::2][noise(logits[:, :, ::3, ::2].shape, 9) > 1] = np.nan
        plain = upsample_argmax(logits, size, implementation="numpy")
        for name in implementations():
            for threads in (1, 2, 5):
                mask = upsample_argmax(logits, size, threads, implementation=name)
                assert np.array_equal(mask, plain), (name, shape, threads)


def test_ties_go_to_the_lower_class(implementation: str) -> None:
    equal = np.full((7, 3, 4), 0.1, np.float32)
    assert not upsample_argmax(equal, (24, 31), implementation=implementation).any()
    equal[:2] = -1
    assert (upsample_argmax(equal, (24, 31), implementation=implementation) == 2).all()
    crossing = np.array([[[0, 1, 2]], [[2, 1, 0]], [[1, 1, 1]]], np.float32)  # meet at the middle
    mask = upsample_argmax(crossing, (1, 9), implementation=implementation)
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0, 0]]


def test_nan_and_infinity_have_an_answer(implementation: str) -> None:
    nan, inf = np.float32("nan"), np.float32("inf")

    def mask_of(*classes: list[float], size: tuple[int, int] = (1, 4)) -> list[int]:
        logits = np.array(classes, np.float32)[:, None, :]
        mask = upsample_argmax(logits, size, implementation=implementation)
        return [int(value) for value in mask[0]]

    assert mask_of([nan, nan], [nan, nan]) == [0, 0, 0, 0]
    assert mask_of([nan, 0], [-5, -5]) == [1, 1, 1, 0]  # NaN loses wherever it has any weight
    assert mask_of([inf, 0], [5, 5]) == [0, 0, 0, 1]  # infinity wins wherever it has any weight
    assert mask_of([inf, inf], [inf, inf]) == [0, 0, 0, 0]
    assert mask_of([-inf, -inf], [nan, nan], [-1e30, -1e30]) == [2, 2, 2, 2]
    assert mask_of([-inf, 3], [0, 0], size=(1, 2)) == [1, 0]
    assert mask_of([3e38, -3e38], [0, 0]) == [0, 0, 1, 1]  # the difference alone would overflow


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_probability(shape: Any, size: Any, implementation: str) -> None:
    logits = np.stack([noise(shape), smooth(shape)])
    mask, probability = upsample_argmax_probability(logits, size, 2, implementation=implementation)
    assert np.array_equal(mask, upsample_argmax(logits, size, implementation=implementation))
    assert probability.shape == mask.shape
    assert probability.dtype == np.float32
    for image in range(2):
        values = exact(logits[image], size)
        expected = 1 / np.exp(values - values.max(axis=0)).sum(axis=0)
        np.testing.assert_allclose(probability[image], expected, rtol=0, atol=1e-4)


def test_probability_counts_very_many_classes(implementation: str) -> None:
    logits = np.full((20_000, 2, 2), -18, np.float32)  # each adds 1.5e-8 to the denominator
    logits[7] = 0
    mask, probability = upsample_argmax_probability(logits, (3, 3), implementation=implementation)
    assert (mask == 7).all()
    np.testing.assert_allclose(probability, 1 / (1 + 19_999 * np.exp(-18.0)), atol=1e-4)


def test_probability_of_distant_logits_is_one(implementation: str) -> None:
    logits = np.array([[[1e30, np.nan]], [[-np.inf, 0]]], np.float32)
    mask, probability = upsample_argmax_probability(logits, (1, 2), implementation=implementation)
    assert mask.tolist() == [[0, 1]]
    assert probability.tolist() == [[1, 1]]


def test_batch_and_threads(implementation: str) -> None:
    logits = smooth((3, 21, 10, 12))
    batch = upsample_argmax(logits, (75, 90), 4, implementation=implementation)
    for image, mask in zip(logits, batch, strict=True):
        one = upsample_argmax(image, (75, 90), implementation=implementation)
        assert np.array_equal(one, mask)


def test_strided_logits(implementation: str) -> None:
    channels_last = smooth((10, 12, 21))
    logits = channels_last.transpose(2, 0, 1)[::2, ::-1, 1:]
    assert not logits.flags.c_contiguous
    mask = upsample_argmax(logits, (40, 41), implementation=implementation)
    same = upsample_argmax(np.ascontiguousarray(logits), (40, 41), implementation=implementation)
    assert np.array_equal(mask, same)
    assert_best(mask, logits, (40, 41))


def test_the_most_classes(implementation: str) -> None:
    logits = np.repeat(-np.arange(65535, dtype=np.float32)[:, None, None], 2, axis=2)
    logits[65534, 0, 1] = 1
    mask = upsample_argmax(logits, (1, 2), implementation=implementation)
    assert mask.tolist() == [[0, 65534]]
    with pytest.raises(InputError, match="65536 classes, expected at most 65535"):
        upsample_argmax(np.zeros((65536, 1, 1), np.float32), (1, 1))


@pytest.mark.parametrize(
    ("logits", "size", "match"),
    [
        (np.zeros((2, 2, 2), np.float64), (4, 4), r"got float64 \(2, 2, 2\), expected float32"),
        (np.zeros((2, 2), np.float32), (4, 4), r"got float32 \(2, 2\), expected float32 \(K, h, w"),
        (np.zeros((0, 2, 2), np.float32), (4, 4), r"got float32 \(0, 2, 2\)"),
        (np.zeros((2, 2, 2), np.float32), (0, 4), r"size: got \(0, 4\)"),
    ],
)
def test_errors(logits: Any, size: Any, match: str) -> None:
    for function in (upsample_argmax, upsample_argmax_probability):
        with pytest.raises(InputError, match=match):
            function(logits, size)


def test_unknown_implementation() -> None:
    with pytest.raises(InputError, match=r"got 'nunpy', .* did you mean 'numpy'\?"):
        upsample_argmax(np.zeros((1, 1, 1), np.float32), (1, 1), implementation="nunpy")


def test_compiled_paths_come_first() -> None:
    pytest.importorskip("topseg._native", reason="the extension was not built")
    assert implementations()[-2:] in {("portable", "numpy"), ("neon", "numpy")}


def test_works_without_the_extension() -> None:
    code = (
        "import sys; sys.modules['topseg._native'] = None\n"
        "import numpy as np; from topseg.inference.upsample import *\n"
        "logits = np.eye(3, dtype=np.float32)[:, None]\n"
        "print(implementations(), upsample_argmax(logits, (1, 6)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "('numpy',) [[0 0 1 1 2 2]]"
