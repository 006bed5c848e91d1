"""Assemble the documentation in build/docs, from where the site is built: ``make docs``.

A page of docs/ is taken as it is, but for its marks (reference.py) and its links (links.py); what
pages link to in the rest of the repository comes along, and so do all results of benchmarks.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from links import PICTURES, links_of, site_links, site_place
from reference import with_references

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build/docs"
LANGUAGES = {".py": "python", ".h": "c", ".hpp": "cpp", ".cpp": "cpp", ".cmake": "cmake"}
LANGUAGES |= {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sh": "bash", ".js": "js"}


def assemble() -> None:
    """Write every page and file of the site into build/docs."""
    shutil.rmtree(OUT, ignore_errors=True)
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks/results").glob("*.md")]
    waiting = sorted(path.relative_to(ROOT).as_posix() for path in pages)
    seen = set(waiting)
    while waiting:
        place = waiting.pop()
        source, target = ROOT / place, OUT / site_place(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.endswith(PICTURES):
            shutil.copyfile(source, target)
            continue
        text = source.read_text("utf-8")
        if not place.endswith(".md"):
            fence = f"````{LANGUAGES.get(source.suffix, 'text')}\n{text.rstrip()}\n````"
            target.write_text(f"# {source.name}\n\n`{place}`\n\n{fence}\n", "utf-8")
            continue
        for found, _ in links_of(text, place):
            if found not in seen and (ROOT / found).is_file():
                seen.add(found)
                waiting.append(found)
        target.write_text(site_links(with_references(text), place, ROOT), "utf-8")
    for name in ("site.css", "icon.svg"):
        shutil.copyfile(ROOT / "docs/site" / name, OUT / name)


if __name__ == "__main__":
    assemble()
