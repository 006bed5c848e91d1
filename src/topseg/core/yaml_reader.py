"""YAML from anyone: what is read is bounded, and what is wrong is told with its line.

YAML 1.1 as PyYAML reads it, with merge keys (``<<:``), but no key twice, no keys that are lists or
mappings, and limits on size, depth and on what aliases unfold to: a file that someone was sent can
take neither the memory nor the afternoon.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from topseg.core.archives import split
from topseg.core.errors import InputError
from topseg.core.storage import read_bytes

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 50
MAX_NODES = 1_000_000
"""Values in a document, every alias counted as what it stands for."""

_TAG = "tag:yaml.org,2002:"
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def read_text_of(path: Path) -> str:
    """Read a YAML file's text.

    Raises:
        InputError: It is missing, no regular file (a device may never end), too large or not UTF-8.
    """
    try:
        if split(path) is not None:
            return _text_in_archive(path)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or pipe"
            raise InputError(f"{path}: got {kind}, expected a YAML file")
        if found.st_size > MAX_BYTES:
            raise InputError(
                f"{path}: {found.st_size} bytes, expected a YAML file of at most {MAX_BYTES}"
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _text_in_archive(path: Path) -> str:
    data = read_bytes(path)
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: {len(data)} bytes, expected a YAML file of at most {MAX_BYTES}")
    return data.decode("utf-8-sig")


def parse_yaml(text: str, where: str, *, texts: bool = False) -> Any:
    """Read a YAML document.

    Args:
        text: The document.
        where: What an error begins with, such as the file's name.
        texts: Leave every plain value but null a text, for settings whose types are known.

    Raises:
        InputError: It is no YAML, or beyond the limits; with the line.
    """
    try:
        return yaml.load(text, Loader=_TextLoader if texts else _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise InputError(f"{where}:{line} not valid YAML: {problem}") from None


class _Loader(yaml.SafeLoader):
    """A safe loader with limits, which keeps dates as texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and kind of attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Read a node, no deeper than allowed."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ConstructorError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Read a mapping; check its keys before merge keys are resolved."""
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                kind = "list" if isinstance(key, SequenceNode) else "mapping"
                raise ConstructorError(
                    None, None, f"a key is a {kind}, expected a word (quote it)", key.start_mark
                )
            if (key.tag, key.value) in seen:
                problem = f"the key '{_short(key.value)}' is given twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def get_single_node(self) -> Node | None:
        """Read the document; check what its aliases unfold to."""
        node: Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Make a value, or report a tag that does not fit it."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
            kind = node.tag.removeprefix(_TAG)
            problem = f"'{_short(str(node.value))}' is not {_KINDS.get(kind, f'a {kind}')}"
            raise ConstructorError(None, None, problem, node.start_mark) from None
        if isinstance(value, int) and value.bit_length() > 64:
            problem = f"'{_short(str(node.value))}' is too large; numbers have at most 64 bits"
            raise ConstructorError(None, None, problem, node.start_mark)
        return value


class _TextLoader(_Loader):
    """Leaves every scalar a text but null."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and kind of attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag == f"{_TAG}null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _count(node: Node, known: dict[int, int]) -> int:
    """Count the values below a node as if every alias were written out."""
    if isinstance(node, ScalarNode):
        return 1
    if id(node) in known:
        if known[id(node)] == 0:
            raise ConstructorError(None, None, "an alias stands inside itself", node.start_mark)
        return known[id(node)]
    known[id(node)] = 0  # under way
    children = node.value
    if isinstance(node, MappingNode):
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_count(child, known) for child in children)
    if total > MAX_NODES:
        raise ConstructorError(None, None, f"more than {MAX_NODES} values", node.start_mark)
    known[id(node)] = total
    return total


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
