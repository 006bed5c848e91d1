"""topseg: real-time semantic segmentation, from labelled images to masks anywhere.

This is the table of contents; every name is imported from its own file when it is first used, so
that ``import topseg`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from topseg.core import moved

if TYPE_CHECKING:
    from topseg.api import check, evaluate, export, train
    from topseg.bundle.bundle import Bundle, read_bundle
    from topseg.bundle.metadata import Metadata
    from topseg.core.errors import InputError
    from topseg.core.labels import LabelSet
    from topseg.data.annotations.converting import convert_data
    from topseg.data.dataset import open_dataset
    from topseg.evaluation.confusion import ConfusionMatrix
    from topseg.evaluation.scores import Scores
    from topseg.inference.hub import load, open_model
    from topseg.inference.prediction import Prediction
    from topseg.inference.predictor import Predictor
    from topseg.inference.upsample import upsample_argmax, upsample_argmax_probability
    from topseg.interop import convert_weights, load_weights
    from topseg.models import create_model
    from topseg.recipe import Recipe, read_recipe

moved.install()

__version__ = "0.1.0"

_HOME = {
    "Bundle": "bundle.bundle",
    "ConfusionMatrix": "evaluation.confusion",
    "InputError": "core.errors",
    "LabelSet": "core.labels",
    "Metadata": "bundle.metadata",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "Recipe": "recipe",
    "Scores": "evaluation.scores",
    "check": "api",
    "convert_data": "data.annotations.converting",
    "convert_weights": "interop",
    "create_model": "models",
    "evaluate": "api",
    "export": "api",
    "load": "inference.hub",
    "load_weights": "interop",
    "open_dataset": "data.dataset",
    "open_model": "inference.hub",
    "read_bundle": "bundle.bundle",
    "read_recipe": "recipe",
    "train": "api",
    "upsample_argmax": "inference.upsample",
    "upsample_argmax_probability": "inference.upsample",
}

__all__ = [
    "Bundle",
    "ConfusionMatrix",
    "InputError",
    "LabelSet",
    "Metadata",
    "Prediction",
    "Predictor",
    "Recipe",
    "Scores",
    "check",
    "convert_data",
    "convert_weights",
    "create_model",
    "evaluate",
    "export",
    "load",
    "load_weights",
    "open_dataset",
    "open_model",
    "read_bundle",
    "read_recipe",
    "train",
    "upsample_argmax",
    "upsample_argmax_probability",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'topseg' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"topseg.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
