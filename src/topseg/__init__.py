"""topseg: real-time semantic segmentation, from labelled images to masks anywhere.

This is the table of contents; every name is imported from its own file when it is first used, so
that ``import topseg`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topseg.bundle import Bundle, Metadata, read_bundle
    from topseg.data.dataset import open_dataset
    from topseg.errors import InputError
    from topseg.evaluation import evaluate
    from topseg.hub import load, open_model
    from topseg.interop import convert_weights, load_weights
    from topseg.labels import LabelSet
    from topseg.metrics import ConfusionMatrix, Scores
    from topseg.models import create_model
    from topseg.predict import Prediction, Predictor
    from topseg.recipe import Recipe, read_recipe
    from topseg.upsample import upsample_argmax, upsample_argmax_probability

__version__ = "0.1.0"

_HOME = {
    "Bundle": "bundle",
    "ConfusionMatrix": "metrics",
    "InputError": "errors",
    "LabelSet": "labels",
    "Metadata": "bundle",
    "Prediction": "predict",
    "Predictor": "predict",
    "Recipe": "recipe",
    "Scores": "metrics",
    "convert_weights": "interop",
    "create_model": "models",
    "evaluate": "evaluation",
    "load": "hub",
    "load_weights": "interop",
    "open_dataset": "data.dataset",
    "open_model": "hub",
    "read_bundle": "bundle",
    "read_recipe": "recipe",
    "upsample_argmax": "upsample",
    "upsample_argmax_probability": "upsample",
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
    "convert_weights",
    "create_model",
    "evaluate",
    "load",
    "load_weights",
    "open_dataset",
    "open_model",
    "read_bundle",
    "read_recipe",
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
