"""Bundles travel: nothing in their metadata tells of the machine they were made on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topseg.bundle.bundle import METADATA
from topseg.bundle.published import SHIPPED


def paths_in(tree: Any, where: str = "") -> Iterator[str]:
    """Every text that is a path: absolute, of the home folder, or with a folder before a name."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from paths_in(value, f"{where}.{key}")
    elif isinstance(tree, list):
        for item in tree:
            yield from paths_in(item, where)
    elif isinstance(tree, str) and " " not in tree and not tree.startswith("https://"):
        yield from [f"{where}: {tree}"] * ("/" in tree or tree.startswith("~"))


@pytest.mark.parametrize("folder", SHIPPED.values(), ids=lambda folder: folder.name)
def test_shipped_metadata_has_no_paths(folder: Path) -> None:
    tree = json.loads((folder / METADATA).read_text())
    del tree["files"]  # names below the bundle's own folder
    assert list(paths_in(tree)) == []


def test_a_path_is_noticed() -> None:
    tree = {"a": {"b": ["runs/base", "name"]}, "c": "/data", "d": "CC BY 4.0 / else"}
    assert list(paths_in(tree)) == [".a.b: runs/base", ".c: /data"]
