"""The C++ core stays small and in one style."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES, MAX_CORE = 400, 2000
TIDY = 14  # Debian 12's
SUFFIXES = {".h", ".hpp", ".cpp"}


def sources(*folders: str) -> list[Path]:
    """Every C++ file below some folders."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return sorted(path for path in found if path.suffix in SUFFIXES)


def code_lines(text: str) -> int:
    """Lines that are neither blank nor comment alone."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(
        bool(line.strip()) and not line.strip().startswith("//") for line in text.split("\n")
    )


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources("native", "examples")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_core_is_small() -> None:
    # From a bundle's files to logits; threads, tail, loss, resizing and interfaces stand beside it.
    files = ("network", "model", "weights", "metadata", "json")
    core = sources("native/topseg/nn", "native/topseg/models")
    core += [ROOT / "native" / "topseg" / f"{name}.hpp" for name in files]
    assert 0 < sum(code_lines(path.read_text()) for path in core) < MAX_CORE


def test_comments_are_no_code() -> None:
    assert code_lines("int a;  // one\n\n// two\n/* three\n four */\nint b;\n") == 2


@pytest.mark.parametrize("source", ["native/src/wasm.cpp", "native/tools/info.cpp"])
def test_checks_of_clang_tidy(source: str) -> None:
    """Two files here, whose headers are most of the engine's; all of them by ``make tidy``."""
    tidy = shutil.which("clang-tidy")
    version = subprocess.run([tidy, "--version"], capture_output=True, text=True) if tidy else None
    if version is None or f"version {TIDY}." not in version.stdout:
        pytest.skip(f"clang-tidy {TIDY} is not installed; others have other checks")
    flags = ["-std=c++17", f"-I{ROOT / 'native'}", f"-I{ROOT / 'native' / 'include'}"]
    command = [str(tidy), "--quiet", str(ROOT / source), "--", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
