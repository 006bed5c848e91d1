"""Paths in configuration: one type, relative to where it is written.

In a file that is the file's folder (also where another file inherits from it by ``base:``), in an
override on the command line the current directory; ``~`` is the home folder. What a path is follows
from the schema alone, so a new field needs no list, and neither does leaving paths out of what
travels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from topseg.core.config import Tree, override, parse_override, to_tree
from topseg.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Anchor:
    """Marks a text field as a path.

    Attributes:
        model: Whether it may be the name of a model as well: then it is a path only where it looks
            like one, or where there is such a file or folder.
    """

    model: bool = False


LocalPath = Annotated[str, Anchor()]
"""A file or folder of this machine."""

ModelPath = Annotated[str, Anchor(model=True)]
"""MODEL or a weight file: a path, or a name of ``topseg models``."""


def anchor(cls: type, tree: Mapping[str, Any], folder: Path) -> Tree:
    """Make the paths in a tree absolute.

    Args:
        cls: The section that will be made of it.
        tree: What was written in one place; wrong types pass, ``build`` explains them.
        folder: What relative paths are relative to.
    """

    def absolute(text: str, kind: Anchor) -> str:
        try:
            given = Path(text).expanduser()
            is_path = "/" in text or text.startswith("~") or given.is_absolute()
            if kind.model and not is_path and not (folder / given).exists():
                return text
            return str((folder / given).resolve())
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{text!r} is no path ({error})") from None

    found: Tree = _mapped(cls, dict(tree), absolute, None)
    return found


def override_anchored(cls: type, tree: Tree, assignments: Sequence[str]) -> Tree:
    """Apply ``a.b=c`` assignments whose paths are relative to the current directory.

    Raises:
        InputError: As for :func:`topseg.core.config.override`.
    """
    folder = Path.cwd()
    trees = [anchor(cls, parse_override(one), folder) for one in assignments]
    return override(tree, assignments, trees)


def without_paths(section: Any) -> Tree:
    """Turn a section into a plain tree in which of every absolute path its last name is left.

    Args:
        section: An instance of a section's dataclass.
    """

    def last_name(text: str, kind: Anchor) -> str:
        return Path(text).name if Path(text).is_absolute() else text

    found: Tree = _mapped(type(section), to_tree(section), last_name, None)
    return found


def _mapped(
    annotation: Any, value: Any, change: Callable[[str, Anchor], str], kind: Anchor | None
) -> Any:
    """Return a value with every path in it changed, as its type says where they are."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = (mark for mark in arguments[1:] if isinstance(mark, Anchor))
        return _mapped(arguments[0], value, change, next(marks, kind))
    if isinstance(value, str) and not arguments:
        return change(value, kind) if kind is not None and value else value
    if hasattr(annotation, "__pydantic_fields__") and isinstance(value, Mapping):
        fields = annotation.__pydantic_fields__
        out = dict(value)
        for name in value.keys() & fields.keys():
            marks = (mark for mark in fields[name].metadata if isinstance(mark, Anchor))
            out[name] = _mapped(fields[name].annotation, value[name], change, next(marks, None))
        return out
    if origin is tuple and isinstance(value, list | tuple):
        return [_mapped(arguments[0], item, change, kind) for item in value]
    if origin is dict and isinstance(value, Mapping):
        return {key: _mapped(arguments[1], item, change, kind) for key, item in value.items()}
    if origin in (Union, UnionType):
        for one in arguments:
            value = _mapped(one, value, change, kind)
    return value
