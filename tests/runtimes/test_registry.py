"""The engines' records: complete, light, and open to another package's engine."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.core import plugins
from topseg.core.errors import InputError
from topseg.runtimes import registry
from topseg.runtimes.registry import (
    ENGINES,
    Engine,
    UnavailableError,
    engines_for,
    find_engine,
    open_runtime,
    runtime_help,
)

HALVES = Engine(
    name="halves",
    label="Halves",
    opener=f"{__name__}:open_halves",
    distribution="numpy",
    install="pip install halves",
    needs_graph=False,
)


def open_halves(bundle: Bundle, *, device: str, threads: int | None) -> SimpleNamespace:
    """An engine of another package, which answers with the number of its threads."""
    return SimpleNamespace(
        engine="halves", metadata=bundle.metadata, device=device, threads=threads
    )


@pytest.mark.parametrize("engine", ENGINES.values(), ids=str)
def test_record_names_a_file_of_this_package(engine: Engine) -> None:
    module = engine.opener.partition(":")[0]
    assert importlib.util.find_spec(module) is not None
    assert find_engine(engine.name) is engine
    assert engine.name in runtime_help()
    assert "pip install " in engine.install


def test_records_need_nothing_heavy() -> None:
    code = "import sys, topseg.runtimes.registry; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "onnxruntime", "torch"} & set(run.stdout.split())


def test_version_is_that_of_the_distribution() -> None:
    assert HALVES.version == f"numpy {np.__version__}"


@pytest.mark.parametrize("name", ["halves", f"{__name__}:HALVES"])
def test_engine_of_another_package(
    trained: Bundle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    points = {"halves": EntryPoint("halves", f"{__name__}:HALVES", "topseg.runtimes")}
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: points)
    opened = open_runtime(trained, name, threads=3)
    assert (opened.engine, opened.threads) == ("halves", 3)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="device cuda: the halves runtime has only 'cpu'"):
        open_runtime(trained, name, device="cuda")
    with pytest.raises(InputError, match="threads: got 0, expected a whole number above 0"):
        open_runtime(trained, name, threads=0)


def test_platform_and_package_that_are_missing(
    trained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Engine(**vars(HALVES) | {"platforms": ("plan9",)})
    assert not elsewhere.takes(trained)
    with pytest.raises(UnavailableError, match="Halves runs on plan9 only"):
        elsewhere.open(trained)
    monkeypatch.setitem(sys.modules, "nothing", None)
    missing = Engine(**vars(HALVES) | {"opener": "nothing:open"})
    with pytest.raises(UnavailableError, match="package 'nothing' is not installed; pip install h"):
        missing.open(trained)


def test_engines_of_a_bundle_without_graphs(trained: Bundle) -> None:
    found = [engine.name for engine in engines_for(trained)]
    assert found in (["native", "torch"], ["torch"])


def test_auto_names_what_to_install_where_nothing_is(
    exported: Bundle, trained: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    graphs = {"onnx": exported.metadata.graphs["onnx"]}
    bundle = replace(exported, metadata=replace(exported.metadata, graphs=graphs))
    with pytest.raises(UnavailableError, match=r"runtime onnx: .*; pip install onnxruntime"):
        open_runtime(bundle)
    with pytest.raises(UnavailableError, match=r"runtime torch: .*; pip install .*\[train\]'"):
        open_runtime(trained)
