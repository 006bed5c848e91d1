"""The packaged recipes: all load, say where they come from, and hold the reference's figures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.data.sample import Sample
from topseg.data.transforms import (
    Distort,
    Flip,
    PadCrop,
    Photometric,
    RandomScale,
    StepScale,
    sized,
)
from topseg.losses import CrossEntropy
from topseg.recipe import OptimConfig, Recipe, ScheduleConfig, read_recipe
from topseg.recipe.packaged import RECIPES

NAMES = sorted(RECIPES)
FAMILIES = ["ade20k", "ade20k_official", "cityscapes", "voc"]


def read(name: str) -> Recipe:
    return read_recipe(Path(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_loads_and_states_its_origin(name: str) -> None:
    recipe = read(name)
    assert name.startswith(recipe.model.name) or name in ("finetune", "quick")
    head = RECIPES[name].read_text().split("\n\n")[0]
    assert head.startswith(f"# TopFormer-{recipe.model.name.split('_')[1].title()} on ")
    origins = (
        "PaddleSeg",
        "hustvl/TopFormer",
        "topseg's own",
        "Ours",
        "as topformer_",
        "As finetune",
    )
    assert any(origin in head for origin in origins)
    assert Path(recipe.data.root).is_absolute()


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_makes_samples_of_its_crop(name: str) -> None:
    train = read(name).train
    sample = Sample(np.zeros((90, 120, 3), np.uint8), np.zeros((90, 120), np.uint8), "")
    for transform in sized(train.augment, train.crop):
        sample = transform(sample, np.random.default_rng(0))
    assert sample.image.shape == (*train.crop, 3)
    assert sample.mask.shape == train.crop


@pytest.mark.parametrize("name", [name for name in NAMES if "ade20k" not in name])
def test_own_recipes_round_to_multiples_of_64_and_pool_adaptively(name: str) -> None:
    recipe = read(name)
    assert (recipe.resize.multiple, recipe.resize.round) == (64, "nearest")
    assert recipe.model.options.pool == "adaptive"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", ["small", "tiny"])
def test_sizes_differ_in_the_network_alone(family: str, size: str) -> None:
    base, other = read(f"topformer_base_{family}"), read(f"topformer_{size}_{family}")
    names = {"name": f"topformer_{size}", "backbone_weights": f"topformer-{size}-imagenet"}
    model = dataclasses.replace(base.model, **names)
    expected = dataclasses.replace(base, model=model)
    if (size, family) == ("tiny", "ade20k_official"):  # its learning rate is its own there
        expected = dataclasses.replace(
            expected,
            optim=dataclasses.replace(base.optim, lr=3e-3),
            schedule=dataclasses.replace(base.schedule, warmup_lr=3e-9),
        )
    assert other == expected


def test_ade20k_is_paddlesegs() -> None:
    recipe = read("topformer_base_ade20k")
    assert (recipe.model.options.pool, recipe.model.drop_path) == ("fixed", 0)
    assert (recipe.train.steps, recipe.train.batch_size) == (160_000, 16)
    assert recipe.train.crop == (512, 512)
    assert recipe.train.augment == (
        StepScale(min=0.5, max=2, step=0.25),
        PadCrop(fill=127, category_max_ratio=1),
        Flip(prob=0.5),
        Distort(brightness=0.4, contrast=0.4, saturation=0.4, hue=18),
    )
    assert recipe.optim == OptimConfig(lr=0.0012, weight_decay=0.01, backbone_lr_mult=0.1)
    assert recipe.schedule == ScheduleConfig(warmup_steps=1500, warmup_lr=1e-6, power=1, end_lr=0)
    assert recipe.schedule.decay_from == "warmup"
    assert recipe.loss == (CrossEntropy(weight=1, mean_over="labelled"),)
    assert recipe.resize == ResizeRule(short_side=512, max_long_side=2048, multiple=32, round="up")
    assert recipe.data.layout == "ade20k"


def test_ade20k_official_is_the_official_codes() -> None:
    recipe, paddle = read("topformer_base_ade20k_official"), read("topformer_base_ade20k")
    assert (recipe.model.options.pool, recipe.model.drop_path) == ("adaptive", 0.1)
    assert recipe.train.augment == (
        RandomScale(min=0.5, max=2, short_side=512, max_long_side=2048),
        Flip(prob=0.5),
        Photometric(brightness=32, contrast=0.5, saturation=0.5, hue=18, prob=0.5),
        PadCrop(fill=(124, 116, 104), category_max_ratio=0.75),
    )
    assert recipe.schedule.decay_from == "start"
    assert recipe.schedule.warmup_lr == pytest.approx(1e-6 * recipe.optim.lr)
    assert recipe.loss == (CrossEntropy(mean_over="all"),)
    assert recipe.optim == paddle.optim
    assert recipe.resize == paddle.resize
    assert recipe.data == paddle.data
    tiny = read("topformer_tiny_ade20k_official")
    assert tiny.optim.lr * tiny.optim.backbone_lr_mult == pytest.approx(0.0003)


def test_a_name_is_a_packaged_recipe_and_its_paths_start_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("topformer_tiny")).data.root == str(tmp_path / "data")
    Path("mine.yaml").write_text("base: topformer_tiny\ntrain: {steps: 7000}\n")
    mine = read_recipe(Path("mine.yaml"))
    assert (mine.train.steps, mine.train.batch_size) == (7000, 16)
    Path("topformer_tiny").write_text("train: {steps: 9000}\n")  # a file of that name comes first
    assert read_recipe(Path("topformer_tiny")).train.steps == 9000


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match=r"no packaged recipe.*did you mean 'topformer_tiny'"):
        read_recipe(Path("topformer_tyny"))
