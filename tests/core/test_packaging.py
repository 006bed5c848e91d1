"""What an installed package needs beside its modules."""

import glob
import json
import re
import tomllib
from pathlib import Path

from topseg import __version__

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "topseg"


def test_every_data_file_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["topseg"]
    packaged = {
        SOURCE / path
        for pattern in patterns
        for path in glob.glob(pattern, root_dir=SOURCE, recursive=True)
    }
    built = {".py", ".pyc", ".so", ".pyd"}
    needed = {p for p in SOURCE.rglob("*") if p.is_file() and p.suffix not in built}
    assert {p for p in needed if p.name != ".gitignore"} <= packaged


def test_one_version() -> None:
    """``topseg.__version__`` is it; what other tools read by themselves repeats it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    engine = json.loads((SOURCE / "serve/page/engine/package.json").read_text())["version"]
    cite = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    cmake = re.search(
        r"project\(topseg VERSION (\S+)", (ROOT / "native/CMakeLists.txt").read_text()
    )
    header = (ROOT / "native/include/topseg.h").read_text()
    numbers = re.findall(r"^#define TOPSEG_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", header, re.M)
    assert cite is not None
    assert cmake is not None
    assert {engine, cite[1], cmake[1], ".".join(numbers)} == {__version__}


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/installing.md").read_text(), re.M)
    assert sorted(rows) == sorted(set(project["optional-dependencies"]) - {"dev", "docs"})
