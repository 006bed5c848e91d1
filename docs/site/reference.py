"""Write the reference pages when the site is built: commands, recipes, the C interface.

A page has a line ``<!-- generated: NAME -->``; what stands here under that name takes its place.
Nothing that is generated is kept in the repository.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from topseg.cli.app import app
from topseg.core.choice import NamedRecord, NamedSection, choices_in
from topseg.core.config import BESIDE, to_yaml
from topseg.models import find_variant
from topseg.recipe import ModelConfig, Recipe
from topseg.recipe.packaged import RECIPES

MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
ROOT = Path(__file__).parents[2]


def with_references(markdown: str) -> str:
    """Replace each mark of a page by its text."""
    return MARK.sub(lambda match: PARTS[match[1]](), markdown)


def commands() -> str:
    """Describe every command, from the definitions that ``--help`` shows."""
    text = app.generate_docs(output_format="markdown")
    text = text[re.search(r"^## topseg ", text, re.MULTILINE).start() :]  # type: ignore[union-attr]
    for option in ("debug", "offline"):  # of topseg itself; the page says so once
        text = re.sub(rf"^\* `--{option}`:.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\*\*Parameters\*\*:\n\s*(?=#|\*\*|\Z)", "", text)
    text = re.sub(r"(--[\w-]+)((?: \w+(?:\.\.\.)?)?), --(?:no|empty)-[\w-]+`", r"\1\2`", text)
    text = text.replace("**Parameters**:", "**Options**:")
    return text.replace("```console", "```text")


def recipe() -> str:
    """Describe every key of a recipe, from its typed sections."""
    return "\n".join(_section(Recipe, "")) + "\n"


def recipes() -> str:
    """List the packaged recipes with what they say of themselves."""
    lines = []
    for name, path in RECIPES.items():
        comment = itertools.takewhile(
            lambda line: line.startswith("#"), path.read_text("utf-8").splitlines()
        )
        plain = (line.lstrip("# ").strip() for line in comment)
        words = " ".join(f"`{line}`." if line.startswith("topseg ") else line for line in plain)
        lines.append(f"* `{name}`: {words}")
    return "\n".join(lines)


def header() -> str:
    """Describe the C interface, from the comments of its header."""
    text = (ROOT / "native/include/topseg.h").read_text()
    body = text[text.index("typedef enum topseg_status") : text.rindex("#ifdef __cplusplus")]
    lines = []
    for block in re.split(r"\n\s*\n", body.strip()):
        if match := re.search(r"TOPSEG_API [^;]*?(topseg_\w+)\(|^\} (topseg_\w+);", block, re.M):
            name = match[1] or match[2]
        else:
            name = re.findall(r"topseg_\w+", block)[-1]
        comment = re.match(r"/\*(.*?)\*/\n", block, re.DOTALL)
        code = block[comment.end() :] if comment else block
        lines.append(f"### {name}\n")
        if comment:
            lines.append(_prose(comment[1]))
        bare, members = _members(code.replace("TOPSEG_API ", ""))
        lines.append(f"```c\n{bare}\n```\n{members}")
    return "\n".join(lines)


def _members(code: str) -> tuple[str, str]:
    """Part a type's code from the comments behind its members, which become a list."""
    code = re.sub(r"(\w\*?)\n {8}(\w)", r"\1 \2", code)  # a member on two lines
    notes = re.findall(r"(\w+)(?: = \d+)?[;,]?\s*/\*\s*(.*?)\s*\*/", code, re.DOTALL)
    bare = re.sub(r"\s*/\*.*?\*/", "", code, flags=re.DOTALL)
    lines = [f"* `{name}`: {' '.join(note.split())}\n" for name, note in notes]
    return bare, "\n" + "".join(lines) if lines else ""


def _prose(comment: str) -> str:
    """Make paragraphs of a comment; its aligned lines of ``name: meaning`` become a list."""
    lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in comment.strip().splitlines()]
    found: list[str] = []
    for line in lines:
        if match := re.match(r"\s{2,}(\w+):\s+(.*)", line):
            found.append(
                ("" if found[-1].startswith("* ") else "\n") + f"* `{match[1]}`: {match[2]}"
            )
        elif found:
            found.append(line.strip())
        else:
            found.append(line)
    return "\n".join(found) + "\n"


def _section(cls: type, prefix: str) -> Iterator[str]:
    fields: dict[str, Any] = cls.__pydantic_fields__  # type: ignore[attr-defined]
    for field in dataclasses.fields(cls):
        info = fields[field.name]
        if field.metadata == BESIDE:  # the options of the family of networks
            yield from _section(find_variant(ModelConfig.name).family.options, prefix)
            continue
        key, default = f"{prefix}{field.name}", _default(field)
        if dataclasses.is_dataclass(info.annotation):
            yield f"\n## {key}\n\n{_first(info.annotation)}"
            yield from _section(info.annotation, f"{key}.")
            continue
        choices = list(choices_in(info.annotation, info.metadata))
        sections = [choice for choice in choices if isinstance(choice, NamedSection)]
        yield f"\n{'##' if not prefix else '####'} {key}\n"
        kind = "a list" if sections else _kind(info.annotation, info.metadata)
        yield f"*{kind}*, default {default}\n\n{_code(info.description or '')}\n"
        for choice in choices:
            if isinstance(choice, NamedRecord):
                yield from (f"* `{name}`: {choice.table[name].help}" for name in choice.table)
        for choice in sections:
            for name, section in choice.table.items():
                yield f"\n#### {key}: {name}\n\n{_first(section)}\n"
                yield from _items(section)


def _items(section: type) -> Iterator[str]:
    fields: dict[str, Any] = section.__pydantic_fields__  # type: ignore[attr-defined]
    for field in dataclasses.fields(section):
        if field.name != "name" and (info := fields[field.name]):
            kind = _kind(info.annotation, info.metadata)
            text = _code(info.description or "").replace("\n", " ")
            yield f"* `{field.name}` ({kind}; default {_default(field)}): {text}"


def _first(cls: type) -> str:
    return _code((inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " "))


def _code(text: str) -> str:
    return text.strip().replace("``", "`")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "none: it has to be set"
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        value = [{"name": item.name} for item in value]
        return "`[" + ", ".join(f"{{name: {item['name']}}}" for item in value) + "]`"
    return f"`{to_yaml({'x': value}).removeprefix('x:').strip()}`"


_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _kind(annotation: Any, metadata: Any = ()) -> str:
    """Name a type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0], annotation.__metadata__)
    if annotation in _NAMES:
        bounds = [
            f"{word} {limit:,}"
            for item in metadata
            for one in (item, *getattr(item, "metadata", ()))
            for name, word in _BOUNDS.items()
            if (limit := getattr(one, name, None)) is not None
        ]
        return " ".join([_NAMES[annotation], " and ".join(bounds)]).strip()
    if annotation is type(None):
        return "null"
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_kind(one) for one in arguments))
    if origin is dict:
        return f"mapping from {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {_kind(arguments[0])}"
        return f"list of {len(arguments)} (each {_kind(arguments[0])})"
    return getattr(annotation, "__name__", str(annotation)).lower()


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part for part in (commands, recipe, recipes, header)
}
