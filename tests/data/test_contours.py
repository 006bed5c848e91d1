"""Contours: shifted, strange and coarse masks are found, with their score; others are not."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from test_dataset import SHARED, needs_shared

from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.contours import coarse_steps, fit_contours
from topseg.data.dataset import open_dataset
from topseg.data.report import Report
from topseg.synthetic.scenes import LABELS, draw_scene

SCENES = [draw_scene(0, index) for index in range(12)]


def moved(mask: Any, down: int, right: int) -> Any:
    """A mask at another place, without classes where it was not."""
    out = np.full_like(mask, 255)
    height, width = mask.shape
    rows = slice(max(0, down), height + min(0, down))
    columns = slice(max(0, right), width + min(0, right))
    out[rows, columns] = mask[
        max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
    ]
    return out


def enlarged(mask: Any, size: tuple[int, int], how: int = cv2.INTER_NEAREST) -> Any:
    """A mask that was once of another (width, height)."""
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(small, mask.shape[::-1], interpolation=how)


def write(tree: Any, change: Callable[[int, Any], Any] = lambda index, mask: mask) -> Report:
    """Two splits of scenes, the masks of train changed, and what check says of them."""
    for index, scene in enumerate(SCENES):
        tree.array(f"images/train/{index}.png", scene.image)
        tree.array(f"masks/train/{index}.png", change(index, scene.mask))
    tree.array("images/val/v.png", draw_scene(5, 0).image)
    tree.array("masks/val/v.png", draw_scene(5, 0).mask)
    return check(DataConfig(root=str(tree.root), classes=LABELS.names))


def test_masks_that_fit(tree: Any) -> None:
    report = write(tree)
    assert {p.kind for p in report.problems} <= {"class without pixels"}
    assert report.splits["train"].fit > 6  # type: ignore[operator]
    assert report.splits["val"].fit is None  # of one mask there is nothing usual


@pytest.mark.parametrize("way", [(0, 5), (-6, 4), (12, -9)])
def test_a_shift_is_measured(way: tuple[int, int]) -> None:
    down, right = way
    found = [fit_contours(s.image, moved(s.mask, down, right), 255) for s in SCENES]
    assert all(fit is not None and fit.is_shifted for fit in found)
    errors = [np.hypot(f.shift[0] + down, f.shift[1] + right) for f in found if f]
    assert max(errors) < 2
    still = [fit_contours(s.image, s.mask, 255) for s in SCENES]
    assert not any(fit is None or fit.is_shifted for fit in still)


def test_a_shift_is_told_in_pixels_of_the_image() -> None:
    scene = SCENES[0]
    image, mask = (
        cv2.resize(one, (1024, 768), interpolation=cv2.INTER_NEAREST)
        for one in (scene.image, moved(scene.mask, 0, 6))
    )
    found = fit_contours(image, mask, 255)
    assert found is not None
    assert found.is_shifted
    assert found.shift == pytest.approx((0, -24), abs=4)


def test_a_shifted_mask_is_a_warning(tree: Any) -> None:
    report = write(tree, lambda index, mask: moved(mask, 6, 0) if index == 3 else mask)
    (found,) = [p for p in report.problems if p.kind == "shifted mask"]
    assert not found.serious
    assert "masks/train/3.png: fits its image better 6 pixels higher (" in found.text
    assert found.score == pytest.approx(6, abs=1)
    assert found.evidence is not None
    assert found.evidence.shift == (-6, 0)


@pytest.mark.parametrize("fault", ["mirrored", "of another image"])
def test_a_mask_that_follows_another_image(tree: Any, fault: str) -> None:
    wrong = SCENES[4].mask[:, ::-1] if fault == "mirrored" else SCENES[5].mask
    report = write(tree, lambda index, mask: wrong if index == 4 else mask)
    (found,) = [p for p in report.problems if p.kind == "mask beside its image"]
    assert "masks/train/4.png: does not follow its image's edges" in found.text
    assert found.score is not None
    assert found.score < 1.5


def test_where_no_mask_follows_its_image_none_is_strange(tree: Any) -> None:
    report = write(tree, lambda index, mask: SCENES[(index + 5) % 12].mask)
    assert not [p for p in report.problems if p.kind == "mask beside its image"]


@pytest.mark.parametrize("how", [cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT])
@pytest.mark.parametrize(
    ("size", "steps"),
    [((32, 24), (8, 8)), ((64, 48), (4, 4)), ((60, 50), (4, 4)), ((80, 60), (3, 3))],
)
def test_steps_of_an_enlarged_mask(size: Any, steps: Any, how: int) -> None:
    mask = np.vstack([np.hstack([s.mask for s in SCENES[:2]]) for _ in range(2)])
    double = (2 * size[0], 2 * size[1])
    assert coarse_steps(enlarged(mask, double, how)) == steps


def test_fine_masks_have_no_steps() -> None:
    for scene in SCENES:
        assert coarse_steps(scene.mask) is None
        assert coarse_steps(enlarged(scene.mask, (128, 96))) is None  # half the size is usual
        assert coarse_steps(scene.mask[:, :1]) is None
    columns = np.repeat(np.arange(8, dtype=np.uint8), 32)[None].repeat(256, axis=0)
    assert coarse_steps(columns) is None  # a few straight borders may be true
    assert coarse_steps(columns.T) is None


def test_a_coarse_mask_is_a_warning(tree: Any) -> None:
    report = write(tree, lambda index, mask: enlarged(mask, (32, 24)) if index == 7 else mask)
    (found,) = [p for p in report.problems if p.kind == "coarse mask"]
    assert not found.serious
    assert found.score == 8
    assert "masks/train/7.png: its contours move in steps of 8x8 pixels" in found.text
    assert "of a mask of 32x24 that was enlarged" in found.text


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels(channels: int) -> None:
    scene = SCENES[1]
    image = np.repeat(scene.image[..., :1], channels, axis=2)
    found = fit_contours(image, scene.mask, 255)
    assert found is not None
    assert found.here > 4


def test_too_little_to_compare() -> None:
    scene = SCENES[0]
    assert fit_contours(scene.image[:60], scene.mask[:60], 255) is None
    assert fit_contours(scene.image, np.zeros_like(scene.mask), 255) is None
    assert fit_contours(np.zeros_like(scene.image), scene.mask, 255) is None
    nothing = np.where(scene.mask == 0, 0, 255).astype(np.uint8)
    assert fit_contours(scene.image, nothing, 255) is None  # what is ignored has no contour


@needs_shared
def test_camvid_is_found_good_and_every_shift_of_it() -> None:
    samples = open_dataset(DataConfig(layout="camvid", root=str(SHARED / "camvid")), "val")
    for index in range(0, len(samples), 10):
        sample = samples[index]
        assert coarse_steps(sample.mask) is None
        for way in ((0, 0), (4, 3), (-8, 6)):
            found = fit_contours(sample.image, moved(sample.mask, *way), 255)
            assert found is not None
            assert found.is_shifted == (way != (0, 0))


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_images_of_any_channels_are_compared(channels: int) -> None:
    scene = SCENES[0]
    image, mask = (
        np.atleast_3d(cv2.resize(one, (1024, 768), interpolation=cv2.INTER_NEAREST))
        for one in (scene.image, scene.mask)
    )
    wide = np.concatenate([image, image], axis=2)[..., :channels]
    fit = fit_contours(wide, mask[..., 0], 255)
    assert fit is not None
    assert fit.here > 4
