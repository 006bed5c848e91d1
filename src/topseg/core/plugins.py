"""Plug-ins: one door for models, losses, transforms, layouts and runtimes of other people.

A name is looked up in the built-in table, then among the installed entry points of the group
``topseg.KIND``, then, where the caller trusts whoever wrote the name, as ``package.module:Name``.
A recipe or a command line is trusted, because a person gives it; a bundle is not, so opening a
download imports nothing but packages that were installed on purpose.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from topseg.core.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@functools.cache
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    """Return the installed entry points of ``topseg.KIND`` by name."""
    from importlib.metadata import entry_points  # not needed by most commands, and not quick

    return {point.name: point for point in entry_points(group=f"topseg.{kind}")}


def known(kind: str, table: Mapping[str, object]) -> tuple[str, ...]:
    """Return every name of a kind: the built-in ones in their order, then the installed ones."""
    return (*table, *(name for name in sorted(_entry_points(kind)) if name not in table))


def look_up(
    kind: str,
    name: str,
    table: Mapping[str, T],
    expected: type[T],
    *,
    trusted: bool = False,
    where: str | None = None,
) -> T:
    """Find what a name stands for.

    Args:
        kind: "models", "losses", "transforms", "layouts" or "runtimes"; the group of the entry
            points is ``topseg.KIND``.
        name: A built-in name, the name of an entry point, or ``package.module:Name``.
        table: The built-in ones.
        expected: The type that a plug-in must have.
        trusted: Whether ``package.module:Name`` is imported: only where a person gave the name.
        where: Put before a message, such as the key that holds the name; None: the kind.

    Raises:
        InputError: No such name, a package that fails to import, or an object of another type.
    """
    where = kind if where is None else where
    if name in table:
        return table[name]
    try:
        if name in _entry_points(kind):
            found = _entry_points(kind)[name].load()
        elif ":" in name and trusted:
            module, _, attribute = name.partition(":")
            found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        elif ":" in name:
            raise InputError(
                f"{where}: '{name}' is an import path, which counts only in a recipe or on the "
                f"command line; install the package that has it as an entry point 'topseg.{kind}'"
            )
        else:
            names = known(kind, table)
            raise InputError(f"{where}: no '{name}'{did_you_mean(name, names)}")
    except (ImportError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{where}: '{name}' cannot be imported ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(found, expected):
        raise InputError(
            f"{where}: '{name}' is a {type(found).__name__}, expected a {expected.__name__}"
        )
    return found
