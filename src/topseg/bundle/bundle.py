"""Bundle: a folder that holds a model and all that is needed to use it rightly.

``metadata.json`` travels with the weights, so nobody declares classes, colours or pre-processing a
second time. Every file is listed with its SHA-256 and checked before use.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from topseg.bundle.metadata import METADATA, Metadata, upgrade
from topseg.core.config import build, to_tree
from topseg.core.errors import InputError
from topseg.core.files import read_json, sha256, write_json

LIMIT = 64 * 2**20
"""Most bytes of a ``metadata.json``."""
DEPTH = 32
"""Most mappings and lists inside each other in it."""


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
        InputError: No metadata, a newer schema, a file that is missing, not listed or elsewhere, or
            bytes that changed.
    """
    metadata = read_metadata(folder)
    used = [metadata.weights]
    for graph in metadata.graphs.values():
        used += [part.relative_to(folder).as_posix() for part in graph_files(folder / graph.file)]
    for name in dict.fromkeys(used):
        if name not in metadata.files:
            raise InputError(
                f"{folder / METADATA}: files: does not list '{name}', which the bundle uses; "
                "get the bundle again"
            )
    for name in metadata.files:
        check_file(folder, metadata, name)
    return Bundle(folder, metadata)


def graph_files(graph: Path) -> list[Path]:
    """Return the files that a graph consists of.

    Args:
        graph: A file, the first of two with the weights apart, or a folder.
    """
    if graph.is_dir():
        return sorted(part for part in graph.rglob("*") if not part.is_dir())
    weights = graph.with_suffix(".bin")
    return [graph, weights] if weights.exists() and weights != graph else [graph]


def read_metadata(folder: Path) -> Metadata:
    """Read a folder's ``metadata.json`` alone; no other file is looked at.

    Raises:
        InputError: There is none, it is of a newer schema, or something in it is wrong.
    """
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"{folder}: not a bundle: {METADATA} is missing")
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path}: got {path.stat().st_size} bytes, expected at most {LIMIT}")
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise InputError(f"{path}: got a {type(tree).__name__}, expected a mapping")
    if _deeper(tree, DEPTH):
        raise InputError(f"{path}: nested deeper than {DEPTH} levels; get the bundle again")
    return build(Metadata, upgrade(tree, str(path)), str(path))


def check_file(folder: Path, metadata: Metadata, name: str, data: bytes | None = None) -> None:
    """Compare a file of a bundle with the SHA-256 that its metadata lists.

    Args:
        folder: The bundle.
        metadata: Of it.
        name: A file that the metadata lists.
        data: Its bytes, where they are read already.

    Raises:
        InputError: It is missing, or its bytes changed.
    """
    file = folder / name
    if not file.is_file():
        raise InputError(f"{file}: missing, though {METADATA} lists it; get the bundle again")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{file}: leads out of the bundle's folder, to {file.resolve()}; copy the file itself"
        )
    digest = sha256(file) if data is None else hashlib.sha256(data).hexdigest()
    if digest != metadata.files[name]:
        raise InputError(
            f"{file}: its bytes changed since {METADATA} was written (SHA-256 differs); "
            "get the bundle again"
        )


def graph_bytes(graph: Path) -> int:
    """Return the bytes of a graph's files.

    Args:
        graph: As for :func:`graph_files`.
    """
    return sum(part.stat().st_size for part in graph_files(graph))


def _deeper(tree: Any, depth: int) -> bool:
    """Return whether mappings and lists are nested more than so many levels deep."""
    level = [tree]
    while level and depth >= 0:
        inner = (
            part for node in level for part in (node.values() if isinstance(node, dict) else node)
        )
        level = [part for part in inner if isinstance(part, dict | list)]
        depth -= 1
    return bool(level)


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
