"""Duplicates: copies are alike, other pictures are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from test_dataset import SHARED, needs_shared

from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.duplicates import ALIKE, Hashes, difference_hash, near_duplicates
from topseg.data.layouts.pairs import Pair
from topseg.media.images import read_image
from topseg.synthetic.scenes import draw_scene

Picture = NDArray[np.uint8]


def _jpeg(quality: int) -> Callable[[Picture], Picture]:
    def save(image: Picture) -> Picture:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return save


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "jpeg of quality 30": _jpeg(30),
    "half the size": lambda image: np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5), np.uint8),
    "twice the size": lambda image: np.asarray(cv2.resize(image, None, fx=2, fy=2), np.uint8),
    "brighter": lambda image: np.clip(image * 1.15 + 5.0, 0, 255).astype(np.uint8),
    "darker": lambda image: (255 * (image / 255) ** 1.4).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255
    ).astype(np.uint8),
    "of grey levels": lambda image: image.mean(axis=2).astype(np.uint8)[..., None],
}


def hashes(*images: Picture) -> Hashes:
    found = Hashes()
    for i, image in enumerate(images):
        found.add(Pair(Path(f"{i}.png"), Path(), f"{i}"), difference_hash(image))
    return found


def names(a: Hashes, b: Hashes) -> dict[tuple[str, str], float]:
    return {(one.name, two.name): cosine for one, two, cosine in near_duplicates(a, b)}


@pytest.mark.parametrize("change", COPIES)
def test_copies_are_alike(change: str) -> None:
    scenes = [draw_scene(0, i).image for i in range(8)]
    copies = [COPIES[change](scene) for scene in scenes]
    found = names(hashes(*copies), hashes(*scenes))
    assert list(found) == [(f"{i}", f"{i}") for i in range(8)]
    assert min(found.values()) > ALIKE


def test_other_scenes_are_not() -> None:
    a, b = ([draw_scene(seed, i).image for i in range(60)] for seed in (1, 2))
    assert list(near_duplicates(hashes(*a), hashes(*b))) == []


def test_as_brute_force() -> None:
    """Signs of the steps of a thumbnail by hand, and every pair of two splits."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (700, 136, 136, 3), np.uint8)
    noisy = np.clip(base[::-1] + rng.normal(0, 5, base.shape), 0, 255).astype(np.uint8)
    found = names(hashes(*noisy), hashes(*base))
    assert set(found) == {(f"{i}", f"{699 - i}") for i in range(700)}

    def by_hand(image: Picture) -> NDArray[np.float64]:
        cells = np.rint(image.reshape(17, 8, 17, 8, 3).mean(axis=(1, 3))).mean(axis=2)
        steps = cells[:-1, 1:] - cells[:-1, :-1]
        return np.where(np.abs(steps) > 2, np.sign(steps), 0.0).ravel()

    for i in (0, 350, 699):
        a, b = by_hand(noisy[i]), by_hand(base[699 - i])
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert found[f"{i}", f"{699 - i}"] == pytest.approx(cosine, abs=0.02)


def test_flat_pictures_are_like_none() -> None:
    flat = np.full((50, 60, 3), 90, np.uint8)
    assert difference_hash(flat) is None
    flat[10:20, 10:20] = 0
    assert difference_hash(flat) is None
    assert list(near_duplicates(hashes(flat), hashes(flat))) == []


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_any_number_of_channels(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 300, channels), np.uint8)
    found = difference_hash(image)
    assert found is not None
    assert found.shape == (256,)
    assert set(found.tolist()) <= {-1, 0, 1}


def test_check_names_the_pair(tree: Any) -> None:
    for split in ("train", "val"):
        for i in range(3):
            scene = draw_scene(0 if split == "train" else 9, i)
            image = COPIES["brighter"](draw_scene(0, 2).image) if i == 1 else scene.image
            if (split, i) == ("train", 1):
                image = scene.image
            tree.array(f"images/{split}/{i}.png", image)
            tree.mask(f"masks/{split}/{i}.png", size=scene.mask.shape)
    report = check(DataConfig(root=str(tree.root), classes=("x",)))
    assert report.errors == []
    texts = [p.text for p in report.warnings if p.kind == "look-alike in both splits"]
    assert len(texts) == 1
    assert texts[0].startswith("images/val/1.png (val): looks like images/train/2.png (train), by ")


@needs_shared
def test_camvid_has_none() -> None:
    splits = []
    for split in ("train", "val"):
        splits.append(Hashes())
        for path in sorted((SHARED / "camvid" / split).glob("*.png")):
            splits[-1].add(Pair(path, path, path.name), difference_hash(read_image(path)))
    assert len(splits[0].rows) > 300
    assert list(near_duplicates(splits[1], splits[0])) == []
