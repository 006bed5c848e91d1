"""Every command in README.md and docs/ parses; those that need little are run as they stand.

A command is a line that begins with ``topseg`` in a fenced block (what stands before a pipe runs by
the shell as well). It runs in a folder that has what the documents speak of: a data set, a short
run, pictures, a list, a clip.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import PAGES

from topseg.cli.app import app

NOT_RUN = {
    r"\btopseg (train (topformer_|finetune|quick)|demo)": "a training of minutes to hours",
    r"\btopseg data convert\b": "labels of other tools; tests/data/annotations has them",
    r"\btorchrun\b": "several machines or processes; tests/training/test_distributed.py has them",
    r"--executor ray": "a Ray cluster; tests/inference/bulk/test_cluster.py has one",
    r"\btopseg serve\b": "ends when it is stopped; tests/serve has it",
    r"rtsp:|webcam:": "a camera",
    r"--runtime (litert|ncnn)|--formats (litert|ncnn)": "an extra; tests/contracts has them",
    r"--precision int8": "an extra; tests/exporting/test_quantization.py has it",
    r"(\.pdparams|\.pth) bundle|weights=model": "a file of others; tests/interop",
    r"^topseg predict bundle photo\.jpg --out masks$": "a bundle of others; tests/interop",
    r"PATH|\btopseg train RECIPE|compare-runs A B": "a form with blanks, or data that is not here",
    r"--import phone": "a file from a phone; tests/native/test_program.py has one",
    r"key=value": "a form with blanks",
}
"""Pattern of a command that is parsed but not run -> why."""

NEEDS = {"tile": "rasterio", "video": "av"}
"""Command -> package of an extra that it needs."""


def commands() -> Iterator[tuple[Path, str]]:
    """Every command line of a fenced block, its comment left out, continued lines joined."""
    for page in PAGES:
        fenced = False
        for line in page.read_text().replace("\\\n", " ").splitlines():
            if line.startswith("```"):
                fenced = not fenced
            elif fenced and re.match(r"(.*\| *)?topseg \w", line):
                yield page, re.sub(r"\s+# .*$", "", line).strip()


ALL = list({command: (page, command) for page, command in commands()}.values())


def label(case: tuple[Path, str]) -> str:
    return f"{case[0].stem}: {case[1]}"


def substituted(command: str) -> str:
    """The command with the documents' place holders filled in."""
    words = {"MODEL": "bundle", "DATA": "photos", "RECIPE": "recipe.yaml", "RUN": "out_run"}
    words |= {"A": "bundle", "B": "runs/mine"}
    return re.sub(r"\b(MODEL|DATA|RECIPE|RUN|A|B)\b", lambda match: words[match[0]], command)


def test_the_documents_have_commands() -> None:
    assert len(ALL) > 30
    assert {"predict", "train", "evaluate", "export", "serve", "video", "tile"} <= {
        command.split("topseg ")[-1].split()[0] for _, command in ALL
    }


@pytest.mark.parametrize("case", ALL, ids=label)
def test_command_parses(case: tuple[Path, str]) -> None:
    words = shlex.split(case[1].rpartition("topseg ")[2].split(" 2>")[0].split(" > ")[0])
    if any("[" in word or word == "..." for word in words):
        pytest.skip("a form with blanks, such as [key=value ...]")
    words = [word for word in words if word not in ("--debug", "--offline")]
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("case", ALL, ids=label)
def test_command_runs(case: tuple[Path, str], folder: Path) -> None:
    command = substituted(case[1])
    for pattern, reason in NOT_RUN.items():
        if re.search(pattern, case[1]):
            pytest.skip(reason)
    name = command.split("topseg ")[-1].split()[0]
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    if "openvino" in command:
        pytest.importorskip("openvino")
    for made in ("masks", "out", "shards", "bundle2", "out_run"):
        shutil.rmtree(folder / made, ignore_errors=True)
    command = re.sub(r"--out bundle\b", "--out bundle2", command)
    script = re.sub(r"\btopseg ", f"{shlex.quote(sys.executable)} -m topseg ", command)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
