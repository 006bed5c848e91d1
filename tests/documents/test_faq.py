"""The messages that docs/faq.md quotes are those of the source, word for word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTIONS = ("The ",)
"""How a heading begins that is a question and no message."""


def headings() -> list[str]:
    lines = (ROOT / "docs/faq.md").read_text("utf-8").splitlines()
    found = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    return [line for line in found if not line.startswith(QUESTIONS)]


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a program; what is put in when it runs is one "…"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def source() -> list[str]:
    files = sorted((ROOT / "src/topseg").rglob("*.py"))
    return [text for file in files for text in texts(ast.parse(file.read_text("utf-8")))]


def is_in_source(message: str) -> bool:
    parts = [re.escape(part) for part in message.strip("…: ").split("…")]
    pattern = re.compile("[^\n]*?".join(parts))
    return any(pattern.search(text) for text in source())


def test_the_page_has_messages() -> None:
    assert len(headings()) > 30


@pytest.mark.parametrize("message", headings())
def test_message_is_in_the_source(message: str) -> None:
    assert is_in_source(message)


def test_other_words_are_not_found() -> None:
    assert not is_in_source("…: holds a run already; go on with --again")
