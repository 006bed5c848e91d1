"""Transforms of a PaddleSeg configuration: augmentation, normalisation and resize rule.

Source: PaddleSeg ``transforms/transforms.py`` (version 2.9); sizes there are [width, height], and
what a file leaves out has the default of the class.
"""

from __future__ import annotations

from topseg.core.config import Tree
from topseg.core.geometry import Size
from topseg.interop.sections import Section

NO_LIMIT = 1_000_000
"""A longest side that no image reaches."""


def read_train_transforms(
    train: Section, channels: int, notes: list[str]
) -> tuple[list[Tree], Size, Tree]:
    """Translate ``train_dataset.transforms``.

    Args:
        train: The section of the training data.
        channels: Channels of an image.
        notes: Where lines for the user are added.

    Returns:
        ``train.augment``, ``train.crop`` and ``input`` of a recipe.
    """
    steps, normalize = _split(train, channels)
    said: list[str] = []
    augment = [_TRAIN[kind](step, said) for step in steps if (kind := step.kind(_TRAIN))]
    crop = next((entry["size"] for entry in reversed(augment) if "size" in entry), None)
    if crop is None:
        train.refuse("transforms", "samples need one size, add a RandomPaddingCrop")
    if all(entry["name"] != "distort" for entry in augment):
        said.append("values are rounded down to bytes, and stay floats there")
    notes.append("; ".join(["transforms -> " + ", ".join(e["name"] for e in augment), *said]))
    for entry in augment:
        if entry["name"] == "pad_crop" and entry["size"] == crop:
            del entry["size"]  # train.crop says it
    return augment, crop or (0, 0), normalize


def read_val_transforms(val: Section, channels: int, normalize: Tree, notes: list[str]) -> Tree:
    """Translate ``val_dataset.transforms``.

    Args:
        val: The section of the validation data.
        channels: Channels of an image.
        normalize: How training normalises, which has to be the same.
        notes: Where lines for the user are added.

    Returns:
        ``resize`` of a recipe.
    """
    if not val.given:
        return {}
    steps, own = _split(val, channels)
    if own != normalize:
        val.refuse("transforms", f"Normalize {own} is not that of train_dataset, {normalize}")
    rule = {"short_side": None, "max_long_side": NO_LIMIT, "multiple": 32, "round": "up"}
    words = "every image at its own size, rounded up to multiples of 32 (TopFormer's size)"
    for step in steps:
        if step.kind(["Resize"]) is None:
            continue
        height, width = step.size("target_size", (512, 512))
        step.only("keep_ratio", True, default=False)
        step.only("interp", "LINEAR")
        divisor = step.take("size_divisor")
        if divisor not in (None, 32, 64, 128):
            step.refuse("size_divisor", f"got {divisor!r}, topseg has 32, 64 and 128")
        rule |= {"short_side": min(height, width), "max_long_side": max(height, width)}
        rule["multiple"] = divisor or 32
        words = f"short side {min(height, width)}, long side up to {max(height, width)}, rounded up"
        words += f" to multiples of {rule['multiple']}" + ", which it is not there" * (not divisor)
    notes.append(f"val_dataset -> resize: {words}")
    return rule


def _split(data: Section, channels: int) -> tuple[list[Section], Tree]:
    """Part the last transform, which normalises, from those before it."""
    *steps, last = data.sections("transforms") or [data.section("transforms")]
    if last.take("type") != "Normalize":
        data.refuse("transforms", "expected Normalize as the last of them")
    normalize = {key: last.numbers(key, [0.5]) for key in ("mean", "std")}
    return steps, {k: v * channels if len(v) == 1 else v for k, v in normalize.items()}


def _scale(step: Section, said: list[str]) -> Tree:
    low, high = step.number("min_scale_factor", 0.75), step.number("max_scale_factor", 1.25)
    every = step.number("scale_step_size", 0.25)
    if every == 0:
        return {"name": "random_scale", "min": low, "max": high}
    count = int((high - low) / every + 1)  # cut off, and spread evenly over the range
    if count == 1:
        return {"name": "step_scale", "min": low, "max": low}
    return {"name": "step_scale", "min": low, "max": high, "step": (high - low) / (count - 1)}


def _pad_crop(step: Section, said: list[str]) -> Tree:
    fill = step.take("im_padding_value", 127.5)
    step.only("label_padding_value", 255)
    step.only("ignore_index", 255)
    step.only("loop_times", 10)
    return {
        "name": "pad_crop",
        "size": step.size("crop_size", (512, 512)),
        # RandomDistort cuts off the half of 127.5 there as well
        "fill": [int(value) for value in fill] if isinstance(fill, list) else int(fill),
        "category_max_ratio": step.number("category_max_ratio", 1.0),
    }


def _resize(step: Section, said: list[str]) -> Tree:
    step.only("keep_ratio", False)
    step.only("size_divisor", None)
    step.only("interp", "LINEAR")
    return {"name": "resize", "size": step.size("target_size", (512, 512))}


def _flip(step: Section, said: list[str]) -> Tree:
    return {"name": "flip", "prob": step.number("prob", 0.5)}


def _distort(step: Section, said: list[str]) -> Tree:
    if "hue_range" not in step and "hue_prob" not in step:
        said.append("hue turns by up to 18 / 256 half the time, as the class does unasked")
    step.only("sharpness_prob", 0)
    step.take("sharpness_range")
    entry: Tree = {"name": "distort"}
    for kind, amount in {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 18}.items():
        entry[kind] = step.number(f"{kind}_range", amount)
        entry[f"{kind}_prob"] = step.number(f"{kind}_prob", 0.5)
    return entry


_TRAIN = {
    "ResizeStepScaling": _scale,
    "RandomPaddingCrop": _pad_crop,
    "Resize": _resize,
    "RandomHorizontalFlip": _flip,
    "RandomDistort": _distort,
}
