"""PaddleSeg's configurations become recipes: the published ones the shipped, all else as said.

The files here are written from what PaddleSeg's TopFormer configurations set.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from topseg.core.config import Tree
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.data.transforms import Distort, Flip, PadCrop, RandomScale, Resize, StepScale
from topseg.interop.paddleseg import is_paddleseg, translate
from topseg.losses import CrossEntropy, Dice, Focal, Lovasz, Ohem
from topseg.recipe import (
    OptimConfig,
    Recipe,
    ScheduleConfig,
    read_data,
    read_recipe,
)

RECIPES = Path(__file__).parents[2] / "recipes"
NORMALIZE = "{type: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"
BACKBONE = "https://paddleseg.bj.bcebos.com/dygraph/backbone/topformer_{}_imagenet_pretrained.zip"

DATASET = """
batch_size: 2
iters: 80000
train_dataset:
  type: ADE20K
  dataset_root: data/ade
  transforms: [{type: RandomHorizontalFlip}, {type: Normalize}]
  mode: train
val_dataset:
  type: ADE20K
  dataset_root: data/ade
  transforms: [{type: Normalize}]
  mode: val
optimizer: {type: SGD, momentum: 0.9, weight_decay: 4.0e-5}
lr_scheduler: {type: PolynomialDecay, learning_rate: 0.01, end_lr: 0, power: 0.9}
loss: {types: [{type: CrossEntropyLoss}], coef: [1]}
"""
TOPFORMER = f"""
_base_: sets/ade.yml
batch_size: 4   # times four GPUs
iters: 160000
train_dataset:
  transforms:
    - type: ResizeStepScaling
      min_scale_factor: 0.5
      max_scale_factor: 2.0
      scale_step_size: 0.25
    - {{type: RandomPaddingCrop, crop_size: [512, 512]}}
    - {{type: RandomHorizontalFlip}}
    - {{type: RandomDistort, brightness_range: 0.4, contrast_range: 0.4, saturation_range: 0.4}}
    - {NORMALIZE}
val_dataset:
  transforms:
    - {{type: Resize, target_size: [2048, 512], keep_ratio: True, size_divisor: 32}}
    - {NORMALIZE}
export: {{transforms: [{NORMALIZE}]}}
optimizer: {{_inherited_: False, type: AdamW, weight_decay: 0.01}}
lr_scheduler: {{learning_rate: 0.0012, power: 1.0, warmup_iters: 1500, warmup_start_lr: 1.0e-6}}
"""
MODELS = {
    "base": "num_classes: 150",
    "small": "align_corners: False",
    "tiny": "head_use_dw: True",
}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write the configuration of a size, changed by more YAML; the current directory is empty."""
    (tmp_path / "there/sets").mkdir(parents=True)
    (tmp_path / "there/sets/ade.yml").write_text(DATASET)
    monkeypatch.chdir(tmp_path)

    def write(size: str = "tiny", more: str = "") -> Path:
        backbone = f"type: TopTransformer_{size.title()}, lr_mult: 0.1"
        backbone += f", pretrained: {BACKBONE.format(size)}"
        model = f"model: {{type: TopFormer, {MODELS[size]}, backbone: {{{backbone}}}}}\n"
        (tmp_path / f"there/{size}.yml").write_text(TOPFORMER + model)
        (tmp_path / "there/mine.yml").write_text(f"_base_: {size}.yml\n{more}")
        return tmp_path / ("there/mine.yml" if more else f"there/{size}.yml")

    return write


@pytest.mark.parametrize("size", MODELS)
def test_the_published_configurations_are_the_shipped_recipes(
    size: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    ours = read_recipe(RECIPES / f"topformer_{size}_ade20k.yaml")
    found = read_recipe(make(size))
    assert found.data.root == str(tmp_path / "data/ade")  # from the current directory, as there
    data = dataclasses.replace(found.data, root=ours.data.root)
    assert dataclasses.replace(found, data=data) == ours


def test_every_part_is_told(make: Callable[..., Path]) -> None:
    told: list[str] = []
    read_recipe(make(), report=told.append)
    lines = list(told)
    assert all(line.startswith("tiny.yml: ") for line in lines)
    assert [line.split(" ")[1].rstrip(":") for line in lines] == [
        *("model", "data", "batch_size", "transforms", "optimizer", "lr_scheduler", "loss"),
        *("val_dataset", "export"),
    ]
    assert "batch_size: 4 a GPU -> train.batch_size 16, for the 4 GPUs" in lines[2]
    assert "hue turns by up to 18 / 256" in lines[3]
    read_recipe(RECIPES / "topformer_tiny.yaml", report=told.append)
    assert told == lines


def test_overrides_and_recipes_go_on_top(make: Callable[..., Path], tmp_path: Path) -> None:
    found = read_recipe(make(), ["train.batch_size=6", "data.root=elsewhere", "optim.lr=1e-3"])
    assert (found.train.batch_size, found.optim.lr) == (6, 0.001)
    assert found.data.root == str(tmp_path / "elsewhere")
    child = tmp_path / "child.yaml"
    child.write_text("base: there/tiny.yml\ntrain: {ema: 0.99}\ndata: {root: photos}")
    told: list[str] = []
    assert read_recipe(child, report=told.append).train == dataclasses.replace(
        read_recipe(make()).train, ema=0.99
    )
    assert read_recipe(child).data.root == str(tmp_path / "photos")
    assert told[0].startswith("tiny.yml: ")
    assert read_data(make(), ["val=training"]).val == "training"


def test_bases_merge_as_there(make: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "there/second.yml").write_text("iters: 7\nlr_scheduler: {power: 3, end_lr: 0.5}")
    found = read_recipe(make(more="batch_size: 1"))
    assert found.train.batch_size == 4
    assert found.optim.name == "adamw"  # _inherited_: False leaves SGD's momentum below
    path = make()
    path.write_text(path.read_text().replace("sets/ade.yml", "[sets/ade.yml, second.yml]"))
    both = read_recipe(path)
    assert (both.schedule.power, both.schedule.end_lr) == (1, 0)  # the first of several bases wins
    (tmp_path / "there/sets/ade.yml").write_text("_base_: ../tiny.yml")
    with pytest.raises(InputError, match="_base_: the files inherit from each other in a circle"):
        read_recipe(path)
    path.write_text("_base_: nothing.yml")
    with pytest.raises(InputError, match=r"there/nothing.yml: no such file"):
        read_recipe(path)


def test_only_paddlesegs_own_keys_make_a_configuration() -> None:
    assert is_paddleseg({"_base_": "x.yml", "model": {}})
    assert is_paddleseg({"train_dataset": {}, "iters": 5})
    assert not is_paddleseg({"model": {}, "data": {}, "_base_": "x.yml"})
    assert not is_paddleseg({"train_datset": {}})


def changed(make: Callable[..., Path], more: str) -> Recipe:
    return read_recipe(make(more=more))


def lists(more: str = "") -> str:
    """A data set of list files."""
    part = "_inherited_: False, type: Dataset, dataset_root: data/disc, num_classes: 3" + more
    return f"""
model: {{pretrained: weights/model.pdparams}}
train_dataset: {{{part}, train_path: data/disc/train.txt,
  transforms: [{{type: RandomPaddingCrop, crop_size: [96, 64]}}, {{type: Normalize}}]}}
val_dataset: {{{part}, mode: val, val_path: data/lists/val.txt, train_path: none.txt,
  transforms: [{{type: Normalize}}]}}
"""


def test_lists_of_files(make: Callable[..., Path], tmp_path: Path) -> None:
    found = changed(make, lists(", separator: '\t', ignore_index: 9"))
    assert found.data.layout == "list"
    assert found.data.root == str(tmp_path / "data/disc")
    assert (found.data.train, found.data.val) == ("train.txt", "../lists/val.txt")
    assert found.data.classes == ("class_0", "class_1", "class_2")
    assert found.data.ignore_index == 9
    assert found.model.weights == str(tmp_path / "weights/model.pdparams")
    assert found.train.crop == (64, 96)
    assert found.train.augment == (PadCrop(fill=127),)
    assert found.input.mean == found.input.std == (0.5, 0.5, 0.5)
    assert found.resize == ResizeRule(
        short_side=None, max_long_side=1_000_000, multiple=32, round="up"
    )
    assert found.resize.network_size((5000, 33)) == (5024, 64)
    told: list[str] = []
    read_recipe(make(more=lists()), report=told.append)
    assert "data.classes=[...] names them" in told[1]
    assert "values are rounded down to bytes" in told[3]
    gray = changed(make, lists(", img_channels: 1"))
    assert (gray.model.in_channels, gray.input.mean) == (1, (0.5,))


def test_published_data_sets(make: Callable[..., Path]) -> None:
    both = "train_dataset: {{type: {0}, mode: {1}}}\nval_dataset: {{type: {0}}}"
    voc = changed(make, both.format("PascalVOC", "trainaug")).data
    assert (voc.layout, voc.train, voc.val) == ("voc", "trainaug", "val")
    assert changed(make, both.format("PascalVOC", "train")).data.train == "train"
    streets = changed(make, both.format("Cityscapes", "train")).data
    assert (streets.layout, streets.train, streets.val) == ("cityscapes", None, None)


def test_transforms_and_their_defaults(make: Callable[..., Path]) -> None:
    def augment(*steps: str) -> tuple[Any, ...]:
        more = f"train_dataset: {{transforms: [{', '.join([*steps, NORMALIZE])}]}}"
        return changed(make, more).train.augment

    crop = "{type: RandomPaddingCrop, im_padding_value: [1, 2.5, 3], category_max_ratio: 0.75}"
    assert augment("{type: ResizeStepScaling}", crop, "{type: RandomDistort, hue_prob: 0}") == (
        StepScale(min=0.75, max=1.25, step=0.25),
        PadCrop(fill=(1, 2, 3), category_max_ratio=0.75),
        Distort(brightness=0.5, contrast=0.5, saturation=0.5, hue_prob=0),
    )
    smooth = "{type: ResizeStepScaling, scale_step_size: 0}"
    assert augment(
        smooth, "{type: Resize, target_size: [64, 32]}", "{type: RandomHorizontalFlip, prob: 1}"
    ) == (RandomScale(min=0.75, max=1.25), Resize(size=(32, 64)), Flip(prob=1))
    # 0.7 / 0.2 is no whole number: the steps are cut off and spread over the range.
    uneven = "{type: ResizeStepScaling, min_scale_factor: 0.5, max_scale_factor: 1.2"
    scale = augment(uneven + ", scale_step_size: 0.2}", crop)[0]
    np.testing.assert_allclose(scale.factors(), np.linspace(0.5, 1.2, 4))
    one = augment(uneven + ", scale_step_size: 2}", crop)[0]
    assert one.factors().tolist() == [0.5]


def test_optimizers_and_schedules(make: Callable[..., Path]) -> None:
    plain = "model: {backbone: {lr_mult: 1.0}}\n"
    sgd = "optimizer: {_inherited_: False, type: sgd, momentum: 0.9, weight_decay: 4e-5}"
    assert changed(make, sgd).optim == OptimConfig(
        name="sgd", lr=0.0012, weight_decay=4e-5, backbone_lr_mult=0.1
    )
    nothing = changed(make, "optimizer: {_inherited_: False, type: Momentum}")
    assert (nothing.optim.name, nothing.optim.weight_decay) == ("sgd", 0)
    groups = "[{name: decode_head, lr_mult: 10}, {name: head, lr_mult: 3}]"
    clip = "{name: ClipGradByGlobalNorm, clip_norm: 5}"
    found = changed(
        make,
        f"{plain}optimizer: {{_inherited_: False, type: AdamW, custom_cfg: {groups}, "
        f"grad_clip_cfg: {clip}}}\nlr_scheduler: {{learning_rate: 1e-3, end_lr: 1e-6}}",
    )
    assert found.optim == OptimConfig(lr=0.01, backbone_lr_mult=0.1, clip_norm=5)
    assert found.schedule.warmup_lr == pytest.approx(1e-5)
    assert found.schedule.end_lr == pytest.approx(1e-5)
    silent = "lr_scheduler: {_inherited_: False, type: PolynomialDecay, learning_rate: 0.01}"
    assert changed(make, silent).schedule == ScheduleConfig(end_lr=1e-4)


def test_losses(make: Callable[..., Path]) -> None:
    weights = ", ".join(["2"] * 150)
    more = f"loss: {{types: [{{type: CrossEntropyLoss, weight: [{weights}]}}], coef: [0.5]}}"
    assert changed(make, more).loss == (CrossEntropy(weight=0.5, class_weights=(2.0,) * 150),)
    every = "{type: CrossEntropyLoss, avg_non_ignore: False, ignore_index: 255}"
    mixed = f"{{type: MixedLoss, losses: [{every}, {{type: CrossEntropyLoss}}], coef: [0.8, 0.2]}}"
    assert changed(make, f"loss: {{types: [{mixed}], coef: [2]}}").loss == (
        CrossEntropy(weight=1.6, mean_over="all"),
        CrossEntropy(weight=0.4),
    )
    hard = "type: CrossEntropyLoss, top_k_percent_pixels: 0.2"
    ohem = changed(make, f"loss: {{types: [{{{hard}}}], coef: [1]}}").loss
    assert ohem == (Ohem(fraction=0.2),)
    with pytest.raises(InputError, match=r"weight.*which pixels are hard"):
        changed(make, f"loss: {{types: [{{{hard}, weight: [{weights}]}}], coef: [1]}}")


@pytest.mark.parametrize(
    ("loss", "terms", "note"),
    [
        ("type: OhemCrossEntropyLoss", (Ohem(threshold=0.7, min_kept=2500),), "4 images of a GPU"),
        (
            "type: OhemCrossEntropyLoss, thresh: 0.9, min_kept: 130000, ignore_index: 255",
            (Ohem(threshold=0.9, min_kept=32500),),
            "32500 of each image here",
        ),
        ("type: LovaszSoftmaxLoss, classes: present", (Lovasz(),), "1 x lovasz"),
        ("type: DiceLoss, smooth: 1.0", (Dice(),), "of those in the batch here"),
        ("type: MultiClassFocalLoss, num_class: 150", (Focal(gamma=2),), "1 x focal"),
        (
            "type: MultiClassFocalLoss, num_class: 150, alpha: 0.5, gamma: 3",
            (Focal(weight=0.5, gamma=3),),
            "0.5 x focal",
        ),
        ("type: FocalLoss, alpha: 0.3, gamma: 1", (Focal(weight=0.5, gamma=1),), "two sigmoids"),
        (
            "type: MixedLoss, coef: [0.8, 0.2], losses: [{type: CrossEntropyLoss}, "
            "{type: LovaszSoftmaxLoss}]",
            (CrossEntropy(weight=0.8), Lovasz(weight=0.2)),
            "0.8 x cross_entropy, labelled pixels, 0.2 x lovasz",
        ),
    ],
)
def test_every_loss(make: Callable[..., Path], loss: str, terms: Any, note: str) -> None:
    told: list[str] = []
    path = make("tiny", f"loss: {{types: [{{{loss}}}], coef: [1]}}")
    assert read_recipe(path, report=told.append).loss == terms
    assert note in next(line for line in told if "loss -> " in line)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("type: LovaszSoftmaxLoss, classes: all", "classes: got 'all', topseg has only 'present'"),
        ("type: DiceLoss, weight: [1, 2]", "weight: got .*, topseg has only None"),
        ("type: MultiClassFocalLoss, alpha: [1, 2]", "alpha: got .*, expected a number"),
        ("type: OhemCrossEntropyLoss, ignore_index: 0", "ignore_index: got 0, topseg has only 255"),
        ("type: OhemCrossEntropyLos", "did you mean 'OhemCrossEntropyLoss'"),
        ("type: DiceLoss, power: 2", "power: topseg does not know this setting"),
    ],
)
def test_each_refusal_of_a_loss(make: Callable[..., Path], loss: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"loss.types.0.*{message}"):
        changed(make, f"loss: {{types: [{{{loss}}}], coef: [1]}}")


def test_how_to_evaluate_is_told(make: Callable[..., Path]) -> None:
    told: list[str] = []
    views = "aug_eval: True, flip_horizontal: True, scales: [0.5, 1.0], is_slide: True"
    windows = "crop_size: [1024, 512], stride: [768, 384]"
    read_recipe(make(more=f"test_config: {{{views}, {windows}}}"), report=told.append)
    assert told[8].endswith(
        "topseg evaluate RUN DATA --protocol reference --flip --scales 0.5 1.0 "
        "--slide 512 1024 --stride 384 768"
    )


WRONG = """
batch_size: four
amp: O1
train_dataset:
  edge: True
  transforms:
    - {type: RandomBlur, prob: 1}
    - {type: RandomDistort, sharpness_prob: 0.1}
    - {type: Normalize}
val_dataset:
  dataset_root: other
  transforms:
    - {type: Padding, target_size: [9, 9]}
    - {type: Resize, size_divisor: 8}
    - {type: Normalize, std: [1, 1, 1]}
optimizer:
  _inherited_: False
  type: AdamW
  beta1: 0.8
  custom_cfg: [{name: bias, weight_decay_mult: 0}]
lr_scheduler: {decay_steps: 5, warmup_start_lr: null}
loss: {types: [{type: SemanticConnectivityLoss}], coef: [1, 1]}
model: {num_classes: 19, head_use_dw: False, backbone: {pretrained: https://example.com/a.pdparams}}
test_config: {flip_vertical: True}
"""


def test_what_cannot_be_honoured_is_refused_by_its_key_all_at_once(
    make: Callable[..., Path],
) -> None:
    with pytest.raises(InputError) as caught:
        changed(make, WRONG)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("mine.yml: ") for line in lines)
    assert {line.split(": ")[1] for line in lines} == {
        "batch_size",
        "amp",
        "train_dataset.edge",
        "train_dataset.transforms",
        "train_dataset.transforms.0.type",
        "train_dataset.transforms.1.sharpness_prob",
        "val_dataset.dataset_root",
        "val_dataset.transforms",
        "val_dataset.transforms.0.type",
        "val_dataset.transforms.1.keep_ratio",
        "val_dataset.transforms.1.size_divisor",
        "optimizer.beta1",
        "optimizer.custom_cfg",
        "optimizer.custom_cfg.0.name",
        "optimizer.custom_cfg.0.weight_decay_mult",
        "lr_scheduler.decay_steps",
        "lr_scheduler.warmup_start_lr",
        "loss.types",
        "loss.types.0.type",
        "model.num_classes",
        "model.head_use_dw",
        "model.backbone.pretrained",
        "test_config.flip_vertical",
    }
    assert "mine.yml: model.num_classes: got 19, but ADE20K has 150 classes" in lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("model: {type: PPLiteSeg}", "model.type: got 'PPLiteSeg', which topseg cannot honour"),
        ("model: {backbone: {type: STDC2}}", "backbone.type: got 'STDC2'.* known: TopTransformer_"),
        ("train_dataset: {type: CocoStuff}", "train_dataset.type: got 'CocoStuff'.* known: ADE20K"),
        (
            "val_dataset: {type: Cityscapes}",
            "val_dataset.type: got 'Cityscapes', but train_dataset",
        ),
        ("val_dataset: null", "val_dataset: none given, and topseg evaluates while it trains"),
        ("train_dataset: {mode: test}", "train_dataset.mode: got 'test'"),
        ("train_dataset: 5", "train_dataset: got 5, expected a section"),
        (
            "train_dataset: {transforms: []}",
            "train_dataset.transforms: expected Normalize as the l",
        ),
        ("optimizer: {type: Adam}", "optimizer.type: got 'Adam'.*, did you mean 'AdamW'"),
        (
            "optimizer: {_inherited_: False, type: SGD}",
            "optimizer.momentum: got 0.0, topseg has on",
        ),
        ("lr_scheduler: {type: StepDecay}", "lr_scheduler.type: got 'StepDecay'"),
        ("loss: {coef: one}", "loss.coef: got 'one', expected a list of numbers"),
        ("iters: null", "iters: none given, expected a number"),
        (lists(", separator: ','"), "train_dataset.separator: got ',', topseg has only ' ' or"),
        ("iters: .inf", "iters: got inf, expected a number"),
        ("batch_size: 0", "batch_size: got 0, expected a whole number from 1"),
        ("model: {backbone: {in_channels: 1000000}}", "in_channels: got 1000000, expected a whole"),
        (
            "train_dataset: {dataset_root: 7}\nval_dataset: {dataset_root: 7}",
            "got 7, expected a path",
        ),
        (lists().replace("num_classes: 3", "edge: False"), "train_dataset.num_classes: none given"),
        (
            lists().replace("num_classes: 3", "num_classes: 1000000000"),
            "expected .* from 1 to 65535",
        ),
        (
            lists().replace("val_path: data/lists/val.txt", "val_path: 5"),
            "val_dataset.val_path: got 5, expected a",
        ),
        (
            lists().replace("dataset_root: data/disc, ", ""),
            "train_dataset.dataset_root: none given",
        ),
        (lists().replace("val_path", "test_path"), "val_dataset.val_path: none given"),
    ],
)
def test_each_refusal(make: Callable[..., Path], more: str, message: str) -> None:
    with pytest.raises(InputError, match=f"mine.yml: .*{message}"):
        changed(make, more)


def test_translating_leaves_the_configuration_alone() -> None:
    tree: Tree = yaml.safe_load(DATASET + "model: {type: TopFormer, backbone: {type: X}}")
    before = yaml.safe_dump(tree)
    with pytest.raises(InputError, match="RandomPaddingCrop"):
        translate(tree)
    assert yaml.safe_dump(tree) == before


def test_bases_are_names_of_files_and_not_many(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("train_dataset: {}\n_base_: 5")
    with pytest.raises(InputError, match="_base_: got 5, expected a file name or a list of them"):
        read_recipe(file)
    file.write_text("train_dataset: {}\n_base_: [0.yml, ./0.yml]")
    for number in range(30):  # each twice: 2^30 readings in all
        (tmp_path / f"{number}.yml").write_text(f"_base_: [{number + 1}.yml, ./{number + 1}.yml]")
    (tmp_path / "30.yml").write_text("iters: 1")
    with pytest.raises(InputError, match=r"mine.yml: _base_: more than 64 files"):
        read_recipe(file)
