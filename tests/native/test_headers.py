"""The headers, each compiled alone with the sanitizers for memory and undefined behaviour."""

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
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


THREADS = ["-fsanitize=thread"]


def build(
    source: Path, program: Path, sanitize: list[str] = SANITIZE
) -> subprocess.CompletedProcess[str]:
    command = [str(COMPILER), *FLAGS, *sanitize, "-I", str(ROOT / "native"), str(source)]
    return subprocess.run([*command, "-o", str(program)], capture_output=True, text=True)


def run(name: str, tmp_path: Path, text: str = "", sanitize: list[str] = SANITIZE) -> str:
    """Build and run a program; return what it printed."""
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() {}")
    if build(probe, tmp_path / "probe", sanitize).returncode:
        pytest.skip("the compiler has no sanitizers")
    built = build(HERE / f"{name}.cpp", tmp_path / name, sanitize)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / name], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tail(tmp_path: Path) -> None:
    table = json.loads((HERE.parent / "golden" / "resize_vectors.json").read_text())
    lines = []
    for row in table["masks"]:
        logits = ["nan" if value is None else value for value in row["logits"]]
        lines.append(" ".join(map(str, [*row["shape"], *row["size"], *logits, *row["mask"]])))
    assert run("test_tail", tmp_path, "\n".join(lines)) == f"{len(lines)} rows of the table\nok\n"


def test_loss(tmp_path: Path) -> None:
    assert run("test_loss", tmp_path) == "ok\n"


@pytest.mark.parametrize("sanitize", [SANITIZE, THREADS], ids=["memory", "threads"])
def test_pool(tmp_path: Path, sanitize: list[str]) -> None:
    assert run("test_pool", tmp_path, sanitize=sanitize) == "ok\n"
