"""PaddleSeg: its YAML configurations, translated to the tree of a recipe.

Decision: a key is honoured, or honoured in another way and that is said, or refused by its name;
none is dropped in silence, and all refusals come at once. Where a file is silent PaddleSeg's own
defaults hold, and those that surprise are said.

Source: PaddleSeg ``cvlibs/config.py``, ``cvlibs/builder.py`` and ``optimizers/optimizer.py``
(version 2.9).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from topseg.bundle.published import PUBLISHED
from topseg.core import plugins
from topseg.core.config import MAX_BASES, Tree, read_yaml
from topseg.core.errors import InputError
from topseg.interop.paddle_losses import read_losses
from topseg.interop.paddle_transforms import read_train_transforms, read_val_transforms
from topseg.interop.sections import Section, agreed
from topseg.models import VARIANTS, find_variant

GPUS = 4
"""PaddleSeg's batch is that of one GPU; its published configurations are written for four."""

MOST_CLASSES, MOST_CHANNELS = 65535, 64
"""What a bundle can say of a network."""

_OWN = {"_base_", "train_dataset"}
_RECIPES = {"base", "data", "train", "optim", "schedule"}


class Translation(NamedTuple):
    """What a configuration became."""

    tree: Tree
    """The tree of a recipe; its paths are relative to the current directory, as they are there."""
    notes: list[str]
    """A line for each part: what it was, what it is, and what is honoured in another way."""


def is_paddleseg(tree: Mapping[str, Any]) -> bool:
    """Return whether a tree is a configuration of PaddleSeg, by its keys."""
    return bool(_OWN & tree.keys()) and not _RECIPES & tree.keys()


def read_paddleseg(tree: Tree, path: Path) -> Translation:
    """Translate a configuration together with the files that its ``_base_`` names.

    Args:
        tree: What the file holds.
        path: The file; bases are relative to it.

    Raises:
        InputError: A base cannot be read, or all keys that cannot be honoured, one line each.
    """
    merged = _with_bases(tree, path, (path.resolve(),), [])
    try:
        return translate(merged)
    except InputError as error:
        lines = str(error).splitlines()
        raise InputError("\n".join(f"{path.name}: {line}" for line in lines)) from None


def translate(config: Tree) -> Translation:
    """Translate a configuration whose bases are merged.

    Raises:
        InputError: All keys that cannot be honoured, one line each.
    """
    # The sections, and what several of them have to agree on.
    top, notes = Section("", config, []), list[str]()
    model, optimizer = top.section("model"), top.section("optimizer")
    backbone = model.section("backbone")
    train, val = top.section("train_dataset"), top.section("val_dataset")
    channels = agreed(
        [(backbone, "in_channels"), (train, "img_channels"), (val, "img_channels")], 3
    )
    channels = backbone.count("in_channels", channels, MOST_CHANNELS)
    # Each part; the notes stand in this order.
    network = _model(model, backbone, notes)
    data = _data(train, val, model, notes)
    loop = _loop(top, notes)
    augment, loop["crop"], normalize = read_train_transforms(train, channels, notes)
    optim, head = _optimizer(optimizer, backbone, notes)
    optim["lr"], schedule = _schedule(top.section("lr_scheduler"), loop["steps"], head, notes)
    images = loop["batch_size"] // GPUS
    loss = read_losses(top.section("loss"), data["ignore_index"], images, notes)
    resize = read_val_transforms(val, channels, normalize, notes)
    _test_config(top.section("test_config"), notes)
    if top.take("export") is not None:
        notes.append("export: not needed, 'topseg export' keeps the model's own resize rule")
    # What nobody took was not understood.
    top.only("to_static_training", False)
    top.close()
    if top.problems:
        raise InputError("\n".join(dict.fromkeys(top.problems)))
    tree = {
        "model": network | {"in_channels": channels},
        "data": data,
        "input": normalize,
        "train": loop | {"augment": augment},
        "optim": optim,
        "schedule": schedule,
        "loss": loss,
        "resize": resize,
    }
    return Translation(tree, notes)


def _with_bases(tree: Tree, path: Path, children: tuple[Path, ...], read: list[Path]) -> Tree:
    """Lay a configuration over its bases; of several bases the first wins, as there.

    Args:
        tree: What the file holds.
        path: The file.
        children: It, and the files that inherit from it.
        read: Every base that was read so far, as often as it was read.
    """
    bases = tree.get("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: _base_: got {bases!r}, expected a file name or a list of them")
    tree = {key: value for key, value in tree.items() if key != "_base_"}
    for name in bases:
        base = (path.parent / name).resolve()
        if base in children:
            raise InputError(f"{path}: _base_: the files inherit from each other in a circle")
        read.append(base)
        if len(read) > MAX_BASES:
            raise InputError(
                f"{children[0]}: _base_: more than {MAX_BASES} files; inherit from fewer"
            )
        tree = _merge(_with_bases(read_yaml(base), base, (*children, base), read), tree)
    return tree


def _merge(below: Tree, above: Tree) -> Tree:
    """Merge mappings key by key, unless the upper one says ``_inherited_: False``."""
    if not above.get("_inherited_", True):
        return {key: value for key, value in above.items() if key != "_inherited_"}
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


_NAMES = {one.url: one.name for one in PUBLISHED.values()}


def _model(model: Section, backbone: Section, notes: list[str]) -> Tree:
    """Translate the network: whichever knows what PaddleSeg calls it."""
    known = [
        (variant, variant.paddleseg)
        for variant in map(find_variant, plugins.known("models", VARIANTS))
        if variant.paddleseg is not None
    ]
    kind = model.kind({there.model for _, there in known})
    size = backbone.kind([there.backbone for _, there in known if kind in (None, there.model)])
    found = next((one for one in known if one[1].backbone == size), None)
    for key in {key for _, there in known for key in there.switches}:
        values = [found[1].switches[key]] if found else [False, True]
        model.only(key, *values, default=False, why=f"as {size} has it")
    tree = {"weights": _weights(model), "backbone_weights": _weights(backbone)}
    start = tree["weights"] or tree["backbone_weights"] or "random weights"
    if found is None:
        return tree
    variant, _ = found
    options = variant.family.options_of("PaddleSeg")
    told = "".join(f", {key} {value} as there" for key, value in options.items())
    notes.append(f"model: {size} -> {variant.name}{told}, from {start}")
    return {"name": variant.name, **options, **tree}


def _weights(section: Section) -> Any:
    """Take the weights to start from; a published file's address becomes its name."""
    value = section.take("pretrained")
    if isinstance(value, str) and "://" in value and value not in _NAMES:
        section.refuse(
            "pretrained", f"got {value}, no address of published weights; download it, give a path"
        )
    return _NAMES.get(str(value), value)


_LAYOUTS: dict[str, tuple[str, int, dict[str, str]]] = {
    "ADE20K": ("ade20k", 150, {"train": "training", "val": "validation"}),
    "Cityscapes": ("cityscapes", 19, {"train": "train", "val": "val"}),
    "PascalVOC": ("voc", 21, {mode: mode for mode in ("train", "trainaug", "trainval", "val")}),
}
_LISTS = ("Dataset", "SegDataset")


def _data(train: Section, val: Section, model: Section, notes: list[str]) -> Tree:
    kind = train.choose("type", [*_LAYOUTS, *_LISTS])
    other = val.take("type")
    if not val.given:
        val.problems.append("val_dataset: none given, and topseg evaluates while it trains")
    elif kind is not None and other != kind:
        val.refuse("type", f"got {other!r}, but train_dataset.type is {kind!r}; make them equal")
    root = agreed([(train, "dataset_root"), (val, "dataset_root")], None)
    if not isinstance(root, str | None):
        train.refuse("dataset_root", f"got {root!r}, expected a path")
        root = None
    ignore = agreed([(train, "ignore_index"), (val, "ignore_index")], 255)
    classes = agreed([(part, "num_classes") for part in (model, train, val)], None)
    for split in (train, val):
        split.only("edge", False)
    tree: Tree = {"ignore_index": ignore} | ({} if root is None else {"root": root})
    if kind is None:  # the other keys' meaning hangs on it
        for key in ("mode", "separator", "train_path", "val_path", "test_path"):
            train.take(key), val.take(key)
        return tree
    where = f"{root} from the current directory" if root else "no folder given: data.root=PATH"
    if kind in _LAYOUTS:
        tree["layout"], own, splits = _LAYOUTS[kind]
        if classes not in (None, own):
            model.refuse("num_classes", f"got {classes}, but {kind} has {own} classes")
        for key, split in (("train", train), ("val", val)):
            mode = split.choose("mode", splits, "train") or key
            # Null is the same split, but for VOC: there it would prefer trainaug.
            tree[key] = None if mode == key and kind != "PascalVOC" else splits.get(mode)
        notes.append(f"data: {kind} -> layout {tree['layout']}, {where}")
        return tree
    tree["layout"], tree["train"], tree["val"] = "list", _list(train, root), _list(val, root)
    count = train.count("num_classes", classes, MOST_CLASSES)
    tree["classes"] = [f"class_{index}" for index in range(count)]
    notes.append(
        f"data: {kind} -> layout list, {where}; the file names no classes, so they are class_0 "
        "and so on: data.classes=[...] names them"
    )
    return tree


def _list(split: Section, root: str | None) -> str | None:
    """Take the list file of a split, as a path relative to the data's root."""
    split.only("separator", " ", "\t", why="white space")
    mode = split.choose("mode", ("train", "val", "test"), "train")
    paths = {name: split.take(f"{name}_path") for name in ("train", "val", "test")}
    path = paths.get(mode or "")
    if path is not None and not (isinstance(path, str) and path):
        split.refuse(f"{mode}_path", f"got {path!r}, expected a path")
        return None
    for key, value in (("dataset_root", root), (f"{mode}_path", path)):
        if value is None and split.given:
            split.refuse(key, "none given, expected a path from the current directory")
    return None if path is None or root is None else os.path.relpath(path, root)


def _loop(top: Section, notes: list[str]) -> Tree:
    batch = top.count("batch_size", top.number("batch_size"), 2**31)
    notes.append(
        f"batch_size: {batch} a GPU -> train.batch_size {batch * GPUS}, for the {GPUS} GPUs that "
        "PaddleSeg's configurations are written for; there the number of processes multiplies it, "
        "here nothing does: train.batch_size=N sets another total, train.accumulate=N cuts it "
        "into N parts to fit the memory"
    )
    # The rest is said to tools/train.py there and not in the file; these are its defaults, but for
    # the loader's processes, of which it has none.
    every = {"log_every": 10, "eval_every": 1000, "save_every": 1000, "keep": 5, "workers": 4}
    return {"steps": top.number("iters"), "batch_size": batch * GPUS} | every


def _optimizer(optimizer: Section, backbone: Section, notes: list[str]) -> tuple[Tree, float]:
    """Translate the optimizer; return the head's factor on the learning rate as well."""
    kind = optimizer.kind(_OPTIMIZERS)
    name, decay = _OPTIMIZERS.get(kind or "", ("", 0.0))
    for key, value in _FIXED.get(name, {}).items():
        plain = key == "momentum" and kind != "Momentum"  # SGD without a momentum has none
        optimizer.only(key, value, default=0.0 if plain else value)
    decay = optimizer.number("weight_decay", decay)
    clip = optimizer.section("grad_clip_cfg")
    if clip.given:
        clip.choose("name", ["ClipGradByGlobalNorm"])
    factors = {"backbone": backbone.number("lr_mult", 1.0), "head": 1.0}
    groups = optimizer.sections("custom_cfg")
    if groups and factors["backbone"] != 1:
        optimizer.refuse("custom_cfg", "give this or model.backbone.lr_mult, not both")
    for group in reversed(groups):  # the first that fits counts
        part = group.choose("name", ("backbone", "head", "decode_head")) or "head"
        factors[part.removeprefix("decode_")] = factor = group.number("lr_mult", 1.0)
        if factor <= 0:
            group.refuse("lr_mult", f"got {factor:g}, expected above 0: topseg freezes nothing")
        group.only("weight_decay_mult", 1.0, why="all parameters decay alike")
    head = max(factors["head"], 1e-9)
    mult = factors["backbone"] / head
    notes.append(
        f"optimizer: {kind} -> {name}, weight decay {decay:g} on all parameters, the backbone's "
        f"learning rate times {mult:g}"
    )
    norm = clip.number("clip_norm") if clip.given else None
    return {"name": name, "weight_decay": decay, "backbone_lr_mult": mult, "clip_norm": norm}, head


_OPTIMIZERS = {
    "AdamW": ("adamw", 0.01),
    "SGD": ("sgd", 0.0),
    "sgd": ("sgd", 0.0),
    "Momentum": ("sgd", 0.0),
}
"""Type -> the optimizer of a recipe, and the weight decay of a file that gives none."""
_FIXED: dict[str, Tree] = {
    "adamw": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "lazy_mode": False},
    "sgd": {"momentum": 0.9, "use_nesterov": False},
}


def _schedule(
    scheduler: Section, steps: float, factor: float, notes: list[str]
) -> tuple[float, Tree]:
    """Translate the schedule; return the peak and the section, both for the head."""
    if scheduler.kind(["PolynomialDecay"]) is None:
        return 0, {}
    warmup = scheduler.number("warmup_iters", 0)
    scheduler.only("decay_steps", steps - warmup, why="iters without warmup_iters")
    scheduler.only("cycle", False)
    silent = "; end_lr 0.0001, for the file is silent" * ("end_lr" not in scheduler)
    lr = scheduler.number("learning_rate") * factor
    notes.append(f"lr_scheduler -> poly, {lr:g} after {warmup:g} steps of warm-up{silent}")
    start = scheduler.number("warmup_start_lr", None if warmup else 1e-6)
    return lr, {
        "name": "poly",
        "warmup_steps": warmup,
        "warmup_lr": start * factor if warmup else start,
        "power": scheduler.number("power", 1.0),
        "end_lr": scheduler.number("end_lr", 1e-4) * factor,
        "decay_from": "warmup",
    }


def _test_config(test: Section, notes: list[str]) -> None:
    """Return how to evaluate by the views that PaddleSeg takes from the file."""
    for key in ("flip_vertical", "use_multilabel", "auc_roc"):
        test.only(key, False)
    augmented, flip, slide = (test.take(k) for k in ("aug_eval", "flip_horizontal", "is_slide"))
    scales = test.take("scales", 1.0)
    windows = [test.size(key, (0, 0)) for key in ("crop_size", "stride")]
    options = ["--flip"] if augmented and flip else []
    if augmented and scales not in (1, [1]):
        options += ["--scales", *map(str, scales if isinstance(scales, list) else [scales])]
    if slide:
        (height, width), (down, right) = windows
        options.append(f"--slide {height} {width} --stride {down} {right}")
    if options:
        notes.append(
            "test_config: training evaluates whole images, once; for the rest: topseg evaluate "
            f"RUN DATA --protocol reference {' '.join(options)}"
        )
