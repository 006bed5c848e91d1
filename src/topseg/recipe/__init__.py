"""Recipe: everything that decides a training run, in one typed file.

The recipe file is the interface; an override on the command line means the same as the line in the
file. Sections that other parts own (data, transforms, geometry) come from there.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from topseg.bundle.metadata import Architecture, InputConfig
from topseg.core.config import (
    BESIDE,
    STRICT,
    Tree,
    build,
    merge,
    read_inherited,
    to_tree,
)
from topseg.core.errors import InputError, did_you_mean
from topseg.core.geometry import ResizeRule
from topseg.core.paths import ModelPath, anchor, override_anchored
from topseg.core.ranges import Fraction, Natural, Positive
from topseg.core.storage import exists, home, is_dir, is_file
from topseg.core.yaml_reader import parse_yaml
from topseg.data.config import DataConfig
from topseg.data.transforms import AnyTransform, PadCrop
from topseg.interop.paddleseg import is_paddleseg, read_paddleseg
from topseg.losses import AnyLoss, CrossEntropy
from topseg.models import find_variant
from topseg.models.family import Family, Variant
from topseg.recipe.distill import DistillConfig
from topseg.recipe.packaged import RECIPES, find_recipe, start_folder
from topseg.recipe.usual import usual_forms


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network to build; the options of its family stand beside the keys below."""

    name: str = "topformer_tiny"
    """Which network ('topseg models' lists them), or package.module:NAME of your own."""
    num_classes: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Number of classes; null takes it from the data."""
    in_channels: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels of an image (3 = RGB)."""
    options: Any = dataclasses.field(default=None, metadata=BESIDE)
    """What the family has beside the rest, a section of its own type."""
    drop_path: Fraction = 0.0
    """Largest rate of stochastic depth, in the last block; it rises linearly from the first."""
    weights: ModelPath | None = None
    """Weights of a whole model to start from (MODEL or a weight file)."""
    allow_partial: bool = False
    """Take what fits of ``weights`` and leave the rest as it was drawn, such as the class layer for
    another number of classes."""
    backbone_weights: ModelPath | None = None
    """Weights of the backbone alone, such as an ImageNet pre-training."""

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, given: Any) -> Any:
        """Check the keys that are the family's and make its options of them."""
        called = isinstance(given, ArgsKwargs)
        tree = dict(given.kwargs or {}) if called else given
        if not isinstance(tree, dict) or not isinstance(tree.get("name", ""), str):
            return given  # which pydantic explains
        tree = dict(tree)
        family = find_variant(tree.get("name", cls.name), trusted=True).family
        known = [field.name for field in dataclasses.fields(family.options)]
        # An object is handed over where a section is copied; a file has no such key.
        before = tree.pop("options", None) if called else None
        options = {key: tree.pop(key) for key in known if key in tree}
        if isinstance(before, family.options):
            options = to_tree(before) | options
        own = [field.name for field in dataclasses.fields(cls) if field.name != "options"]
        if unknown := [key for key in tree if key not in own]:
            words = (f"{key}: unknown key{did_you_mean(str(key), own + known)}" for key in unknown)
            raise InputError("\n".join(f"model.{line}" for line in words))
        tree["options"] = TypeAdapter(family.options).validate_python(options)
        return ArgsKwargs((), tree) if called else tree

    @property
    def variant(self) -> Variant:
        """The network that the name stands for."""
        return find_variant(self.name, trusted=True)

    def architecture(self, num_classes: int) -> Architecture:
        """Describe the network as a bundle does.

        Args:
            num_classes: K.
        """
        return Architecture(
            name=self.variant.name,
            num_classes=num_classes,
            in_channels=self.in_channels,
            options=to_tree(self.options),
        )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig:
    """The training loop."""

    steps: Natural = 20_000
    """Optimizer steps in all."""
    batch_size: Natural = 16
    """Images per step over all processes together (the global batch)."""
    crop: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (512, 512)
    """Height and width of the training crops, multiples of 32."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Loader processes; the batches are the same whatever the number."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward and backward pass."""
    accumulate: Natural = 1
    """Parts that a step's batch is cut into, to fit memory; the gradient is the whole batch's."""
    ema: Fraction | None = None
    """Decay of the moving average (weights and statistics) that is evaluated; null: none."""
    aux_strides: tuple[Natural, ...] = ()
    """Strides of the network's inner maps that get a head of their own while training, which learns
    by the same loss; TopFormer has 4, 8, 16 and 32. No bundle has them."""
    aux_weight: Positive = 0.4
    """Factor of each such head's loss."""
    compile: bool = False
    """Compile the network (torch.compile); the first step takes a minute or more."""
    deterministic: bool = False
    """Stop at operations whose result may vary from run to run on a GPU, at some cost in speed; on
    a CPU they never vary."""
    log_every: Natural = 10
    """Steps between lines of the log."""
    eval_every: Natural = 1000
    """Steps between evaluations on the val split."""
    save_every: Natural = 1000
    """Steps between checkpoints."""
    early_stop: Natural | None = None
    """Stop after this many evaluations in a row without a better mIoU; null: never."""
    keep: Natural = 3
    """Newest checkpoints to keep (the best is kept apart)."""
    keep_best: Natural = 1
    """Weights of the best evaluations to keep; above 1 also in top/, ready to be averaged."""
    samples: Annotated[int, Field(ge=0)] = 0
    """Validation images to draw at every evaluation into samples/: truth left, prediction right."""
    augment: tuple[AnyTransform, ...] = ()
    """Transforms of a training sample, in order; the crop is 'pad_crop'."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimConfig:
    """The optimizer."""

    name: Literal["adamw", "sgd"] = "adamw"
    """Which optimizer; SGD has momentum 0.9, and its decay is part of the gradient."""
    lr: Positive = 1.2e-3
    """Peak learning rate (of the head, where the backbone has a multiplier)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decay of every parameter, batch norms and biases included as in the reference; AdamW's is
    decoupled."""
    backbone_lr_mult: Positive = 1.0
    """Factor on the backbone's learning rate (0.1 when it starts from a pre-training)."""
    clip_norm: Positive | None = None
    """Largest norm of the whole gradient; null: no clipping."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScheduleConfig:
    """The learning rate as a function of the step."""

    name: Literal["poly", "cosine", "one_cycle"] = "poly"
    """Shape of the decay; one_cycle is cosine after a warm-up that is a cosine too, of usually 30 %
    of the steps."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of warm-up, linear but for one_cycle."""
    warmup_lr: Annotated[float, Field(ge=0)] = 1e-6
    """Learning rate at step 0 of the warm-up."""
    power: Positive = 1.0
    """Exponent of poly."""
    end_lr: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate after the last step."""
    decay_from: Literal["warmup", "start"] = "warmup"
    """Where the decay begins: at the end of the 'warmup' (PaddleSeg), or at the 'start', the
    warm-up being a factor on it (official code)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """A training run, whole."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything random: initial weights, order, crops, colours, dropout."""
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    """The network."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    """The images and masks."""
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    """How pixel values become the network's numbers."""
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    """The loop."""
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    """The optimizer."""
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    """The learning rate over time."""
    loss: Annotated[tuple[AnyLoss, ...], Field(min_length=1)] = (CrossEntropy(),)
    """The terms of the loss, added up."""
    distill: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    """A teacher to learn from as well."""
    resize: ResizeRule = dataclasses.field(default_factory=ResizeRule)
    """How an image becomes the network's input in evaluation and prediction."""

    def __post_init__(self) -> None:
        problems = _check_network(self, self.model.variant.family)
        if self.train.batch_size % self.train.accumulate:
            problems.append(
                f"train.accumulate: {self.train.accumulate} does not divide "
                f"train.batch_size {self.train.batch_size}"
            )
        if len(self.input.mean) != self.model.in_channels:
            problems.append(
                f"input.mean: got {len(self.input.mean)} numbers, expected one for each of "
                f"model.in_channels {self.model.in_channels}; the same for input.std"
            )
        for number, transform in enumerate(self.train.augment):
            fill = transform.fill if isinstance(transform, PadCrop) else 0
            if isinstance(fill, tuple) and len(fill) != self.model.in_channels:
                problems.append(
                    f"train.augment.{number}.pad_crop.fill: got {len(fill)} values, expected one, "
                    f"or one for each of model.in_channels {self.model.in_channels}"
                )
        if self.schedule.warmup_steps >= self.train.steps:
            problems.append(
                f"schedule.warmup_steps: got {self.schedule.warmup_steps}, "
                f"expected fewer than train.steps ({self.train.steps})"
            )
        if self.schedule.name == "one_cycle" and not self.schedule.warmup_steps:
            problems.append(
                "schedule.warmup_steps: got 0, but one_cycle starts with a warm-up; "
                f"30 % of the steps are usual: {max(1, round(0.3 * self.train.steps))}"
            )
        if problems:
            raise InputError("\n".join(dict.fromkeys(problems)))


def _check_network(recipe: Recipe, family: Family) -> list[str]:
    """List what the family of networks cannot do of what is asked for."""
    train, multiple = recipe.train, family.multiple
    problems = []
    if any(side % multiple for side in train.crop):
        problems.append(f"train.crop: got {list(train.crop)}, expected multiples of {multiple}")
    if recipe.resize.multiple % multiple:
        problems.append(
            f"resize.multiple: got {recipe.resize.multiple}, but {family.name} takes multiples "
            f"of {multiple}"
        )
    if strange := [stride for stride in train.aux_strides if stride not in family.aux_strides]:
        expected = f"some of {list(family.aux_strides)}" if family.aux_strides else "none"
        problems.append(
            f"train.aux_strides: got {strange[0]}, expected {expected} for {family.name}"
        )
    if recipe.model.drop_path and family.set_drop_path is None:
        problems.append(
            f"model.drop_path: got {recipe.model.drop_path}, but {family.name} has no stochastic "
            "depth; leave it 0"
        )
    return problems


def read_recipe(
    path: Path, overrides: Sequence[str] = (), *, report: Callable[[str], None] | None = None
) -> Recipe:
    """Read a recipe, its bases and its overrides.

    Args:
        path: A YAML file (a recipe, or a configuration of PaddleSeg, which is translated), or the
            name of a packaged recipe.
        overrides: ``a.b=c`` assignments. A relative path is relative to where it is written: in a
            file to that file's folder (PaddleSeg's and a packaged recipe's: to the current
            directory), in an override to the current directory.
        report: Called with a line for each part of PaddleSeg's configuration that was translated,
            and for each number that was changed.

    Raises:
        InputError: Everything that is wrong, one line each.
    """
    path = find_recipe(path)
    if not path.suffix and not path.exists():
        known = did_you_mean(path.name, RECIPES)
        raise InputError(f"{path}: no such file, and no packaged recipe of that name{known}")
    default = {"data": {"root": str(start_folder(path))}}  # what a root of "." means
    own = read_inherited(path, functools.partial(_anchor, report=report), find_recipe)
    tree = merge(default, own)
    given = [one.partition("=")[0] for one in overrides]
    tree, notes = usual_forms(_with_dataset(tree, overrides), path.name, given)
    if report is not None:
        for line in notes:
            report(f"{path.name}: {line}")
    return build(Recipe, tree, path.name)


_DATA = ("data", "data.root")


def _with_dataset(tree: Tree, overrides: Sequence[str]) -> Tree:
    """Apply overrides; where one gives a root, the ``dataset.yaml`` in it counts.

    ``data=PATH`` and ``data.root=FOLDER`` bring a data set of their own: its ``dataset.yaml``
    stands above the recipe's data section and below the other overrides.
    """
    others = []
    for one in overrides:
        key, _, text = one.partition("=")
        value = parse_yaml(text, f"override '{one}'", texts=True) if key in _DATA else None
        given = Path(os.path.expanduser(value)) if isinstance(value, str) else None
        if given is None:
            others.append(one)
        elif key == "data" and exists(given):
            tree = {**tree, "data": _data_tree(given)}
        elif key == "data.root" and is_file(home(given) / "dataset.yaml"):
            tree = merge(tree, {"data": _data_tree(given)})
        else:
            others.append(one)
    return override_anchored(Recipe, tree, others)


def _data_tree(path: Path) -> Tree:
    """Read the data section of a folder, a ``dataset.yaml`` or a recipe."""
    file = home(path) / "dataset.yaml" if is_dir(path) else path
    if is_dir(path) and not is_file(file):
        return {"root": str(path.resolve())}
    tree = read_inherited(file, _anchor, find_recipe)
    data = tree.get("data", tree)
    return {"root": str(file.resolve().parent), **data} if isinstance(data, dict) else {}


def read_data(path: Path, overrides: Sequence[str] = ()) -> DataConfig:
    """Read DATA: a ``dataset.yaml`` (a recipe's data section alone), a recipe, or a folder.

    Raises:
        InputError: There is no such thing, or what is wrong with it.
    """
    return read_data_recipe(path, overrides).data


def read_data_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read DATA together with how its images are read; where it is no recipe, as RGB.

    Args:
        path: A ``dataset.yaml``, a recipe or a folder.
        overrides: Changes to the data section.

    Raises:
        InputError: There is no such thing, or what is wrong with it.
    """
    if is_dir(path):
        if is_file(home(path) / "dataset.yaml"):
            return read_data_recipe(home(path) / "dataset.yaml", overrides)
        tree, name = {"root": str(path.resolve())}, str(path)
    else:
        tree, name = read_inherited(path, _anchor, find_recipe), path.name
        if "data" in tree:
            return read_recipe(path, [f"data.{item}" for item in overrides])
        tree = {"root": str(path.resolve().parent)} | tree
    return Recipe(data=build(DataConfig, override_anchored(DataConfig, tree, overrides), name))


def _anchor(tree: Tree, path: Path, report: Callable[[str], None] | None = None) -> Tree:
    """Make the paths of one file absolute: a recipe, a data section, or PaddleSeg's."""
    if is_paddleseg(tree):
        tree, notes = read_paddleseg(tree, path)
        if report is not None:
            for line in notes:
                report(f"{path.name}: {line}")
        return anchor(Recipe, tree, Path.cwd())
    return anchor(DataConfig, anchor(Recipe, tree, start_folder(path)), start_folder(path))


def num_classes_of(recipe: Recipe, data_classes: int) -> int:
    """Return the model's class count, from the recipe or else from the data.

    Raises:
        InputError: The two differ.
    """
    wanted: Any = recipe.model.num_classes
    if wanted is not None and wanted != data_classes:
        raise InputError(
            f"model.num_classes: got {wanted}, but the data has {data_classes} classes; "
            "leave it null or correct data.classes"
        )
    return data_classes
