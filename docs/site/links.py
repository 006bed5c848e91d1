"""Links: from a page of the repository to its place in the site.

A page links to ``../benchmarks/results/tail.md`` or ``../native/include/topseg.h``, which works
where the file is read in the repository. The site has what lies outside docs/ below
``repository/``: pages and pictures as they are, other texts as a page with one fenced block. A link
to a folder becomes plain text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

LINK = re.compile(r"(?<!\\)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
PICTURES = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")


def site_place(place: str) -> str:
    """Return the site's place of a file of the repository."""
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return "repository/" + (place if place.endswith((".md", *PICTURES)) else f"{place}.md")


def links_of(markdown: str, place: str) -> Iterator[tuple[str, str]]:
    """Find a page's links into the repository: (target's place, anchor or "").

    Args:
        markdown: The page.
        place: Where it lies, from the repository's root.
    """
    found: list[tuple[str, str]] = []

    def note(text: str, link: str) -> str:
        if target := _target(place, link):
            found.append((target, link.partition("#")[2]))
        return ""

    _replace(markdown, note)
    yield from found


def site_links(markdown: str, place: str, root: Path) -> str:
    """Turn a page's links into the repository into links between places of the site."""
    here = os.path.dirname(site_place(place)) or "."

    def replaced(text: str, link: str) -> str:
        target = _target(place, link)
        if not target or not (root / target).exists():
            return f"[{text}]({link})"
        if (root / target).is_dir():
            return text
        _, mark, anchor = link.partition("#")
        return f"[{text}]({os.path.relpath(site_place(target), here)}{mark}{anchor})"

    return _replace(markdown, replaced)


def _target(place: str, link: str) -> str:
    """Return the place that a link leads to, or "" where it leads out of the repository."""
    path = link.partition("#")[0]
    if ":" in path.split("/")[0]:
        return ""
    return os.path.normpath(os.path.join(os.path.dirname(place), path)) if path else place


def _replace(markdown: str, change: Callable[[str, str], str]) -> str:
    """Replace every link that stands in no code by what ``change(text, link)`` returns."""
    lines, fence = [], ""
    for line in markdown.split("\n"):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence:
            line = LINK.sub(lambda match: change(match[1], match[2]), line)
        lines.append(line)
    return "\n".join(lines)
