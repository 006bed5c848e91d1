"""Moved: modules of version 0.1 under their former names, for code that still imports them.

``import topseg`` installs the finder; a former name gives the very module of today and a
DeprecationWarning. Names that became packages (``topseg.bundle``, ``topseg.evaluation``) are not
among them.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "benchmark": "evaluation.benchmark",
    "card": "bundle.card",
    "checking": "data.checking",
    "config": "core.config",
    "data.ade20k": "data.layouts.ade20k",
    "data.camvid": "data.layouts.camvid",
    "data.cityscapes": "data.layouts.cityscapes",
    "data.colors": "data.transforms.colors",
    "data.folder": "data.layouts.folder",
    "data.lists": "data.layouts.lists",
    "data.pairs": "data.layouts.pairs",
    "data.scenes": "synthetic.scenes",
    "data.voc": "data.layouts.voc",
    "downloads": "bundle.downloads",
    "drawing": "media.drawing",
    "errors": "core.errors",
    "files": "core.files",
    "geometry": "core.geometry",
    "hub": "inference.hub",
    "images": "media.images",
    "labels": "core.labels",
    "lean": "losses.lean",
    "models.pooling": "models.topformer.pooling",
    "predict": "inference.predictor",
    "quantization": "exporting.quantization",
    "rasters": "media.rasters",
    "tta": "inference.tta",
    "upsample": "inference.upsample",
    "video": "media.video",
}
"""Former name -> name of today, both below ``topseg``."""


class MovedFinder:
    """Finds a former name, and loads the module of today in its place.

    The import system asks for these methods only; the base classes of ``importlib.abc`` would cost
    a fresh interpreter more than the rest of ``import topseg``.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a former name; None for every other name."""
        package, _, former = name.partition(".")
        if package != "topseg" or former not in MOVED:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system: :meth:`exec_module` puts another in its place."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today where the import system looks for the former one."""
        today = f"topseg.{MOVED[module.__name__.removeprefix('topseg.')]}"
        warnings.warn(
            f"{module.__name__} is now {today}; the former name goes with version 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        sys.modules[module.__name__] = importlib.import_module(today)


def install() -> None:
    """Let former names be imported, after every name that exists."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
