"""Transforms: what they draw, what they do, and that image and mask stay together."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from topseg.core.config import build
from topseg.core.errors import InputError
from topseg.data.sample import Sample
from topseg.data.transforms import (
    AnyTransform,
    Distort,
    Flip,
    PadCrop,
    Photometric,
    RandomScale,
    Resize,
    StepScale,
    sized,
)
from topseg.recipe import Recipe


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def sample() -> Sample:
    """Every pixel of the image holds its mask's value."""
    mask = np.arange(70, dtype=np.uint8).reshape(7, 10).repeat(6, 0).repeat(6, 1)
    return Sample(np.dstack([mask] * 3), mask, "name")


def together(sample: Sample) -> Any:
    """Where image and mask agree."""
    return (sample.image == sample.mask[..., None]).all(axis=2)


def test_step_scale_draws_every_factor_equally(rng: np.random.Generator) -> None:
    counts = Counter(StepScale().draw(rng) for _ in range(7000))
    assert sorted(counts) == [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert StepScale(min=1, max=1, step=0.5).factors().tolist() == [1]


def test_step_scale_needs_two_factors_where_they_may_differ() -> None:
    assert StepScale(min=0.5, max=0.75, step=0.25).factors().tolist() == [0.5, 0.75]
    assert StepScale(min=0.5, max=0.5).factors().tolist() == [0.5]
    with pytest.raises(ValueError, match=r"step_scale.step: got 4.0, expected at most .* \(1.5\)"):
        StepScale(step=4)


def test_step_scale_rounds_sizes_as_the_reference(sample: Sample) -> None:
    assert StepScale().apply(sample, 0.75).mask.shape == (32, 45)  # 31.5 to the even number
    assert StepScale().apply(sample, 1) is sample
    assert StepScale().apply(sample, 0.001).mask.shape == (1, 1)


def test_random_scale(sample: Sample, rng: np.random.Generator) -> None:
    own, given = RandomScale(min=0.6, max=1.8), RandomScale(short_side=84, max_long_side=90)
    factors = [own.draw(rng) for _ in range(1000)]
    assert 0.6 <= min(factors) < 0.62 < 1.78 < max(factors) < 1.8
    assert own.apply(sample, 2).mask.shape == (84, 120)
    assert given.apply(sample, 1).mask.shape == (63, 90)  # the long side binds
    assert dataclasses.replace(given, max_long_side=None).apply(sample, 0.5).mask.shape == (42, 60)


def test_scaled_masks_hold_no_new_values(sample: Sample) -> None:
    scaled = StepScale().apply(sample, 1.25)
    assert set(np.unique(scaled.mask)) <= set(range(70))
    assert together(StepScale().apply(sample, 2)).mean() > 0.6  # all but the blended borders


def test_resize(sample: Sample, rng: np.random.Generator) -> None:
    assert Resize(size=(5, 9))(sample, rng).image.shape == (5, 9, 3)


def test_crop_without_padding(sample: Sample, rng: np.random.Generator) -> None:
    crop = PadCrop(size=(20, 50))
    corners = [crop.draw(sample, rng) for _ in range(4000)]
    assert {top for top, _ in corners} == set(range(42 - 20 + 1))
    assert {left for _, left in corners} == set(range(60 - 50 + 1))
    cut = crop.apply(sample, (3, 4))
    np.testing.assert_array_equal(cut.mask, sample.mask[3:23, 4:54])
    assert together(cut).all()


def test_crop_with_padding(sample: Sample, rng: np.random.Generator) -> None:
    cut = PadCrop(size=(64, 32), fill=(1, 2, 3))(sample, rng)
    assert cut.image.shape == (64, 32, 3)
    assert together(cut)[:42].all()
    assert (cut.image[42:] == (1, 2, 3)).all()
    assert (cut.mask[42:] == 255).all()
    assert (PadCrop(size=(64, 32))(sample, rng).image[42:] == 127).all()
    wide = Sample(sample.image, sample.mask.astype(np.uint16), "name")
    assert (PadCrop(size=(64, 32))(wide, rng).mask[42:] == 65535).all()


def test_crop_of_the_exact_size_changes_nothing(sample: Sample, rng: np.random.Generator) -> None:
    assert PadCrop(size=(42, 60))(sample, rng) is sample


def test_class_balance_lays_windows_around_rare_classes(rng: np.random.Generator) -> None:
    mask = np.zeros((200, 300), np.uint8)
    mask[50, 250] = 1  # one pixel of 60,000
    mask[0] = 255
    sample = Sample(np.zeros((200, 300, 3), np.uint8), mask, "one")

    def share(balance: float) -> float:
        crop = PadCrop(size=(20, 30), class_balance=balance)
        return float(np.mean([(crop(sample, rng).mask == 1).any() for _ in range(400)]))

    assert share(0) < 0.05
    assert 0.4 < share(1) < 0.6  # two classes are there; the ignored value is none
    assert 0.15 < share(0.5) < 0.35


def test_class_balance_of_masks_that_are_small_or_have_no_class(rng: np.random.Generator) -> None:
    crop = PadCrop(size=(20, 30), class_balance=1)
    for size, value in (((10, 10), 0), ((40, 10), 0), ((40, 50), 255)):
        sample = Sample(np.zeros((*size, 3), np.uint8), np.full(size, value, np.uint8), "one")
        assert crop(sample, rng).mask.shape == (20, 30)


def test_category_max_ratio_looks_for_variety(rng: np.random.Generator) -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:50, :50] = 255  # ignored pixels do not count
    mask[80:] = 1
    image = np.zeros((100, 100, 3), np.uint8)

    def varied(ratio: float) -> float:
        crop = PadCrop(size=(20, 20), category_max_ratio=ratio)
        cuts = [crop(Sample(image, mask, ""), rng).mask for _ in range(300)]
        counts = [np.bincount(cut[cut < 255], minlength=2) for cut in cuts]
        return float(np.mean([count.max() < 0.75 * count.sum() for count in counts]))

    assert varied(1.0) < 0.25
    assert varied(0.75) > 0.6  # 1 - (1 - 0.12) ** 10


def test_flip(sample: Sample, rng: np.random.Generator) -> None:
    drawn = [Flip().draw(rng) for _ in range(1000)]
    assert 450 < sum(drawn) < 550
    flipped = Flip().apply(sample, True)
    np.testing.assert_array_equal(flipped.mask, sample.mask[:, ::-1])
    assert together(flipped).all()
    assert Flip().apply(sample, False) is sample
    assert not any(Flip(prob=0).draw(rng) for _ in range(100))


def test_distort_draws_the_references_distribution(rng: np.random.Generator) -> None:
    drawn = [Distort().draw(rng) for _ in range(4000)]
    ranges = {"brightness": (0.6, 1.4), "contrast": (0.6, 1.4), "saturation": (0.6, 1.4)}
    for kind, (low, high) in {**ranges, "hue": (-18, 18)}.items():
        amounts = [amount for changes in drawn for name, amount in changes if name == kind]
        assert abs(len(amounts) - 2000) < 150
        assert low <= min(amounts) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(amounts) <= high
        first = sum(changes[:1] == [(kind, a)] for changes in drawn for a in dict(changes).values())
        assert abs(first - 4000 * 15 / 64) < 150  # all orders are equally likely
    quiet = Distort(brightness_prob=0, contrast_prob=0, saturation_prob=0, hue_prob=0)
    assert not any(quiet.draw(rng) for _ in range(100))


def test_photometric_draws(rng: np.random.Generator) -> None:
    drawn = [Photometric().draw(rng) for _ in range(4000)]
    for kind in ("add", "brightness", "hsv_saturation", "hue"):
        assert abs(sum(kind in dict(changes) for changes in drawn) - 2000) < 150
    both = [c for c in drawn if {"brightness", "hue"} <= dict(c).keys()]
    last = sum(changes[-1][0] == "brightness" for changes in both)
    assert abs(last / len(both) - 0.5) < 0.07
    assert all(changes[0][0] == "add" for changes in drawn if "add" in dict(changes))
    turns = [dict(changes)["hue"] for changes in drawn if "hue" in dict(changes)]
    assert 25 < max(turns) <= 18 * 256 / 180


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_chain_takes_any_channels_and_masks(channels: int, dtype: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (33, 47, channels), np.uint8)
    mask = np.random.default_rng(2).integers(0, 5, (33, 47)).astype(dtype)
    chain = sized(
        [StepScale(), RandomScale(), PadCrop(), Flip(), Distort(), Photometric()], (32, 64)
    )

    def run(seed: int) -> Sample:
        result = Sample(image, mask, "name")
        rng = np.random.default_rng(seed)
        for transform in chain:
            result = transform(result, rng)
        return result

    results = [run(seed) for seed in range(20)]
    for result in results:
        assert (result.image.shape, result.image.dtype) == ((32, 64, channels), np.uint8)
        assert (result.mask.shape, result.mask.dtype) == ((32, 64), dtype)
        assert result.name == "name"
    np.testing.assert_array_equal(run(3).image, results[3].image)
    assert any((a.image != results[0].image).any() for a in results[1:])


def test_transforms_leave_their_input_alone(sample: Sample, rng: np.random.Generator) -> None:
    before = sample.image.copy(), sample.mask.copy()
    chain = sized([StepScale(), PadCrop(), Flip(prob=1), Distort(), Photometric()], (32, 32))
    for transform in chain:
        transform(sample, rng)
    np.testing.assert_array_equal(sample.image, before[0])
    np.testing.assert_array_equal(sample.mask, before[1])


def test_pad_crop_takes_the_training_crop() -> None:
    chain = sized([Flip(), PadCrop(fill=0), PadCrop(size=(1, 2))], (32, 64))
    assert chain == (Flip(), PadCrop(fill=0, size=(32, 64)), PadCrop(size=(1, 2)))


def test_recipe_entries() -> None:
    entry = TypeAdapter(AnyTransform).validate_python({"name": "flip", "prob": 0.25})
    assert entry == Flip(prob=0.25)
    wrong = {"train": {"augment": [{"name": "flop"}, {"name": "flip", "pro": 1}]}}
    with pytest.raises(InputError) as caught:
        build(Recipe, wrong, "a.yaml")
    assert "train.augment.0: got name 'flop', did you mean 'flip'?" in str(caught.value)
    assert "unknown key, did you mean 'prob'?" in str(caught.value)
    wrong = {"train": {"augment": [{"name": "step_scale", "min": 3}]}}
    with pytest.raises(InputError, match=r"a.yaml: .*step_scale.min: got 3.0, expected at most"):
        build(Recipe, wrong, "a.yaml")
