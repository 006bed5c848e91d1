"""Typed configuration: YAML with ``base:`` inheritance and ``a.b=c`` overrides, checked at once.

A section is a frozen pydantic dataclass made with ``STRICT``; the docstring under each field is its
help. An override on the command line means exactly what the same key means in the file.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from topseg.core.choice import choices_in
from topseg.core.errors import InputError, shorten
from topseg.core.problems import HALF_CHARACTER, explain_problems
from topseg.core.yaml_reader import MAX_DEPTH, parse_yaml, read_text_of

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
BESIDE = {"beside": True}
"""Metadata of a field that holds a section whose keys stand beside those of its own section."""
MAX_BASES = 64
"""Files that one file may inherit from, directly and indirectly."""
Tree = dict[str, Any]
T = TypeVar("T")


def read_yaml(path: Path) -> Tree:
    """Read one YAML file whose top is a mapping.

    Raises:
        InputError: The file is missing, is not YAML, is beyond the limits of ``yaml_reader``,
            repeats a key, or its top is no mapping.
    """
    tree = parse_yaml(read_text_of(path), str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        got = "a list" if isinstance(tree, list) else shorten(tree, 40)
        raise InputError(f"{path}: got {got}, expected 'key: value' lines")
    return tree


def read_inherited(
    path: Path,
    anchor: Callable[[Tree, Path], Tree],
    find: Callable[[Path], Path] = lambda path: path,
) -> Tree:
    """Read a YAML file on top of the files that its ``base:`` names (relative to itself).

    Mappings are merged key by key, everything else (lists too) is replaced by the child.

    Args:
        path: The file.
        anchor: Makes the relative paths in one file's tree absolute, given that file's path.
        find: Return the file that a path stands for, such as a packaged one of that name.

    Raises:
        InputError: A file cannot be read, the bases form a circle, or there are too many.
    """
    return _inherited(path, anchor, find, (), [])


def _inherited(
    path: Path,
    anchor: Callable[[Tree, Path], Tree],
    find: Callable[[Path], Path],
    children: tuple[Path, ...],
    read: list[Path],
) -> Tree:
    """Read a file and its bases; count every reading, also of the same file again."""
    try:
        path = find(path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"base: '{path}' is no path ({error})") from None
    if path in children:
        raise InputError(f"{path}: base: the files inherit from each other in a circle")
    read.append(path)
    if len(read) > MAX_BASES:
        raise InputError(f"{read[0]}: base: more than {MAX_BASES} files; inherit from fewer")
    tree = read_yaml(path)
    bases = tree.pop("base", None) or []
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{path}: base: got {bases!r}, expected a file name or a list of them")
    merged: Tree = {}
    for base in bases:
        file = path.parent / Path(base).expanduser()
        below = _inherited(file, anchor, find, (*children, path), read)
        merged = merge(merged, below)
    return merge(merged, anchor(tree, path))


def merge(below: Tree, above: Mapping[str, Any]) -> Tree:
    """Lay one tree over another: mappings merge, anything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_override(assignment: str, *, texts: bool = False) -> Tree:
    """Read ``a.b=c`` as the tree ``{a: {b: c}}``; the right side is read as YAML.

    Args:
        assignment: As it was typed.
        texts: Whether scalars stay texts, which the schema then turns into its own types: "no" is a
            name and "0123" a key where the schema wants text.

    Raises:
        InputError: It has no '=', an empty key, or a value that is not valid YAML.
    """
    dotted, equals, text = assignment.partition("=")
    if not equals or not all(dotted.split(".")):
        raise InputError(f"override '{assignment}': expected key=value, such as train.steps=500")
    if dotted.count(".") >= MAX_DEPTH:
        raise InputError(f"override '{dotted[:40]}...': no setting is so deep")
    value = parse_yaml(text, f"override '{assignment}'", texts=texts)
    for key in reversed(dotted.split(".")):
        value = {key: value}
    tree: Tree = value
    return tree


def override(tree: Tree, assignments: Sequence[str], trees: Sequence[Tree] | None = None) -> Tree:
    """Apply ``a.b=c`` assignments.

    Args:
        tree: What they change.
        assignments: As they were typed.
        trees: What :func:`parse_override` made of them, where that was changed since.

    Raises:
        InputError: An assignment is not well formed, or leads through something that is no section.
    """
    parsed = [parse_override(one) for one in assignments] if trees is None else trees
    for assignment, above in zip(assignments, parsed, strict=True):
        _check_path(tree, assignment.partition("=")[0])
        tree = merge(tree, above)
    return tree


def build(cls: type[T], tree: Mapping[str, Any], where: str) -> T:
    """Make a typed section from a tree, or say everything that is wrong with the tree at once.

    Args:
        cls: A pydantic dataclass.
        tree: What was read.
        where: The file's name, put before every problem.

    Raises:
        InputError: One line per problem: ``file: dotted.key: got ..., expected ...``.
    """
    try:
        return TypeAdapter(cls).validate_python(dict(tree))
    except ValidationError as error:
        lines = explain_problems(cls, tree, error)
        raise InputError("\n".join(f"{where}: {line}" for line in lines)) from None
    except UnicodeEncodeError:  # pydantic cannot read a key with such a text
        raise InputError(f"{where}: {HALF_CHARACTER}") from None


def to_tree(section: Any) -> Any:
    """Turn sections back into plain mappings, lists and scalars, ready for YAML or JSON."""
    if dataclasses.is_dataclass(section) and not isinstance(section, type):
        tree: Tree = {}
        for field in dataclasses.fields(section):
            value = to_tree(getattr(section, field.name))
            tree |= value if field.metadata == BESIDE else {field.name: value}
        return tree
    if isinstance(section, Mapping):
        return {key: to_tree(value) for key, value in section.items()}
    if isinstance(section, list | tuple):
        return [to_tree(value) for value in section]
    if isinstance(section, Path):
        return str(section)
    return section


def to_yaml(section: Any) -> str:
    """Return a section as YAML text that reads back to the same section."""
    return _dump(to_tree(section))


def explain(section: Any) -> str:
    """Return a section as YAML with the meaning of every field as a comment above it."""
    return "\n".join(_explained(section, ""))


def _explained(section: Any, indent: str) -> Iterator[str]:
    meanings = _meanings(type(section))
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if field.metadata == BESIDE:
            yield from _explained(value, indent)
            continue
        info = type(section).__pydantic_fields__[field.name]
        for line in meanings.get(field.name, "").splitlines():
            yield f"{indent}# {line}".rstrip()
        for choice in choices_in(info.annotation, info.metadata):
            yield from (f"{indent}#   {line}" for line in choice.lines())
        if dataclasses.is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _explained(value, indent + "  ")
            continue
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            yield f"{indent}{field.name}:"
            for item in value:
                yield f"{indent}- # {(type(item).__doc__ or '').strip().splitlines()[0]}"
                yield from _explained(item, indent + "  ")
            continue
        text = _dump({field.name: to_tree(value)}).rstrip("\n")
        yield from (f"{indent}{line}" for line in text.splitlines())


def _meanings(section: type) -> dict[str, str]:
    """Return the docstring under each field of a section's class and its bases.

    A class whose source is not at hand has none. Pydantic's ``use_attribute_docstrings`` reads the
    source as well, but when a class is defined, which costs every start a twentieth of a second.
    """
    meanings = {}
    for base in filter(dataclasses.is_dataclass, reversed(section.__mro__)):
        try:
            source = inspect.getsource(base)
        except OSError:
            continue
        (definition,) = ast.parse(textwrap.dedent(source)).body
        for field, below in itertools.pairwise(definition.body):  # type: ignore[attr-defined]
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    meanings[name] = inspect.cleandoc(text)
    return meanings


def _dump(tree: Any) -> str:
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _check_path(tree: Tree, dotted: str) -> None:
    node: Any = tree
    keys = dotted.split(".")
    for depth, key in enumerate(keys[:-1]):
        node = node.get(key, {}) if isinstance(node, dict) else node
        if node is not None and not isinstance(node, dict):
            path = ".".join(keys[: depth + 1])
            raise InputError(f"override '{dotted}': {path} is a value, not a section; set it whole")


class _Dumper(yaml.SafeDumper):
    """Writes short lists on one line, as a person would."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        flat = all(not isinstance(item, list | dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=True if flat else flow_style)


_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data)
)
