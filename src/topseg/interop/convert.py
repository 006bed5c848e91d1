"""Convert: a foreign weight file becomes a bundle, and weights become a file for another project.

A bundle made of foreign weights keeps its origin's rules: the options that the weights were trained
with, such as TopFormer's pooling, and the resizing that they were published for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Architecture, Metadata
from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette, standard_set
from topseg.interop.weights import SUFFIXES, Weights, read_weights, write_weights
from topseg.models import families
from topseg.models.family import WeightFiles, recognize


def convert_weights(src: str | Path, dst: str | Path) -> Path:
    """Convert weights between this project and others.

    Args:
        src: A weight file (see ``read_weights``) or a bundle.
        dst: A ``.pdparams``, ``.pth`` or ``.safetensors`` to write, or (a name without a suffix) a
            folder to make a bundle in.

    Returns:
        What was written.

    Raises:
        InputError: The source cannot be read, or is no whole model and a bundle is asked for, or
            the target exists or cannot be written.
    """
    src, dst = Path(src), Path(dst)
    if dst.exists():
        raise InputError(f"{dst}: exists already; choose another name or remove it")
    if dst.suffix:
        write_weights(read_weights(src), dst)
    else:
        make_bundle(src, dst)
    return dst


def make_bundle(src: Path, folder: Path) -> Bundle:
    """Make a bundle of a foreign weight file.

    Args:
        src: A whole model; size, classes and channels are read off its tensors.
        folder: Where to write; it is made.

    Raises:
        InputError: The file cannot be read, or holds a backbone alone or another network.
    """
    suffix = src.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{src}: a bundle is made of a weight file ({', '.join(SUFFIXES)}); a bundle can be "
            "written as one, to a name that ends in .pdparams, .pth or .safetensors"
        )
    weights = read_weights(src)
    files = _files(weights, src)
    origin = files.origins.get(suffix)
    if origin is None:
        raise InputError(f"{src}: expected one of {', '.join(files.origins)} for these weights")
    architecture = describe(weights, files, origin.options, str(src))
    labels = _labels(architecture.num_classes)
    write_weights(weights, folder / WEIGHTS)
    return write_metadata(
        folder,
        Metadata(
            architecture=architecture,
            classes=labels.names,
            palette=labels.palette,
            resize=files.resize,
            origin=f"{origin.project} ({src.name})",
        ),
    )


def describe(
    weights: Weights, files: WeightFiles, options: Mapping[str, Any], where: str
) -> Architecture:
    """Read off a model's tensors what it is.

    Args:
        weights: By published name.
        files: What the family knows of its weights.
        options: That the weights were trained with.
        where: The file, for messages.

    Raises:
        InputError: A tensor that tells is not there, or its shape is of no known network.
    """
    try:
        name, num_classes, in_channels = files.identify({n: w.shape for n, w in weights.items()})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if in_channels != 3:
        raise InputError(
            f"{where}: takes {in_channels} channels, whose mean and deviation a weight file does "
            "not hold; load it with topseg.load_weights into a model of a run or bundle that does"
        )
    return Architecture(
        name=name, num_classes=num_classes, in_channels=in_channels, options=dict(options)
    )


def _files(weights: Weights, src: Path) -> WeightFiles:
    """Return what the family of some weights knows of them."""
    family = recognize(families(), weights)
    if family is None or family.files is None:
        known = ", ".join(one.name for one in families() if one.files)
        raise InputError(f"{src}: not the weights of a network known here ({known})")
    return family.files


def _labels(num_classes: int) -> LabelSet:
    """Weight files carry no names: 150 classes are ADE20K's, others are numbered."""
    if num_classes == 150:
        return standard_set("ade20k")[0]
    names = tuple(f"class_{index}" for index in range(num_classes))
    return LabelSet(names, default_palette(num_classes))
