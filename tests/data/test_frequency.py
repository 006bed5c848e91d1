"""Class frequencies and weights, counted by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topseg.data.config import DataConfig
from topseg.data.frequency import (
    Frequency,
    class_weights,
    count_pixels,
    describe_weights,
)

# Of 12 + 8 labelled pixels: ground in both images, square in one, triangle in none.
FREQUENCY = Frequency((16, 4, 0), (20, 12, 0))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    monkeypatch.setenv("TOPSEG_CACHE", str(tmp_path / "cache"))
    masks = {"a": [0] * 8 + [1] * 4 + [255] * 4, "b": [0] * 8 + [255] * 8}
    for kind in ("images/train", "masks/train"):
        (tmp_path / kind).mkdir(parents=True)
    for name, values in masks.items():
        mask = np.array(values, np.uint8).reshape(4, 4)
        Image.fromarray(mask).save(tmp_path / "masks/train" / f"{name}.png")
        Image.fromarray(mask).convert("RGB").save(tmp_path / "images/train" / f"{name}.png")
    return DataConfig(root=str(tmp_path), classes=("ground", "square", "triangle"))


def test_counts_pixels_and_what_is_around_them(config: DataConfig) -> None:
    assert count_pixels(config) == FREQUENCY


def test_remembers_until_a_mask_changes(config: DataConfig, tmp_path: Path) -> None:
    count_pixels(config)
    (file,) = (tmp_path / "cache" / "frequencies").iterdir()
    file.write_text(file.read_text().replace("16", "17"))
    assert count_pixels(config).pixels == (17, 4, 0)
    for broken in ("{", "{}", "[]"):
        file.write_text(broken)
        assert count_pixels(config) == FREQUENCY
    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "masks/train/b.png")
    assert count_pixels(config).pixels == (8, 20, 0)


def test_median_frequency() -> None:
    shares = (16 / 20, 4 / 12)
    median = sum(shares) / 2
    expected = (median / shares[0], median / shares[1], 1)
    assert class_weights(FREQUENCY, "median_frequency") == pytest.approx(expected)
    roots = tuple(map(math.sqrt, expected))
    assert class_weights(FREQUENCY, "sqrt_median_frequency") == pytest.approx(roots)


def test_inverse_log() -> None:
    expected = (1 / math.log(1.02 + 0.8), 1 / math.log(1.02 + 0.2), 1)
    assert class_weights(FREQUENCY, "inverse_log") == pytest.approx(expected)


def test_no_pixel_at_all() -> None:
    assert class_weights(Frequency((0, 0), (0, 0)), "median_frequency") == (1, 1)
    assert class_weights(Frequency((0, 0), (0, 0)), "inverse_log") == (1, 1)


def test_describes_them(config: DataConfig) -> None:
    text = describe_weights(config)
    assert "square      20.00%             1.700" in text
    assert "loss: [{name: cross_entropy, class_weights: [0.708, 1.7, 1]}]  # median_freq" in text


def test_counts_again_for_other_classes_in_a_file(config: DataConfig, tmp_path: Path) -> None:
    named = DataConfig(root=config.root)
    for names in ("ground\nsquare\n", "ground\nsquare\ntriangle\n"):
        (tmp_path / "classes.txt").write_text(names)
        assert len(count_pixels(named).pixels) == len(names.split())
