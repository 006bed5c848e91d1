"""The site in headless Chromium as on a phone: no page is wider, and no other address is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "page"))
from browser import CHROMIUM, DRIVER, Browser, static

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium is not installed")

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md"))
WIDE = """
return [...document.querySelectorAll(".md-content table")].filter((table) => {
  const box = table.closest(".md-typeset__table").parentElement;
  return box.scrollWidth > box.clientWidth + 1;
}).map((table) => table.rows[0].textContent.trim());
"""
"""Tables that are wider than the page, by their heads."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.close()


def test_every_page_fits(site: Path, browser: Browser) -> None:
    browser.device(390, 844)
    script, wide = browser.driver.execute_script, {}
    with static(site) as address:
        for page in PAGES:
            browser.driver.get(address + str(page))
            browser.until("document.querySelector('.md-content')")
            assert script("return document.documentElement.scrollWidth") <= 390, page
            wide[str(page)] = script(WIDE)
            asked = script("return performance.getEntriesByType('resource').map((one) => one.name)")
            assert all(one.startswith((address, "data:")) for one in asked), (page, asked)
    assert not {page: tables for page, tables in wide.items() if tables}
