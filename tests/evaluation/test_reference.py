"""The reference's path: our product of small matrices against its steps, one by one."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.geometry import ResizeRule
from topseg.evaluation.reference import interpolation, reference_mask
from topseg.inference.tta import Slide, Views

RULE = ResizeRule(short_side=128, max_long_side=512, multiple=32, round="up")


def _resize(stack: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    planes = [cv2.resize(p, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for p in stack]
    return np.stack(planes)


def _naive(runtime: Any, image: NDArray[np.uint8], views: Views) -> NDArray[Any]:
    """The reference's steps on whole (K, H, W) arrays."""
    size = (image.shape[0], image.shape[1])
    base = RULE.network_size(size)
    pixels = cv2.resize(image.astype(np.float32), (base[1], base[0]))
    total: Any = 0
    for scale in views.scales:
        h, w = (int(np.floor(side * scale / 32 + 0.5)) * 32 for side in base)
        scaled = cv2.resize(pixels, (w, h))
        for flip in [False, True][: 1 + views.flip]:
            view = np.ascontiguousarray(scaled[:, ::-1] if flip else scaled)
            slide = views.slide or Slide((h, w), (h, w))
            scores, count = np.zeros((3, h, w)), np.zeros((h, w))
            for rows in slide.spans(h, 0):
                for columns in slide.spans(w, 1):
                    crop = view[rows, columns]
                    logits = runtime(crop[None])[0]
                    scores[:, rows, columns] += _resize(logits, crop.shape[:2])
                    count[rows, columns] += 1
            scores = scores / count
            total = total + _resize(scores[:, :, ::-1] if flip else scores, base)
    return _resize(total, size)


@pytest.mark.parametrize(
    "views",
    [
        Views(),
        Views(flip=True),
        Views(flip=True, scales=(0.5, 1.25, 0.75)),
        Views(slide=Slide((64, 96), (40, 50))),
        Views(flip=True, scales=(1.0, 1.5), slide=Slide((96, 64), (33, 64))),
    ],
    ids=["plain", "flip", "scales", "slide", "all"],
)
def test_masks_are_those_of_the_steps(
    make_runtime: Callable[..., Any], photo: NDArray[np.uint8], views: Views
) -> None:
    def uneven(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        rows, columns = np.indices(blocks.shape[:2], dtype=np.float32)
        return np.moveaxis(blocks, -1, 0) / 64 + np.stack([rows, columns, rows * columns]) / 20

    runtime = make_runtime(logits=uneven, takes_float=True)
    scores = _naive(runtime, photo, views)
    mask, _ = reference_mask(runtime, photo, RULE, views)
    assert mask.shape == photo.shape[:2]
    second, first = np.sort(scores, axis=0)[-2:]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(mask[clear], scores.argmax(axis=0)[clear])
    assert len(np.unique(mask)) == 3
    assert all(images.dtype == np.float32 for images in runtime.seen)


def test_a_runtime_of_bytes_gets_bytes(
    make_runtime: Callable[..., Any], photo: NDArray[np.uint8]
) -> None:
    runtime = make_runtime()
    reference_mask(runtime, photo, RULE, Views())
    assert runtime.seen[0].dtype == np.uint8


def test_each_scale_is_resized_from_the_networks_input(make_runtime: Callable[..., Any]) -> None:
    runtime = make_runtime(takes_float=True)
    image = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, 2)
    reference_mask(runtime, image[::2], RULE, Views(scales=(0.5, 1.0)))
    small, whole = runtime.seen
    assert small.std() < 1, "its columns go grey at scale 0.5"
    np.testing.assert_array_equal(whole[0], image[::2])
    reference_mask(runtime, image, RULE, Views(scales=(2.0,)))
    assert runtime.seen[2].std() < 1, "it went grey at scale 1, so it is grey at scale 2"


@pytest.mark.parametrize(("scales", "rounded"), [((1.0, 1.25), False), ((0.7,), True)])
def test_rounded_scales_are_told(
    make_runtime: Callable[..., Any], scales: tuple[float, ...], rounded: bool
) -> None:
    image = np.zeros((128, 256, 3), np.uint8)
    assert reference_mask(make_runtime(), image, RULE, Views(scales=scales))[1] == rounded


@pytest.mark.parametrize(("source", "target"), [(5, 40), (40, 23), (1, 9), (7, 7), (9, 1)])
def test_interpolation_matrix_is_the_interpolation(source: int, target: int) -> None:
    values = np.random.default_rng(0).random((1, source)).astype(np.float32)
    expected = cv2.resize(values, (target, 1), interpolation=cv2.INTER_LINEAR)[0]
    # A position near 40 has a float32 step of 4e-6, and a weight is what is behind its point.
    np.testing.assert_allclose(interpolation(source, target) @ values[0], expected, atol=1e-5)
    np.testing.assert_allclose(interpolation(source, target).sum(axis=1), 1)
