"""The export formats' records: complete, light, and the same as the table in the docs."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from topseg.core.errors import InputError
from topseg.core.installing import pip_install
from topseg.exporting import formats
from topseg.exporting.formats import FORMATS, Format, choose_formats, formats_help, precision_help
from topseg.runtimes.registry import find_engine

ROOT = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


def rows(form: Format) -> list[str]:
    """The lines of docs/export.md about a format: what it is, and what to install."""
    engine = find_engine(form.engine)
    size = "one" if form.fixed_size else "any multiple of 32"
    extras = dict.fromkeys(("train", form.extra))
    int8 = f"`{form.int8.extra}`" if form.int8 else ""
    install = ", ".join(f"`{extra}`" for extra in extras)
    run = form.place or f"`{engine.install}`"
    cells = (engine.label, form.files, size), (install, run, int8)
    return [f"| `{form.name}` | {' | '.join(part)} |" for part in cells]


@EACH
def test_docs_have_the_records_lines(form: Format) -> None:
    lines = (ROOT / "docs" / "export.md").read_text().splitlines()
    assert set(rows(form)) <= set(lines)


def test_docs_have_no_other_format() -> None:
    lines = (ROOT / "docs" / "export.md").read_text().splitlines()
    names = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert names == [*FORMATS, *FORMATS]


@EACH
def test_help_and_functions(form: Format) -> None:
    assert form.name in formats_help()
    assert (form.name in precision_help()) is (form.int8 is not None)
    functions = [form.writer, form.finish, form.int8 and form.int8.quantizer]
    for module, _, name in (function.partition(":") for function in functions if function):
        assert callable(getattr(importlib.import_module(module), name))


@EACH
def test_extras_are_those_of_the_project(form: Format) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert form.extra in extras
    assert form.int8 is None or form.int8.extra in extras


def test_records_need_nothing_heavy() -> None:
    code = "import sys, topseg.exporting.formats; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "onnxruntime", "torch"} & set(run.stdout.split())


def test_what_contains_a_format_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: name)
    assert [form.name for form in choose_formats(["web", "torch", "native"])] == ["native"]
    assert [form.name for form in choose_formats(["mnn", "web"])] == ["mnn", "native"]
    with pytest.raises(InputError, match="no format 'webb', did you mean 'web'"):
        choose_formats(["webb"])


def test_everything_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        choose_formats(["ncnn", "onnx"])
    assert str(caught.value).splitlines() == [
        f"export needs torch: {pip_install('topseg[train]')}",
        f"formats: 'ncnn' needs pnnx and ncnn: {pip_install('topseg[ncnn]')}",
        f"formats: 'onnx' needs onnx and onnxscript: {pip_install('topseg[onnx]')}",
    ]
