"""Every command in the documents is one that the command line takes; some are run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from topseg.cli import main
from topseg.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = {"topseg models", "topseg recipe recipes/topformer_tiny.yaml"}
"""Commands that need neither files of the reader's nor a network nor minutes."""


def commands(page: Path) -> Iterator[str]:
    """Yield the commands in a page's blocks, each as one line without its remark."""
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.startswith("topseg ") and " [" not in line:  # a synopsis is none
                yield re.split(r"\s+#|\s{3,}", line)[0].strip()


FOUND = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), FOUND, ids=[f"{p}:{c[:60]}" for p, c in FOUND])
def test_documented_commands_parse(page: str, command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "..."]
    words = [word.strip("[]") for word in words if word not in ("--debug", "--offline")]
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("command", sorted(RUN))
def test_commands_without_needs_run(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(command.split()[1:]) == 0
    assert capsys.readouterr().out
