"""The documentation site: it builds without a warning, asks no other address, and finds things."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pages import NAMED

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"<(?:script|img|iframe|source|audio|video|link(?=[^>]*rel=\"?(?:stylesheet|preload|icon)))\b"
    r"[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^\">\s]+"
)
"""What a browser fetches unasked from another address."""


def test_every_page_is_built(site: Path) -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks/results").glob("*.md")]
    for page in pages:
        place = page.relative_to(ROOT)
        place = place.relative_to("docs") if place.parts[0] == "docs" else "repository" / place
        assert (site / place.with_suffix(".html")).is_file(), place


def test_every_page_of_the_documents_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        assert re.search(rf" {page.relative_to(ROOT / 'docs')}$", navigation, re.MULTILINE), page


def test_no_other_address_is_asked(site: Path) -> None:
    assert LOADED.search('<script src="https://cdn.example/x.js">')
    assert LOADED.search('<link href="//fonts.example/a.css" rel="stylesheet">')
    for page in site.rglob("*.html"):
        assert not (found := LOADED.search(page.read_text())), (page, found)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


def test_no_mark_and_no_role_is_left(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "generated:" not in page.read_text(), page
        assert not re.search(r":(?:func|class|meth|data):", page.read_text()), page


@pytest.mark.parametrize("words", NAMED)
def test_search_finds(site: Path, words: str) -> None:
    items = json.loads((site / "search.json").read_text())["items"]
    found = {
        item["location"].partition("#")[0]
        for item in items
        if words.lower() in re.sub(r"<[^>]+>", "", item["title"] + " " + item["text"]).lower()
    }
    assert NAMED[words] in found, found
