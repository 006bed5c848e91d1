"""What an installed package needs beside its modules."""

import glob
import tomllib
from pathlib import Path

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
