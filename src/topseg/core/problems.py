"""Problems: what is wrong with a section, in the words of whoever wrote the file.

pydantic reports every form of a type with several by itself, under names of its own: a number or a
list of them gives two errors for one wrong word. Here a place in the file has one problem, which
names all the forms that would have done.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from topseg.core.choice import PROBLEM, NamedSection, choices_in
from topseg.core.errors import InputError, did_you_mean, shorten

SHOWN = 20
"""Problems of one file that a message lists."""
HALF_CHARACTER = "a text holds half a character (one surrogate of two); write the character itself"
_KEY = "[key]"
"""pydantic's mark of a key that is wrong itself."""
_ABSENT = ("missing", "unexpected_keyword_argument", "extra_forbidden")
_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "greater than or equal to",
    "less_than": "less than",
    "less_than_equal": "less than or equal to",
}
_EXPECTED = {
    "float_parsing": "a number",
    "float_type": "a number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text of whole characters",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a section of 'key: value' lines",
    "finite_number": "a finite number",
}


def explain_problems(cls: type, tree: Mapping[Any, Any], error: ValidationError) -> list[str]:
    """Return a line for each thing that is wrong: ``dotted.key: got ..., expected ...``.

    Args:
        cls: The section.
        tree: What it was to be made of.
        error: What pydantic found.
    """
    try:
        found = error.errors(include_url=False)
    except UnicodeEncodeError:  # pydantic cannot put such a text into a message
        return [HALF_CHARACTER]
    problems = [_locate(tree, one) for one in found[: 4 * SHOWN]]
    lines: dict[str, None] = {}
    for together in _by_place(problems):
        lines |= dict.fromkeys(_explain(cls, together).splitlines())
    shown = list(lines)
    if len(shown) > SHOWN:
        shown[SHOWN:] = [f"and {max(len(found), len(shown)) - SHOWN} more problems"]
    return shown


@dataclass(frozen=True)
class _Problem:
    """What pydantic found.

    Attributes:
        found: Its own record.
        place: Keys and indices that lead to it in the file.
        forms: How many of them lead to a value of several forms, one of which this is about; None:
            there is no such value.
        about_key: Whether a key is wrong itself, and not what it holds.
    """

    found: Any
    place: tuple[Any, ...]
    forms: int | None
    about_key: bool


def _locate(tree: Any, found: Any) -> _Problem:
    """Find a problem's place in the file: of pydantic's, what is really there."""
    value, place, forms = tree, list[Any](), None
    parts = found["loc"]
    absent = parts[-1:] if found["type"] in _ABSENT else ()  # a key that is not, or not known
    about_key = _KEY in parts
    for part in parts[: len(parts) - len(absent)]:
        if isinstance(value, Mapping) and (key := _key(value, part)) is not None:
            value = value[key]
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not isinstance(value, Mapping) or value.get("name") != part:
            # The name of a form or a mark; a section's own name stays, which tells more.
            forms = len(place) if forms is None and part != _KEY else forms
            continue
        place.append(part)
    return _Problem(found, (*place, *absent), forms, about_key)


def _key(value: Mapping[Any, Any], part: Any) -> Any:
    """Return the key that pydantic writes as a part of a place."""
    return next((key for key in value if key == part or str(key) == str(part)), None)


def _by_place(problems: Sequence[_Problem]) -> Iterator[list[_Problem]]:
    """Group what one line tells: the forms that a value has none of."""
    keys = {problem.place for problem in problems if problem.about_key}
    groups: dict[tuple[Any, ...], list[_Problem]] = {}
    for number, problem in enumerate(problems):
        if not problem.about_key and problem.place in keys:
            continue  # what a wrong key holds is nobody's value
        group = (None, number) if problem.forms is None else problem.place[: problem.forms]
        groups.setdefault(group, []).append(problem)
    for these in groups.values():
        # A form that fits but for a part of it, or for a bound, is the one that was meant.
        inside = [one for one in these if one.forms is not None and len(one.place) > one.forms]
        bounded = [one for one in these if one.found["type"] in _BOUNDS]
        if inside:
            yield from ([one] for one in inside)
        else:
            yield bounded[:1] or these


def _explain(cls: type, problems: Sequence[_Problem]) -> str:
    """Return the line on one place: where, got, expected."""
    place, found = problems[0].place, problems[0].found
    where, kind, context = _dotted(place), found["type"], found.get("ctx", {})
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: unknown key{did_you_mean(str(place[-1]), _fields_at(cls, place[:-1]))}"
    if kind == "missing":
        return f"{where}: a value is required here, none was given"
    if kind == PROBLEM:
        return f"{where}: {context['text']}"
    if kind == "value_error" and isinstance(context["error"], InputError):
        return str(context["error"])  # a section's own check, which names its keys itself
    value = found["input"]
    got = "" if isinstance(value, dict) else f"got {shorten(value)}, "
    if kind == "value_error":
        return f"{where}: {got}{context['error']}"
    if kind == "too_long":
        count = context.get("actual_length") or "more"
        return f"{where}: got {count}, expected at most {context['max_length']}"
    if kind == "too_short" and isinstance(value, list | tuple) and value:
        return ""  # pydantic's echo of the errors inside the list
    forms = dict.fromkeys(_expected(one.found) for one in problems)
    hint = next((text for one in problems if (text := _hint(one))), "")
    return f"{where}: {got}expected {' or '.join(forms)}{hint}"


def _expected(found: Any) -> str:
    """Return what would have done."""
    kind, context = found["type"], found.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        return f"a number {_BOUNDS[kind]} {bound}"
    if kind == "invalid_key":
        return "text as a key"
    if kind == "too_short":
        return f"at least {context['min_length']}"
    message: str = found["msg"]
    return _EXPECTED.get(kind) or message[:1].lower() + message[1:]


def _hint(problem: _Problem) -> str:
    """Return how YAML reads what was written, where that is a surprise."""
    kind, value = problem.found["type"], problem.found["input"]
    if kind == "string_type" and isinstance(value, bool):
        return "; YAML reads the words yes, no, on and off as true and false: quote them, as 'no'"
    if kind == "string_type" and value is None:
        return "; YAML reads null and a bare ~ as nothing: quote a name, and write out a path"
    if kind == "string_type" and isinstance(value, int | float):
        return f"; quote it, as '{value}'"
    if kind == "int_parsing" and isinstance(value, str) and re.fullmatch(r"\d+:\d+", value):
        first, _, second = value.partition(":")
        return f"; YAML wants a space after the colon: {first}: {second}"
    last = str(problem.place[-1]) if problem.place else ""
    if value is None and last.isdigit() and int(last) >= 60:
        before, after = divmod(int(last), 60)
        return f"; YAML reads {before}:{after} as {last}: put a space after the colon"
    return ""


def _dotted(location: Sequence[str | int]) -> str:
    parts = (str(part) for part in location)
    return ".".join(p[:100] if p.isprintable() else shorten(p) for p in parts) or "top level"


def _fields_at(cls: Any, location: Sequence[str | int]) -> list[str]:
    """Field names of the dataclass that a location leads to (through unions and lists too)."""
    candidates = [cls]
    for part in location:
        nested: list[Any] = []
        for candidate in candidates:
            fields = getattr(candidate, "__pydantic_fields__", {})
            if part in fields:
                nested += _dataclasses_in(fields[part].annotation)
                nested += choices_in(fields[part].annotation, fields[part].metadata)
            elif isinstance(candidate, NamedSection) and isinstance(part, str):
                nested.append(candidate.find(part))
        candidates = nested or candidates
    return [name for c in candidates for name in getattr(c, "__pydantic_fields__", {})]


def _dataclasses_in(annotation: Any) -> list[Any]:
    if dataclasses.is_dataclass(annotation):
        return [annotation]
    arguments = getattr(annotation, "__args__", ()) or ()
    return [found for argument in arguments for found in _dataclasses_in(argument)]
