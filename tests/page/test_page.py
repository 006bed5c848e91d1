"""The page's files: complete, without external addresses, the same for the service and the web."""

import copy
import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import Graph
from topseg.bundle.published import SHIPPED
from topseg.cli import main
from topseg.core.errors import InputError
from topseg.serve.page import files as page
from topseg.serve.page.files import (
    ENGINE_FILES,
    FOLDER,
    ORT_FILES,
    install_ort,
    page_files,
    write_page,
)

SOURCES = [p for p in sorted(FOLDER.iterdir()) if p.suffix in {".html", ".css", ".js", ".svg"}]
SOURCES += sorted((FOLDER / "engine").glob("*.js"))


@pytest.fixture
def bundle(trained: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with a recipe and a graph, though not one that runs."""
    folder = tmp_path / "bundle"
    shutil.copytree(trained.folder, folder)
    (folder / "model.onnx").write_bytes(b"graph")
    graphs = {"onnx": Graph(file="model.onnx")}
    recipe = {"data": {"root": "/srv/private"}}
    metadata = dataclasses.replace(trained.metadata, graphs=graphs, recipe=recipe)
    return write_metadata(folder, metadata)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An npm package of the right name and version."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    name, _, version = page.ORT.partition("@")
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    for file in ORT_FILES:
        (folder / "dist" / file.replace(".js", ".mjs")).write_text(file)
    return folder


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's folder, where onnxruntime-web is not installed yet."""
    folder = tmp_path / "page"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("ort"))
    monkeypatch.setattr(page, "FOLDER", folder)
    return folder


def test_files_of_the_service(bundle: Bundle, copied: Path) -> None:
    files = page_files({"my model": bundle}, server=True)
    assert files[""] == files["index.html"] == copied / "index.html"
    assert {str(path.relative_to(FOLDER)) for path in SOURCES} <= set(files)
    about = files["page.json"]
    assert isinstance(about, bytes)
    description = json.loads(about)
    assert description["models"] == ["my model"]
    assert description["server"] is True
    assert {f"engine/{name}" for name in ENGINE_FILES} <= set(files)
    for name, version in description["engine"].items():
        assert hashlib.sha256((FOLDER / "engine" / name).read_bytes()).hexdigest()[:16] == version
    assert description["ort"] is None  # not installed, so no graph either
    samples = [files[name] for name in description["samples"]]
    assert len(samples) == 4
    assert all(isinstance(path, Path) and path.is_file() for path in samples)
    # Web servers decode addresses before they look for a file.
    assert "models/my model/metadata.json" in files
    assert "models/my model/weights.safetensors" in files
    assert "models/my model/model.onnx" not in files


def forged(section: Any, **fields: Any) -> Any:
    """A section with values that its own checks refuse."""
    changed = copy.copy(section)
    for name, value in fields.items():
        object.__setattr__(changed, name, value)
    return changed


def test_files_that_are_not_the_bundles_are_not_handed_out(
    bundle: Bundle, copied: Path, package: Path, tmp_path: Path
) -> None:
    install_ort(package)
    assert "models/m/model.onnx" in page_files({"m": bundle}, server=True)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (bundle.folder / "link.onnx").symlink_to(secret)
    listed = dict.fromkeys((str(secret), "../secret", "link.onnx"), "0" * 64)
    try:
        for name, files in [
            *((name, listed) for name in listed),  # outside the folder
            ("model.onnx", {}),  # inside, but not listed
        ]:
            graph = forged(bundle.metadata.graphs["onnx"], file=name)
            weights = bundle.metadata.weights if "/" in name else name
            metadata = forged(bundle.metadata, graphs={"onnx": graph}, files=files, weights=weights)
            hostile = dataclasses.replace(bundle, metadata=metadata)
            found = page_files({"m": hostile}, server=True)
            models = {
                address: content for address, content in found.items() if "models/" in address
            }
            assert list(models) == ["models/m/metadata.json"], name
    finally:
        (bundle.folder / "link.onnx").unlink()


def test_metadata_tells_nothing_of_the_training_machine(bundle: Bundle, copied: Path) -> None:
    metadata = page_files({"m": bundle}, server=True)["models/m/metadata.json"]
    assert isinstance(metadata, bytes)
    assert b"/srv/private" not in metadata
    assert json.loads(metadata)["classes"] == list(bundle.metadata.classes)


def test_page_is_written_whole(bundle: Bundle, copied: Path, package: Path, tmp_path: Path) -> None:
    install_ort(package)
    out = tmp_path / "web"
    write_page({"m": bundle}, out)
    written = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert written == set(page_files({"m": bundle}, server=False)) - {""}
    assert {f"ort/{name}" for name in ORT_FILES} <= written
    assert (out / "models/m/model.onnx").read_bytes() == b"graph"
    metadata = json.loads((out / "models/m/metadata.json").read_text())
    assert set(metadata["files"]) == {"model.onnx", "weights.safetensors"}
    assert json.loads((out / "page.json").read_text())["ort"] == page.ORT.split("@")[1]
    with pytest.raises(InputError, match="exists already"):
        write_page({"m": bundle}, out)


def test_command_writes_a_small_page(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    name = next(iter(SHIPPED))  # Tiny, 11 classes, float16
    out = tmp_path / "bundle"
    words = ["export", name, "--out", str(out), "--formats", "web", "--precision", "fp16"]
    assert main(words) == 0
    files = [path for path in (out / "web").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3.9e6
    assert not [path for path in files if path.suffix == ".onnx" or path.parent.name == "ort"]
    weights = out / "web/models/bundle/weights.safetensors"
    assert weights.read_bytes() == (out / "weights.safetensors").read_bytes()


def test_networks_of_other_families_need_graph_and_ort(
    bundle: Bundle, copied: Path, package: Path, tmp_path: Path
) -> None:
    architecture = dataclasses.replace(bundle.metadata.architecture, name="plugged_in")
    metadata = dataclasses.replace(bundle.metadata, architecture=architecture)
    other = dataclasses.replace(bundle, metadata=metadata)
    bare = dataclasses.replace(other, metadata=dataclasses.replace(metadata, graphs={}))
    with pytest.raises(InputError, match=r"does not know plugged_in.*--formats onnx"):
        write_page({"m": bare}, tmp_path / "web")
    with pytest.raises(InputError, match="npm install onnxruntime-web@"):
        write_page({"m": other}, tmp_path / "web")
    assert not (tmp_path / "web").exists()
    install_ort(package)
    write_page({"m": other}, tmp_path / "web")
    assert [p.name for p in sorted((tmp_path / "web/models/m").iterdir())] == [
        "metadata.json",
        "model.onnx",
    ]


def test_engine_of_another_version_is_refused(package: Path, copied: Path) -> None:
    (package / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}')
    with pytest.raises(InputError, match="not the npm package"):
        install_ort(package)
    assert not (copied / "ort").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_no_external_address(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?://|//cdn|@import|url\((?!#)", text)


def test_worker_keeps_every_file_for_offline_use() -> None:
    source = (FOLDER / "sw.js").read_text()
    shell = set(re.findall(r'^  "([^"]+)",$', source, re.MULTILINE))
    assert shell == {str(p.relative_to(FOLDER)) for p in SOURCES} - {"sw.js"} | {"./", "page.json"}


def test_scripts_ask_for_elements_that_exist() -> None:
    ids = set(re.findall(r'id="([^"]+)"', (FOLDER / "index.html").read_text()))
    asked = set(re.findall(r'\$\("([^"]+)"\)', (FOLDER / "app.js").read_text()))
    asked |= set(re.findall(r'part\("([^"]+)"\)', (FOLDER / "stage.js").read_text()))
    assert asked <= ids
    assert len(asked) > 20


def test_files_of_the_page_stay_short() -> None:
    assert not {p.name: n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
