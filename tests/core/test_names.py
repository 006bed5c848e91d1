"""What benchmarks, examples and documents import from topseg is there."""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(p for name in ("benchmarks", "examples") for p in (ROOT / name).rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def sources(path: Path) -> Iterator[str]:
    """Yield a script, or the Python blocks of a page."""
    text = path.read_text()
    yield from re.findall(r"```python\n(.*?)```", text, re.S) if path.suffix == ".md" else [text]


@pytest.mark.parametrize("path", [*SCRIPTS, *PAGES], ids=lambda path: path.name)
def test_imported_names_exist(path: Path) -> None:
    for source in sources(path):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "topseg":
                module = node.module or ""
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                names = []
                module = next((a.name for a in node.names if a.name.startswith("topseg")), "")
            else:
                continue
            if not module:
                continue
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if (error.name or "topseg").startswith("topseg"):
                    raise
                pytest.skip(f"{error.name} is not installed")
            for name in names:
                assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), (
                    f"{path.name}: {module} has no {name}"
                )
