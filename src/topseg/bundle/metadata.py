"""Metadata: what ``metadata.json`` says of a model, in one typed record.

It travels with the weights, so nobody declares classes, colours or pre-processing a second time.
Schema 2 keeps what only one family of models knows in ``architecture.options``; schema 1, which had
TopFormer's pooling as a field of its own, is still read.
"""

from __future__ import annotations

import functools
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, Tree
from topseg.core.errors import InputError
from topseg.core.geometry import STRIDE, ResizeRule
from topseg.core.labels import LabelSet

SCHEMA_VERSION = 2
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConfig:
    """How pixel values become the network's numbers: ``(value / 255 - mean) / std``."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, of values scaled to 0..1 (ImageNet's by default)."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel, of values scaled to 0..1."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Factor that brings 12- or 16-bit values to 0..255 (255/4095 = 0.0623 for 12 bits); such
    images are refused without it."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise InputError(
                f"input.std: got {len(self.std)} numbers, expected as many as input.mean "
                f"({len(self.mean)}), one per channel"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Architecture:
    """What is needed to build the network."""

    name: str
    """A built-in model, or one that an installed package registers under ``topseg.models``."""
    num_classes: Annotated[int, Field(ge=1, le=65535)]
    """Classes of the logits."""
    in_channels: Annotated[int, Field(ge=1, le=64)]
    """Channels of an image."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the model's family wants to know beside these, checked by the family."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Proof:
    """How far a graph was from the torch model when it was run on its own runtime."""

    runtime: str
    """Runtime and version that ran it."""
    images: int
    """Images compared, over all sizes and batch sizes."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of the inputs."""
    max_abs_difference: float
    """Largest difference of a logit."""
    mask_agreement: float
    """Share of pixels, at the network's size, with the same class."""
    miou_difference: float | None = None
    """mIoU of the graph minus the torch model's, where a data set was given."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Quantization:
    """How an int8 graph was made, and how it compares with the float graph it was made from."""

    calibration_images: int
    """Images that the ranges were taken from."""
    float_layers: tuple[str, ...]
    """Convolutions, products, softmaxes and resizes that are computed in float32 all the same."""
    bytes: int
    """Size of the graph's files."""
    float_bytes: int
    """Size of the float graph's files."""
    network_size: tuple[int, int]
    """(height, width) of the input that both were timed with."""
    network_ms: float
    """Median time of the network in milliseconds, one image, one thread."""
    float_network_ms: float
    """The same of the float graph, run in turn with it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Graph:
    """One exported form of the network."""

    file: str
    """Name of the graph in the folder."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Type that the weights are stored in; arithmetic is float32 but for int8."""
    tail: bool = False
    """Whether the graph itself ends in masks (upsampling and argmax inside)."""
    fixed_size: tuple[int, int] | None = None
    """(height, width) of the only input it takes; null: any multiple of 32."""
    quantization: Quantization | None = None
    """null: not quantised."""
    proof: Proof | None = None
    """null: not verified on this runtime."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Metadata:
    """Everything about a model that is not its weights."""

    schema_version: int = SCHEMA_VERSION
    architecture: Architecture
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    input: InputConfig = field(default_factory=InputConfig)
    input_dtype: Literal["uint8"] = "uint8"
    resize: ResizeRule = field(default_factory=ResizeRule)
    weights: str = WEIGHTS
    """Name of the weight file in the folder."""
    graphs: dict[str, Graph] = field(default_factory=dict)
    """Exported graphs by the runtime that runs them."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file in the folder but this one."""
    license: str | None = None
    notice: str | None = None
    """One line that is shown whenever the model is opened, such as a limit to its use."""
    origin: str = "topseg"
    """Where the weights come from."""
    recipe: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    """Scores measured on the weights, by the name of the data."""

    @functools.cached_property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return LabelSet(self.classes, self.palette)


def upgrade(tree: Tree, where: str) -> Tree:
    """Bring the tree of a ``metadata.json`` to the present schema.

    Args:
        tree: What the file holds.
        where: The file's name, for messages.

    Returns:
        A tree of schema 2, not checked yet.

    Raises:
        InputError: No version or a newer one, or a schema 1 whose model is not described.
    """
    version = tree.get("schema_version")
    if type(version) is not int or not version >= 1:
        raise InputError(f"{where}: schema_version: got {version!r}, expected a whole number")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{where}: schema_version: got {version}, expected up to {SCHEMA_VERSION}; "
            "upgrade topseg to open this bundle"
        )
    if version == SCHEMA_VERSION:
        return tree
    # Schema 1: `model` had TopFormer's pooling beside the rest, and every stride was 8.
    tree = {**tree, "schema_version": SCHEMA_VERSION}
    if (stride := tree.pop("stride", STRIDE)) != STRIDE:
        raise InputError(f"{where}: stride: got {stride!r}, expected {STRIDE}")
    model = tree.pop("model", None)
    if not isinstance(model, dict):
        raise InputError(f"{where}: model: got {model!r}, expected a mapping")
    architecture = {key: value for key, value in model.items() if key != "pool"}
    tree["architecture"] = architecture | {"options": {"pool": model.get("pool", "adaptive")}}
    return tree
