"""Bundle: a folder that holds a model and all that is needed to use it rightly.

``metadata.json`` travels with the weights, so nobody declares classes, colours or pre-processing a
second time. Every file is listed with its SHA-256 and checked before use.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, build, to_tree
from topseg.core.errors import InputError
from topseg.core.files import read_json, sha256, write_json
from topseg.core.geometry import STRIDE, ResizeRule
from topseg.core.labels import LabelSet

SCHEMA_VERSION = 1
METADATA = "metadata.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputConfig:
    """How pixel values become the network's numbers: ``(value / 255 - mean) / std``."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """One mean a channel, of values scaled to 0..1 (ImageNet's by default)."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.229, 0.224, 0.225)
    """One standard deviation a channel, of values scaled to 0..1."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Factor that brings 12- or 16-bit values to 0..255 (255/4095 = 0.0623 for 12 bits); such
    images are refused without it."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise InputError(
                f"input.std: got {len(self.std)} numbers, expected as many as input.mean "
                f"({len(self.mean)}), one a channel"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Architecture:
    """What ``create_model`` needs to build the network."""

    name: str
    num_classes: int
    in_channels: int
    pool: Literal["adaptive", "fixed"]


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
    """How a graph of int8 was made, and what it is beside the float graph it was made from."""

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
    model: Architecture
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    input: InputConfig = field(default_factory=InputConfig)
    input_dtype: Literal["uint8"] = "uint8"
    resize: ResizeRule = field(default_factory=ResizeRule)
    stride: Literal[8] = STRIDE
    weights: str = WEIGHTS
    """Name of the weight file in the folder."""
    graphs: dict[str, Graph] = field(default_factory=dict)
    """Exported graphs by the runtime that runs them."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every file in the folder but this one."""
    license: str | None = None
    notice: str | None = None
    """One line that is said whenever the model is opened, such as a limit to its use."""
    origin: str = "topseg"
    """Where the weights come from."""
    recipe: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    """Scores measured on the weights, by the name of the data."""

    @functools.cached_property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return LabelSet(self.classes, self.palette)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A model in a folder."""

    folder: Path
    metadata: Metadata

    @property
    def weights(self) -> Path:
        """The weight file."""
        return self.folder / self.metadata.weights


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle and check every file in it.

    Raises:
        InputError: No metadata, a newer schema, a missing file, or bytes that changed.
    """
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"{folder}: no {METADATA} in this folder; it is no bundle")
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: got a {type(tree).__name__}, expected a mapping")
    version = tree.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version {version!r} is not known here (up to {SCHEMA_VERSION}); "
            "upgrade topseg"
        )
    metadata = build(Metadata, tree, str(path))
    for name, digest in metadata.files.items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: missing, though {METADATA} lists it; get the bundle again")
        if sha256(file) != digest:
            raise InputError(
                f"{file}: its bytes changed since {METADATA} was written (SHA-256 differs); "
                "get the bundle again"
            )
    if metadata.weights not in metadata.files:
        raise InputError(f"{path}: files does not list the weights '{metadata.weights}'")
    return Bundle(folder, metadata)


def graph_bytes(graph: Path) -> int:
    """Give the size of a graph: a file, two with the weights apart (OpenVINO, ncnn), or a folder.

    Args:
        graph: The graph in its bundle.

    Returns:
        Bytes.
    """
    parts = graph.rglob("*") if graph.is_dir() else (graph, graph.with_suffix(".bin"))
    return sum(part.stat().st_size for part in parts if part.is_file())


def write_metadata(folder: Path, metadata: Metadata) -> Bundle:
    """Hash every file in a folder and write its ``metadata.json``, which makes it a bundle.

    Args:
        folder: Holds at least the weight file.
        metadata: What to write; ``files`` is filled in here.
    """
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = sorted(name for name in files if name != METADATA)
    hashed = {name: sha256(folder / name) for name in names}
    metadata = dataclasses.replace(metadata, files=hashed)
    write_json(folder / METADATA, to_tree(metadata))
    return Bundle(folder, metadata)
