"""The page about the house is true: its floors, its paths, and that a thing has one place."""

import ast
import re
from pathlib import Path

import pytest
from test_layers import FLOORS

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
SOURCE = ROOT / "src" / "topseg"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
TASKS = PAGE.partition("## Where to change what")[2].partition("\n## ")[0]


def test_the_picture_has_every_room_on_its_floor() -> None:
    picture = PAGE.partition("## Floors")[2].partition("```\n")[2].partition("```")[0]
    drawn = [set(re.findall(r"[a-z_]+(?=/|\.py)", line[:27])) for line in picture.splitlines()]
    assert drawn == [*reversed(FLOORS[:-1]), {"native"}]  # __main__ is the door to cli


def test_ten_tasks_have_places_that_exist() -> None:
    rows = [line for line in TASKS.splitlines() if line.startswith(("| a", "| the"))]
    assert len(rows) == 10
    for row in rows:
        paths = re.findall(r"`((?:src|native)/[^`]+)`", row)
        assert paths, row
        for path in paths:
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("lovasz", {"losses/lovasz.py"}),
        ("random_scale", {"data/transforms/scale.py"}),
        ("camvid", {"data/layouts/camvid.py", "core/labels.py"}),  # the layout, and the label set
        ("mnn", {"runtimes/mnn.py", "runtimes/registry.py", "exporting/formats.py"}),
        ("frequency_weighted_iou", {"evaluation/scores.py"}),
    ],
)
def test_a_name_is_entered_where_the_page_says(name: str, places: set[str]) -> None:
    """As a value, not in prose; other projects' words are known to interop and recipe/usual.py."""
    found = {
        str(path.relative_to(SOURCE).as_posix())
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == name
    }
    foreign = ("interop/", "recipe/usual.py")
    assert {path for path in found if not path.startswith(foreign)} == places


def test_nothing_outside_models_knows_a_family() -> None:
    """No import of its modules, but by the room of models itself."""
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] != "models":
            modules = {
                node.module
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
            }
            assert not {one for one in modules if (one or "").startswith("topseg.models.topformer")}


def test_the_promises_of_security_have_tests() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    rows = [
        line.split("|")[3] for line in text.splitlines() if re.match(r"\| [^|]*\|[^|]*\| ", line)
    ]
    named = {name for row in rows for name in re.findall(r"[\w/]*test_\w+", row)}
    assert len(named) > 25
    missing = [n for n in named if not any(TESTS.rglob(f"{n.rpartition('/')[2]}.py"))]
    missing += [n for n in named if "/" in n and not (TESTS / f"{n}.py").is_file()]
    assert not missing
