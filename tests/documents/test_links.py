"""Links between the pages of the repository: each file and each heading that they name is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/site"))
from links import links_of, site_links

ROOT = Path(__file__).parents[2]
PLACES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
).stdout.split()


def headings(page: Path) -> set[str]:
    """The anchors of a page, as web sites of repositories make them of its headings."""
    anchors, fenced = set(), False
    for line in page.read_text("utf-8").splitlines():
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced and (heading := re.match(r"#+ (.*)", line)):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            anchors.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return anchors


def written_later(page: Path) -> bool:
    """Whether some of a page's headings are made when the site is built, which checks them."""
    return page.suffix != ".md" or bool(re.search("^(<!-- generated|::: )", page.read_text(), re.M))


def problems(place: str) -> list[str]:
    found = []
    for target, anchor in links_of((ROOT / place).read_text("utf-8"), place):
        page = ROOT / target
        if not page.exists():
            found.append(f"{place}: {target} is not there")
        elif anchor and not written_later(page) and anchor not in headings(page):
            found.append(f"{place}: {target} has no heading #{anchor}")
    return found


@pytest.mark.skipif(not PLACES, reason="no repository of git here")
@pytest.mark.parametrize("place", PLACES)
def test_links_lead_somewhere(place: str) -> None:
    assert not problems(place)


def test_a_link_into_nothing_is_found(tmp_path: Path) -> None:
    page = "see [a](nowhere.md), [b](data.md#no-such-heading) and [c](data.md#splits)\n"
    (tmp_path / "page.md").write_text(page)
    linked = list(links_of(page, "docs/page.md"))
    assert linked == [
        ("docs/nowhere.md", ""),
        ("docs/data.md", "no-such-heading"),
        ("docs/data.md", "splits"),
    ]
    assert "splits" in headings(ROOT / "docs/data.md")
    assert "no-such-heading" not in headings(ROOT / "docs/data.md")


def test_links_in_code_stay_as_they_are() -> None:
    page = "```\n[a](../README.md)\n```\n[b](../LICENSE) and [c](../native)\n"
    assert site_links(page, "docs/x.md", ROOT) == (
        "```\n[a](../README.md)\n```\n[b](repository/LICENSE.md) and c\n"
    )
