"""Family: the record by which the rest of topseg knows a kind of network.

A family is networks of one design in several sizes; each size is a variant, the thing that a recipe
or a bundle names. Every network of every family keeps one contract: normalised floats
``(B, C, H, W)``, H and W multiples of 32, become logits ``(B, K, H/8, W/8)``, and the parameters
that a pre-training covers are named ``backbone.*``. All else is an optional part of the record or
of the network, and what a family does not have is refused by name where it is asked for.

Needs no torch: a recipe is read on machines without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic.dataclasses import dataclass as section

from topseg.core.config import STRICT, build
from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule, Size
from topseg.core.installing import pip_install

if TYPE_CHECKING:
    from torch import Tensor, nn

BACKBONE = "backbone."
"""Prefix of the parameters that a pre-training covers, in every family."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor by its name."""


@section(frozen=True, kw_only=True, config=STRICT)
class NoOptions:
    """The options of a family that has none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Family:
    """Networks of one design in several sizes."""

    name: str
    """As its paper writes it."""
    paper: str
    """Address of the paper or the source."""
    build: Callable[[Any, int, int, Any], nn.Module]
    """(config of the variant, num_classes, in_channels, options) -> a network with fresh weights,
    drawn from torch's global generator."""
    options: type[Any] = NoOptions
    """Typed section (a frozen pydantic dataclass with ``STRICT``) of what a bundle has to keep
    beside name, classes and channels; its fields are keys of a recipe's ``model:``."""
    multiple: int = 32
    """Sides of a training crop are multiples of this many pixels."""
    aux_strides: tuple[int, ...] = ()
    """Strides of the maps that can have an auxiliary head; the network is a ``FeatureNetwork``."""
    set_drop_path: Callable[[nn.Module, float], None] | None = None
    """Set the largest rate of stochastic depth of a network; None: it has no such thing."""
    check_training: Callable[[Any, Size, int], None] | None = None
    """(options, crop, images of a part of the batch): raise InputError where it cannot train."""
    attention: str | None = None
    """Path of the module whose matrix products count in the network's cost."""
    files: WeightFiles | None = None
    """Its weights in the files of other projects; None: only its own names are known."""

    def options_of(self, project: str) -> Mapping[str, Any]:
        """Return the options that another project trains its networks with."""
        origins = self.files.origins.values() if self.files else ()
        return next((origin.options for origin in origins if origin.project == project), {})


@dataclass(frozen=True, kw_only=True)
class PaddleName:
    """How a configuration of PaddleSeg names a network."""

    model: str
    """The type of its ``model:``."""
    backbone: str
    """The type of the backbone in it."""
    switches: Mapping[str, bool] = field(default_factory=dict)
    """Keys of ``model:`` and what each has to be; those that a file leaves out are off."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Variant:
    """One size of a family: what a recipe or a bundle names."""

    name: str
    """Its name in recipes and bundles."""
    family: Family
    config: Any = None
    """What tells it from the other sizes, for ``Family.build``."""
    parameters: int = 0
    """Trainable parameters at 150 classes and three channels."""
    macs: int = 0
    """Multiply-accumulates of convolutions and attention products for one 512x512 image."""
    paddleseg: PaddleName | None = None
    """What PaddleSeg calls it; None: it has no such network."""

    def options(self, given: Mapping[str, Any], where: str) -> Any:
        """Check the options of a network and fill in those that are not given.

        Args:
            given: Values by name.
            where: Put before each problem.

        Raises:
            InputError: An unknown option, or a value that it cannot have.
        """
        return build(self.family.options, given, where)

    def build(
        self, num_classes: int, in_channels: int, options: Mapping[str, Any], where: str = ""
    ) -> nn.Module:
        """Build the network with fresh weights.

        Args:
            num_classes: K.
            in_channels: C.
            options: Of the family, by name.
            where: Put before each problem of the options; nothing: the name.

        Raises:
            InputError: Options that the family does not have, or PyTorch is not installed.
        """
        checked = self.options(options, where or self.name)
        try:
            return self.family.build(self.config, num_classes, in_channels, checked)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise InputError(
                "PyTorch is not installed, and building a network needs it; "
                f"{pip_install('topseg[train]')}"
            ) from None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A project that publishes weights of a family."""

    project: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that its weights were trained with."""


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """How the tensors of a family are found in the files of other projects."""

    prefixes: tuple[str, ...]
    """Every published name starts with one of these."""
    marker: str
    """A file with a name that starts with this holds weights of the family."""
    rename: Callable[[str], str]
    """A name in a file (PyTorch's spelling) -> the published name."""
    identify: Callable[[Shapes], tuple[str, int, int]]
    """Shapes by published name -> variant, classes and channels; raise InputError where they are of
    no variant, or of a backbone alone."""
    place: Callable[[str], Any]
    """Sort key that puts published names in the order in which the network is built."""
    origins: Mapping[str, Origin]
    """Suffix of a file -> the project that writes such files."""
    resize: ResizeRule
    """How those projects resize images in evaluation."""


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network in two parts, whose maps between them can have auxiliary heads."""

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Return maps by stride: (B, C, H, W) -> {stride: (B, width, H/stride, W/stride)}."""
        ...

    def decode(self, features: dict[int, Tensor]) -> Tensor:
        """Return the logits of the maps; ``decode(features(x))`` is the network itself."""
        ...

    def auxiliary_head(self, stride: int, num_classes: int) -> nn.Module:
        """Build a head that classifies the map of one stride by itself."""
        ...


@runtime_checkable
class ContextNetwork(Protocol):
    """A network that sees an image as a whole only by a grid of tokens.

    So an image too large for it passes in two rounds: the tokens of all tiles are attended to
    together, and then each tile is decoded with the part that lies in it.
    """

    token_stride: int
    """A token stands for this many pixels in height and width."""

    def tokens(self, images: Tensor) -> Tensor:
        """Return the tokens: (B, C, H, W) -> (B, width, H/token_stride, W/token_stride)."""
        ...

    def attend(self, tokens: Tensor) -> Tensor:
        """Return what the tokens make of each other; memory grows linearly with their number."""
        ...

    def decode_with(self, images: Tensor, context: Tensor) -> Tensor:
        """Return logits of images whose tokens became ``context``."""
        ...


def recognize(families: Iterable[Family], names: Collection[str]) -> Family | None:
    """Find the family whose weights a file holds.

    Args:
        families: All there are.
        names: Of the file's tensors, in PyTorch's spelling.
    """
    for family in families:
        files = family.files
        if files and any(files.rename(name).startswith(files.marker) for name in names):
            return family
    return None
