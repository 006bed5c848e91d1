"""Convert: a foreign weight file becomes a bundle, and weights become a file for another project.

A bundle made of foreign weights keeps its origin's rules: the pooling that the weights were trained
with and the reference's resizing, a multiple of 32 rounded up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from topseg.bundle.bundle import WEIGHTS, Architecture, Bundle, Metadata, write_metadata
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.core.labels import LabelSet, default_palette, standard_set
from topseg.interop.weights import Weights, read_weights, write_weights

QUERY = "backbone.trans.transformer_blocks.0.attn.to_q.c.weight"
STEM = "backbone.tpm.stem.0.c.weight"
CLASSES = "decode_head.conv_seg.weight"

WIDTHS = {384: "topformer_base", 296: "topformer_small", 208: "topformer_tiny"}
"""The transformer's width tells the three sizes apart."""

ORIGINS: dict[str, tuple[str, Literal["adaptive", "fixed"]]] = {
    ".pdparams": ("PaddleSeg", "fixed"),
    ".zip": ("PaddleSeg", "fixed"),
    ".pth": ("hustvl/TopFormer", "adaptive"),
    ".pt": ("hustvl/TopFormer", "adaptive"),
    ".safetensors": ("topseg", "adaptive"),
}
"""Kind of file -> the project it comes from and that project's pooling."""


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
    if src.suffix.lower() not in ORIGINS:
        raise InputError(
            f"{src}: a bundle is made of a weight file ({', '.join(ORIGINS)}); a bundle can be "
            "written as one, to a name that ends in .pdparams, .pth or .safetensors"
        )
    weights = read_weights(src)
    origin, pool = ORIGINS[src.suffix.lower()]
    architecture = describe(weights, pool, str(src))
    labels = _labels(architecture.num_classes)
    write_weights(weights, folder / WEIGHTS)
    return write_metadata(
        folder,
        Metadata(
            model=architecture,
            classes=labels.names,
            palette=labels.palette,
            resize=ResizeRule(short_side=512, max_long_side=2048, multiple=32, round="up"),
            origin=f"{origin} ({src.name})",
        ),
    )


def describe(weights: Weights, pool: Literal["adaptive", "fixed"], where: str) -> Architecture:
    """Read off a model's tensors what it is.

    Raises:
        InputError: A tensor that tells is not there, or its shape is of no known network.
    """
    if CLASSES not in weights:
        raise InputError(
            f"{where}: holds a backbone without its head, so it cannot predict; train from it with "
            "model.backbone_weights in a recipe"
        )
    query, stem = weights.get(QUERY), weights.get(STEM)
    width = query.shape[1] if query is not None and query.ndim == 4 else None
    if stem is None or stem.ndim != 4 or width not in WIDTHS:
        raise InputError(
            f"{where}: not a TopFormer Base, Small or Tiny (transformer width {width})"
        )
    if stem.shape[1] != 3:
        raise InputError(
            f"{where}: takes {stem.shape[1]} channels, whose mean and deviation a weight file does "
            "not tell; load it with topseg.load_weights into a model of a run or bundle that does"
        )
    return Architecture(
        name=WIDTHS[width], num_classes=weights[CLASSES].shape[0], in_channels=3, pool=pool
    )


def _labels(num_classes: int) -> LabelSet:
    """Weight files carry no names: 150 classes are ADE20K's, others are numbered."""
    if num_classes == 150:
        return standard_set("ade20k")[0]
    names = tuple(f"class_{index}" for index in range(num_classes))
    return LabelSet(names, default_palette(num_classes))
