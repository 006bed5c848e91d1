"""Packaged recipes: those that a name stands for, such as ``topformer_tiny``."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "shipped" / "recipes"

RECIPES = {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}
"""Their files by name."""


def find_recipe(path: Path) -> Path:
    """Return the file that a path or a name stands for; a file of that name comes first."""
    return path if path.is_file() else RECIPES.get(path.name, path)


def start_folder(path: Path) -> Path:
    """Return the folder that a recipe's relative paths start from.

    It is the file's own, and for a packaged recipe, which knows nobody's data, the current one.
    """
    path = path.resolve()
    return Path.cwd() if path.parent == _FOLDER else path.parent
