"""The native engine's form of a network: the weights, which are in every bundle already."""

from __future__ import annotations

from pathlib import Path

from topseg.bundle.metadata import WEIGHTS, Graph
from topseg.core.errors import InputError
from topseg.exporting.graphs.source import Source


def write_native(source: Source, folder: Path) -> Graph:
    """Name the weights as what the native engine runs, so that they are proven on it.

    Raises:
        InputError: The weights are not in the folder.
    """
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder / WEIGHTS}: missing; write the weights before the graphs")
    return Graph(file=WEIGHTS, precision=source.precision)
