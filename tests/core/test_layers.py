"""The house holds: imports go strictly downward, heavy ones stay where they are used."""

import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from rooms import circles, files, height, merged

import topseg

ROOT = Path(topseg.__file__).parent

FLOORS = [  # from the ground up; a module may import its own package and lower floors
    {"core"},
    {"media"},
    {"bundle"},
    {"data", "models"},
    {"interop", "losses"},
    {"recipe", "synthetic"},
    {"runtimes"},
    {"inference"},
    {"evaluation"},
    {"exporting"},
    {"report", "serve", "training"},
    {"api", "demo", "doctor"},
    {"cli"},
    {"__main__"},
]


FILES = files(ROOT)


def test_every_room_has_a_floor() -> None:
    assert set(merged(FILES)) == set().union(*FLOORS)


def test_imports_go_downward() -> None:
    floors = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    for room, targets in merged(FILES).items():
        upward = {target for target in targets if floors[target] >= floors[room]}
        assert not upward, f"{room} imports {upward}, which are not below it"


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
def test_no_import_goes_in_a_circle(depth: int) -> None:
    """Neither among rooms, nor among the parts of a room, nor among files."""
    assert circles(merged(FILES, depth)) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "house"
    (package / "low").mkdir(parents=True)
    (package / "__init__.py").write_text("from house.high import open_door\n")
    (package / "high.py").write_text("import numpy\nfrom house.low import one\n")
    (package / "low/__init__.py").write_text("")
    (package / "low/one.py").write_text("def f():\n    from .two import g\n")
    (package / "low/two.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from house.high import open_door\n"
        "import house.low.one\n"
    )
    graph = files(package)
    assert graph["high"] == {"low.one"}
    assert merged(graph) == {"high": {"low"}, "low": set()}
    assert circles(graph) == [{"low.one", "low.two"}]
    assert circles(merged(graph)) == []
    assert height(merged(graph)) == 2


def test_files_stay_short() -> None:
    long = {p.name: n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("topseg", {"torch", "cv2", "onnxruntime", "numpy", "importlib.metadata", "tempfile"}),
        (
            "topseg.cli",
            {"torch", "cv2", "onnxruntime", "numpy", "pydantic", "importlib.metadata"},
        ),
        ("topseg.inference.bulk", {"torch", "cv2"}),
        ("topseg.inference.hub", {"torch", "cv2"}),
        ("topseg.inference.tiling", {"torch", "cv2"}),
        ("topseg.inference.video", {"torch", "cv2"}),
        ("topseg.evaluation.run", {"torch"}),
        ("topseg.evaluation.benchmark", {"torch", "cv2"}),
        ("topseg.serve.workers.pipeline", {"torch", "cv2"}),
        ("topseg.serve.page.files", {"torch", "cv2"}),
        ("topseg.recipe", {"torch", "cv2"}),
        ("topseg.data.dataset", {"torch", "cv2"}),
        ("topseg.api", {"torch", "cv2"}),
        ("topseg.doctor", {"torch", "cv2"}),
    ],
)
def test_import_stays_light(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(run.stdout.split())


def test_no_exported_name_is_a_submodule() -> None:
    modules = {name for _, name, _ in pkgutil.walk_packages([str(ROOT)], "topseg.")}
    for name in sorted(modules - {"topseg.__main__"}):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:  # an extra that is not installed here
            if (error.name or "topseg").startswith("topseg"):
                raise
    for name in topseg.__all__:
        assert not isinstance(getattr(topseg, name), types.ModuleType), name


def test_table_of_contents_is_complete() -> None:
    assert set(topseg.__all__) == set(topseg._HOME)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = topseg.nothing


def test_torchvision_is_not_required() -> None:
    project = ROOT.parents[1]
    for name in ("pyproject.toml", "constraints.txt"):
        assert "torchvision" not in (project / name).read_text()
