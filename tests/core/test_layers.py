"""The house holds: imports go strictly downward, heavy ones stay where they are used."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import topseg

ROOT = Path(topseg.__file__).parent

FLOORS = [  # from the ground up; a module may import its own package and lower floors
    {"core"},
    {"media"},
    {"bundle", "losses"},
    {"data", "models"},
    {"interop"},
    {"recipe", "synthetic"},
    {"runtimes"},
    {"inference"},
    {"evaluation"},
    {"export"},
    {"report", "serve", "train"},
    {"demo"},
    {"cli"},
    {"__main__"},
]


def test_every_module_has_a_floor() -> None:
    found = {p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix == ".py" or _package(p)}
    assert found - {"__init__"} == set().union(*FLOORS)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    floor = next(i for i, rooms in enumerate(FLOORS) if room in rooms)
    below = set().union(*FLOORS[:floor], {room})
    for node in ast.walk(ast.parse(path.read_text())):
        for name in _topseg_imports(node):
            assert name in below, f"{path.name}:{node.lineno} imports topseg.{name} from below"


def test_files_stay_short() -> None:
    long = {p.name: n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("topseg", {"torch", "cv2", "onnxruntime", "numpy"}),
        ("topseg.cli", {"torch", "cv2", "onnxruntime", "numpy", "pydantic"}),
        ("topseg.inference.predict", {"torch"}),
        ("topseg.evaluation.evaluate", {"torch"}),
        ("topseg.inference.hub", {"torch"}),
        ("topseg.recipe", {"torch"}),
        ("topseg.data.dataset", {"torch"}),
    ],
)
def test_import_stays_light(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
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


def _package(path: Path) -> bool:
    return (path / "__init__.py").is_file()


def _topseg_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("topseg."):
        return [node.module.split(".")[1]]
    if isinstance(node, ast.ImportFrom) and node.module == "topseg":
        return [alias.name for alias in node.names if alias.name not in ("__version__", "_native")]
    if isinstance(node, ast.Import):
        return [a.name.split(".")[1] for a in node.names if a.name.startswith("topseg.")]
    return []
