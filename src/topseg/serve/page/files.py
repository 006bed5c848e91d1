"""Page files: what the page consists of, for the service and for any static web host.

The page is plain HTML, CSS and ES modules, and asks no other address for anything. What differs
from one place to another stands in one file, ``page.json``: the models, and whether a service
answers beside it (``POST segment?model=NAME``, an image file in, an index PNG out).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from topseg import __version__
from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import METADATA
from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.files import atomic_path, write_bytes
from topseg.media.drawing import picture_png
from topseg.synthetic.scenes import draw_scene

FOLDER: Final = Path(__file__).parent

ENGINE: Final = "onnxruntime-web@1.30.0"
"""The npm package that runs networks in a browser."""

ENGINE_FILES: Final = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.js",
    "ort-wasm-simd-threaded.asyncify.js",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""What the page takes of it: one build for processors alone, one that knows WebGPU as well. Modules
are called .js here, which every web host serves as such."""

SAMPLES: Final = ((11, 1), (11, 6), (11, 9), (11, 7))
"""(seed, index) of the drawn scenes that the page offers."""

_SUFFIXES = {".html", ".css", ".js", ".svg"}


def page_files(models: Mapping[str, Bundle], *, server: bool) -> dict[str, Path | bytes]:
    """List everything that the page consists of, by its address below the page's own.

    Args:
        models: Bundles by the names that the page shows.
        server: Whether a service answers at ``segment`` beside the page.

    Returns:
        Address -> a file, or its content. ``""`` is the page itself. The in-browser engine is there
        where it was installed (see :func:`install_engine`).
    """
    files: dict[str, Path | bytes] = {
        path.name: path for path in sorted(FOLDER.iterdir()) if path.suffix in _SUFFIXES
    }
    files[""] = files["index.html"]
    installed = has_engine()
    if installed:
        files |= {f"ort/{name}": FOLDER / "ort" / name for name in ENGINE_FILES}
    for number, scene in enumerate(SAMPLES, start=1):
        files[f"samples/{number}.png"] = picture_png(draw_scene(*scene).image)
    for name, bundle in models.items():
        files |= _model_files(f"models/{quote(name, safe='')}", bundle, graph=installed)
    description = {
        "version": __version__,
        "server": server,
        "engine": ENGINE.partition("@")[2] if installed else None,
        "models": list(models),
        "samples": [name for name in files if name.startswith("samples/")],
    }
    files["page.json"] = json.dumps(description, indent=2).encode()
    return files


def write_page(models: Mapping[str, Bundle], out: Path) -> None:
    """Write the page with models that run in the browser, as a folder for any static web host.

    Args:
        models: Bundles with ONNX graphs, by the names that the page shows.
        out: Folder to make.

    Raises:
        InputError: ``out`` exists, a bundle without an ONNX graph, or the in-browser engine is not
            installed.
    """
    for bundle in models.values():
        if "onnx" not in bundle.metadata.graphs:
            raise InputError(
                f"{bundle.folder}: has no ONNX graph, which the page runs; "
                "write one by 'topseg export MODEL --out BUNDLE --formats onnx'"
            )
        if bundle.metadata.architecture.in_channels != 3:
            raise InputError(
                f"{bundle.folder}: takes {bundle.metadata.architecture.in_channels} channels, "
                "but a browser's images have 3"
            )
    if not has_engine():
        raise InputError(
            f"page: {ENGINE} is not installed beside it; run 'npm install {ENGINE}', then "
            "'python -m topseg.serve.page node_modules/onnxruntime-web'"
        )
    if out.exists():
        raise InputError(f"{out}: exists already; write the page into a new folder")
    for address, content in page_files(models, server=False).items():
        if not address:
            continue
        if isinstance(content, bytes):
            write_bytes(out / address, content)
        else:
            with atomic_path(out / address) as temporary:
                shutil.copyfile(content, temporary)


def install_engine(package: Path) -> None:
    """Put the in-browser engine beside the page.

    Args:
        package: Folder of the npm package (``node_modules/onnxruntime-web``).

    Raises:
        InputError: It is not this package, or another version.
    """
    about = package / "package.json"
    found = json.loads(about.read_text()) if about.is_file() else {}
    if f"{found.get('name')}@{found.get('version')}" != ENGINE:
        raise InputError(f"{package}: not the npm package {ENGINE}; run 'npm install {ENGINE}'")
    for name in ENGINE_FILES:
        with atomic_path(FOLDER / "ort" / name) as temporary:
            shutil.copyfile(package / "dist" / name.replace(".js", ".mjs"), temporary)


def has_engine() -> bool:
    """Return whether the in-browser engine is installed beside the page."""
    return all((FOLDER / "ort" / name).is_file() for name in ENGINE_FILES)


def _model_files(folder: str, bundle: Bundle, *, graph: bool) -> dict[str, Path | bytes]:
    """A model's metadata and graph; not its recipe, which tells of folders where it was trained."""
    metadata = bundle.metadata
    graphs = {}
    onnx = metadata.graphs.get("onnx")
    if graph and onnx and metadata.architecture.in_channels == 3 and _is_own(bundle, onnx.file):
        graphs["onnx"] = onnx
    names = [one.file for one in graphs.values()]
    public = dataclasses.replace(
        metadata,
        recipe=None,
        graphs=graphs,
        files={name: digest for name, digest in metadata.files.items() if name in names},
    )
    files: dict[str, Path | bytes] = {
        f"{folder}/{METADATA}": json.dumps(to_tree(public)).encode(),
    }
    return files | {f"{folder}/{name}": bundle.folder / name for name in names}


def _is_own(bundle: Bundle, name: str) -> bool:
    """Return whether a file is in a bundle's folder and listed there with its hash."""
    inside = (bundle.folder / name).resolve().is_relative_to(bundle.folder.resolve())
    return inside and name in bundle.metadata.files
