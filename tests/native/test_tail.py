"""The tail's header, compiled alone with the sanitizers for memory and undefined behaviour."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
FLAGS = ["-std=c++17", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-pthread"]


def build(source: Path, program: Path, *flags: str) -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    command = [COMPILER, *FLAGS, *flags, "-I", ROOT / "native", source, "-o", program]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def table() -> str:
    """Write the shared table as the program reads it."""
    rows = json.loads((HERE.parent / "golden" / "resize_vectors.json").read_text())["masks"]
    text = []
    for row in rows:
        logits = ["nan" if value is None else value for value in row["logits"]]
        text.append(" ".join(map(str, [*row["shape"], *row["size"], *logits, *row["mask"]])))
    return "\n".join(text)


def test_header_under_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "test_tail"
    sanitize = "-fsanitize=address,undefined"
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() {}")
    try:
        build(probe, tmp_path / "probe", sanitize)
    except AssertionError:
        pytest.skip("this compiler has no sanitizers")
    build(HERE / "test_tail.cpp", program, sanitize, "-fno-sanitize-recover=all")
    run = subprocess.run([program], input=table(), capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "table found\nok\n"), run.stdout + run.stderr
