"""Interop: weights from other projects and back, read without running anything in them."""

from topseg.interop.convert import convert_weights, make_bundle
from topseg.interop.loading import LoadReport, load_weights
from topseg.interop.weights import read_weights, write_weights

__all__ = [
    "LoadReport",
    "convert_weights",
    "load_weights",
    "make_bundle",
    "read_weights",
    "write_weights",
]
