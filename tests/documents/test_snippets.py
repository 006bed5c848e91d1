"""Every Python snippet of the documents runs: those of a page in order, in one program.

A page's program runs in the folder that the commands have as well. Snippets that show a form, with
bodies left out or a server that is not here, are compiled only.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES

NOT_RUN = {
    "tritonclient": "a running service; tests/serve has one",
    "STRICT)": "a form; examples/plugin has the whole, which tests/contracts runs",
    "Layout(": "a form; examples/plugin has the whole",
    "Family(": "a form; examples/plugin has the whole",
    "Engine(": "a form; examples/plugin has the whole",
}
"""Words of a snippet that is compiled but not run -> why."""

NEEDS = {"predict_tiles": "rasterio", "predict_videos": "av", "compressed=True": "pycocotools"}
"""Words of a snippet -> package of an extra that it needs."""


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


WITH_CODE = [page for page in PAGES if snippets(page)]


def test_the_documents_have_snippets() -> None:
    assert len(WITH_CODE) > 8


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_snippets_are_python(page: Path) -> None:
    for code in snippets(page):
        ast.parse(code)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_snippets_run(page: Path, folder: Path) -> None:
    parts = [code for code in snippets(page) if not any(word in code for word in NOT_RUN)]
    if not parts:
        pytest.skip("forms only")
    for word, package in NEEDS.items():
        if any(word in code for code in parts):
            pytest.importorskip(package)
    program = folder / f"{page.stem}_snippets.py"
    program.write_text("\n".join(parts), "utf-8")
    done = subprocess.run(
        [sys.executable, program.name], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
