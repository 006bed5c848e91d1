"""The site in headless Chromium: a phone's width is enough, nothing is asked elsewhere, search."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import NAMED

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

FOUND = """
const root = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).find((one) => one);
return [...root.querySelectorAll("a")].map((one) => new URL(one.href).pathname.slice(1));
"""
"""Pages that the open search shows."""


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


def test_search_finds_what_is_typed(site: Path, browser: Browser) -> None:
    browser.device(1280, 900)
    with static(site) as address:
        for words, page in NAMED.items():
            browser.driver.get(address + "index.html")
            browser.until("document.querySelector('.md-search__button')").click()
            browser.until("[...document.querySelectorAll('*')].some((one) => one.shadowRoot)")
            browser.driver.switch_to.active_element.send_keys(words)
            browser.until(f"(() => {{{FOUND}}})().includes('{page}')")
