"""Metadata: what ``metadata.json`` says of a model, in one typed record.

It travels with the weights, so nobody declares classes, colours or pre-processing a second time.
Schema 2 keeps what only one family of models knows in ``architecture.options``; schema 1, which had
TopFormer's pooling as a field of its own, is still read. A bundle may come from anybody, so every
value has a bound, names of files are plain, and what is shown to people is one printable line.
"""

from __future__ import annotations

import functools
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, FailFast, Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, Tree
from topseg.core.errors import InputError, shorten
from topseg.core.geometry import STRIDE, ResizeRule
from topseg.core.labels import LabelSet

SCHEMA_VERSION = 2
METADATA = "metadata.json"
WEIGHTS = "weights.safetensors"


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected one line of printable text")
    return text


def _plain_name(name: str) -> str:
    """Check that a name leads to a file below the bundle's folder and not out of it."""
    parts = name.split("/")
    plain = all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in parts)
    if not plain or not name.isprintable() or set(name) & set("\\:") or name == METADATA:
        raise ValueError("expected the plain name of a file below the bundle's folder")
    return name


Line = Annotated[str, Field(max_length=1000), AfterValidator(_line)]
"""Text that people are shown."""
FileName = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_plain_name)]
"""Name of a file in the bundle, ``/`` between folders."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Byte = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1, le=65536)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConfig:
    """How pixel values become the network's numbers: ``(value / 255 - mean) / std``."""

    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)] = (0.485, 0.456, 0.406)
    """Mean of each channel, of values scaled to 0..1 (ImageNet's by default)."""
    std: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=64)
    ] = (0.229, 0.224, 0.225)
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

    name: Line
    """A built-in model, or one that an installed package registers under ``topseg.models``."""
    num_classes: Annotated[int, Field(ge=1, le=65535)]
    """Classes of the logits."""
    in_channels: Annotated[int, Field(ge=1, le=64)]
    """Channels of an image."""
    options: Annotated[dict[Line, Any], Field(max_length=64)] = field(default_factory=dict)
    """What the model's family wants to know beside these, checked by the family."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Proof:
    """How far a graph was from the torch model when it was run on its own runtime."""

    runtime: Line
    """Runtime and version that ran it."""
    images: Count
    """Images compared, over all sizes and batch sizes."""
    sizes: Annotated[tuple[tuple[Side, Side], ...], Field(max_length=1000)]
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

    calibration_images: Count
    """Images that the ranges were taken from."""
    float_layers: Annotated[tuple[Line, ...], Field(max_length=10_000)]
    """Convolutions, products, softmaxes and resizes that are computed in float32 all the same."""
    bytes: Count
    """Size of the graph's files."""
    float_bytes: Count
    """Size of the float graph's files."""
    network_size: tuple[Side, Side]
    """(height, width) of the input that both were timed with."""
    network_ms: float
    """Median time of the network in milliseconds, one image, one thread."""
    float_network_ms: float
    """The same of the float graph, run in turn with it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Graph:
    """One exported form of the network."""

    file: FileName
    """Name of the graph in the folder."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Type that the weights are stored in; arithmetic is float32 but for int8."""
    tail: bool = False
    """Whether the graph itself ends in masks (upsampling and argmax inside)."""
    fixed_size: tuple[Side, Side] | None = None
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
    classes: Annotated[tuple[Line, ...], Field(min_length=1, max_length=65535), FailFast()]
    palette: Annotated[
        tuple[tuple[Byte, Byte, Byte], ...], Field(min_length=1, max_length=65535), FailFast()
    ]
    input: InputConfig = field(default_factory=InputConfig)
    input_dtype: Literal["uint8"] = "uint8"
    resize: ResizeRule = field(default_factory=ResizeRule)
    weights: FileName = WEIGHTS
    """Name of the weight file in the folder."""
    graphs: Annotated[dict[Line, Graph], Field(max_length=64)] = field(default_factory=dict)
    """Exported graphs by the runtime that runs them."""
    files: Annotated[dict[FileName, Digest], Field(max_length=10_000)] = field(default_factory=dict)
    """SHA-256 of every file in the folder but this one."""
    license: Line | None = None
    notice: Line | None = None
    """One line that is shown whenever the model is opened, such as a limit to its use."""
    origin: Line = "topseg"
    """Where the weights come from."""
    recipe: dict[str, Any] | None = None
    metrics: dict[Line, dict[str, Any]] = field(default_factory=dict)
    """Scores measured on the weights, by the name of the data."""

    def __post_init__(self) -> None:
        network = self.architecture
        problems = [
            f"{key}: got {got}, expected one for each of architecture.{what} {expected}"
            for key, got, what, expected in (
                ("classes", len(self.classes), "num_classes", network.num_classes),
                ("palette", len(self.palette), "num_classes", network.num_classes),
                ("input.mean", len(self.input.mean), "in_channels", network.in_channels),
            )
            if got != expected
        ]
        if problems:
            raise InputError("\n".join(problems))

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
        raise InputError(
            f"{where}: schema_version: got {shorten(version)}, expected a whole number"
        )
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
        raise InputError(f"{where}: stride: got {shorten(stride)}, expected {STRIDE}")
    model = tree.pop("model", None)
    if not isinstance(model, dict):
        raise InputError(f"{where}: model: got {shorten(model)}, expected a mapping")
    architecture = {key: value for key, value in model.items() if key != "pool"}
    tree["architecture"] = architecture | {"options": {"pool": model.get("pool", "adaptive")}}
    return tree
