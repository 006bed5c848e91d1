"""Choice: fields of a section that name a built-in part or a plug-in.

A recipe names its layout, its transforms and the terms of its loss. The field's type holds the
table of the built-in ones, and whatever is installed, or lies on the import path of the person who
wrote the recipe, is accepted beside them; error texts and explanations come from the same table.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from topseg.core import plugins
from topseg.core.errors import InputError, did_you_mean

PROBLEM = "choice"
"""Type of the validation error whose context holds the whole text of the problem."""


@dataclass(frozen=True, eq=False)
class NamedRecord:
    """Type of a text that names a record: ``Annotated[str, NamedRecord(kind, TABLE, Layout)]``.

    Attributes:
        kind: Group of the entry points, ``topseg.KIND``.
        table: The built-in records by name; each has a ``help``.
        record: Their type.
    """

    kind: str
    table: Mapping[str, Any]
    record: type

    def find(self, name: str, where: str | None = None) -> Any:
        """Return the record of a name.

        Raises:
            InputError: There is none.
        """
        return plugins.look_up(self.kind, name, self.table, self.record, trusted=True, where=where)

    def lines(self) -> Iterator[str]:
        """Describe every name on a line of its own."""
        for name in plugins.known(self.kind, self.table):
            yield f"{name}: {self.find(name).help}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check a name when the section is made."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        try:
            self.find(name, "")
        except InputError as error:
            raise _problem(f"got '{name}'{_reason(error, name, self)}") from None
        return name


@dataclass(frozen=True, eq=False)
class NamedSection:
    """Type of a section whose key ``name`` says which section it is.

    Attributes:
        kind: Group of the entry points, ``topseg.KIND``.
        table: The built-in sections by name: frozen pydantic dataclasses with a field ``name``.
        contract: Protocol (checkable at run time) that each of them keeps.
    """

    kind: str
    table: Mapping[str, type]
    contract: type

    def find(self, name: str, where: str | None = None) -> type:
        """Return the section of a name.

        Raises:
            InputError: There is none, or it is no section.
        """
        found = plugins.look_up(self.kind, name, self.table, type, trusted=True, where=where)
        if not is_dataclass(found) or "name" not in {field.name for field in fields(found)}:
            raise InputError(
                f"{self.kind if where is None else where}: '{name}' is {found.__qualname__}, "
                "expected a frozen pydantic dataclass with a field 'name: str'"
            )
        return found

    def lines(self) -> Iterator[str]:
        """Describe every name on a line of its own."""
        for name in plugins.known(self.kind, self.table):
            yield f"{name}: {(inspect.getdoc(self.find(name)) or '').partition(chr(10))[0]}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Make the section of a tree when the section around it is made."""
        return core_schema.no_info_plain_validator_function(self._build)

    def _build(self, tree: Any) -> Any:
        if isinstance(tree, self.contract):
            return tree
        if not isinstance(tree, Mapping):
            raise PydanticCustomError("dict_type", "a mapping is expected")
        name = tree.get("name")
        if not isinstance(name, str):
            raise _problem(f"got no name{did_you_mean('', plugins.known(self.kind, self.table))}")
        try:
            section = self.find(name, "")
        except InputError as error:
            raise _problem(f"got name '{name}'{_reason(error, name, self)}") from None
        try:
            built: Any = TypeAdapter(section).validate_python(dict(tree))
        except ValidationError as error:
            raise _inside(name, error) from None
        if not isinstance(built, self.contract):
            lacking = [key for key in _members(self.contract) if not hasattr(built, key)]
            raise _problem(f"'{name}' has no {', '.join(lacking)}, which {self.kind} need")
        return built


Choice = NamedRecord | NamedSection


def choices_in(annotation: Any, metadata: Any = ()) -> Iterator[Choice]:
    """Find the choices in a field's type.

    Args:
        annotation: The type.
        metadata: What pydantic took off the type's outside.
    """
    for item in (*metadata, *getattr(annotation, "__metadata__", ())):
        if isinstance(item, NamedRecord | NamedSection):
            yield item
    for argument in getattr(annotation, "__args__", None) or ():
        yield from choices_in(argument)


def _reason(error: InputError, name: str, choice: Choice) -> str:
    """What follows the name: what else it may have meant, or why it cannot be used."""
    known = plugins.known(choice.kind, choice.table)
    if name not in known and ":" not in name:
        return did_you_mean(name, known)
    return str(error)


def _problem(text: str) -> PydanticCustomError:
    return PydanticCustomError(PROBLEM, "{text}", {"text": text})


def _inside(name: str, error: ValidationError) -> ValidationError:
    """Put the section's name before the place of every problem."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(
                problem["type"],
                problem["msg"].replace("{", "(").replace("}", ")"),
                problem.get("ctx"),
            ),
            loc=(name, *problem["loc"]),
            input=problem["input"],
        )
        for problem in error.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(error.title, details)


def _members(contract: type) -> list[str]:
    own = (*vars(contract).get("__annotations__", ()), *vars(contract))
    return [name for name in own if name == "__call__" or not name.startswith("_")]
