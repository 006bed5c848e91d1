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

from topseg import __version__
from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import METADATA
from topseg.core.config import to_tree
from topseg.core.errors import InputError
from topseg.core.files import atomic_path, read_json, sha256, write_bytes
from topseg.runtimes.registry import ENGINES
from topseg.synthetic.samples import SAMPLES

FOLDER: Final = Path(__file__).parent

ENGINE_FILES: Final = (
    "index.js",
    "member.js",
    "memory.js",
    "topseg.wasm",
    "topseg_relaxed.wasm",
    "topseg_threads.wasm",
)
"""The engine in a browser, in the folder ``engine``: topseg's own, compiled to WebAssembly."""

ORT: Final = "onnxruntime-web@1.30.0"
"""The npm package that runs ONNX graphs in a browser."""

ORT_FILES: Final = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.js",
    "ort-wasm-simd-threaded.asyncify.js",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""What the page takes of it, in the folder ``ort``: one build for processors alone, one that knows
WebGPU as well. Modules are called .js here, which every web host serves as such."""

_SUFFIXES = {".html", ".css", ".js", ".svg"}


def page_files(models: Mapping[str, Bundle], *, server: bool) -> dict[str, Path | bytes]:
    """List everything that the page consists of, by its address below the page's own.

    Args:
        models: Bundles by the names that the page shows.
        server: Whether a service answers at ``segment`` beside the page.

    Returns:
        Address (as a web server sees it, decoded) -> a file, or its content. ``""`` is the page
        itself. onnxruntime-web is there where it was installed (see :func:`install_ort`) and a
        model has a graph for it.
    """
    files: dict[str, Path | bytes] = {
        path.name: path for path in sorted(FOLDER.iterdir()) if path.suffix in _SUFFIXES
    }
    files[""] = files["index.html"]
    files |= {f"engine/{name}": FOLDER / "engine" / name for name in ENGINE_FILES}
    for number, sample in enumerate(SAMPLES[1:], start=1):
        files[f"samples/{number}.jpg"] = sample
    graphs = has_ort()
    handed = [
        _model_files(f"models/{name}", bundle, graph=graphs) for name, bundle in models.items()
    ]
    for one in handed:
        files |= one
    ort = any(address.endswith(".onnx") for one in handed for address in one)
    if ort:
        files |= {f"ort/{name}": FOLDER / "ort" / name for name in ORT_FILES}
    modules = [FOLDER / "engine" / name for name in ENGINE_FILES if name.endswith(".wasm")]
    description = {
        "version": __version__,
        "server": server,
        "engine": {path.name: sha256(path)[:16] for path in modules},
        "ort": ORT.partition("@")[2] if ort else None,
        "models": list(models),
        "samples": [name for name in files if name.startswith("samples/")],
    }
    files["page.json"] = json.dumps(description, indent=2).encode()
    return files


def write_web(bundle: Bundle) -> None:
    """Write the page with a bundle's model beside its graphs, in ``web/``."""
    write_page({bundle.folder.name: bundle}, bundle.folder / "web")


def write_page(models: Mapping[str, Bundle], out: Path) -> None:
    """Write the page with models that run in the browser, as a folder for any static web host.

    Args:
        models: Bundles, by the names that the page shows.
        out: Folder to make.

    Raises:
        InputError: ``out`` exists, images that a browser has not, or a network that topseg's engine
            does not know without an ONNX graph and onnxruntime-web.
    """
    for name, bundle in models.items():
        architecture = bundle.metadata.architecture
        if architecture.in_channels != 3:
            raise InputError(
                f"page: the model '{name}' takes {architecture.in_channels} channels, but a "
                "browser's images have 3; leave it out"
            )
        if _knows(bundle):
            continue
        if "onnx" not in bundle.metadata.graphs:
            raise InputError(
                f"page: its own engine does not know {architecture.name}, and the model '{name}' "
                "has no ONNX graph; write both by 'topseg export MODEL --out BUNDLE --formats onnx "
                "web'"
            )
        if not has_ort():
            raise InputError(
                f"page: {ORT} is not installed beside it; run 'npm install {ORT}', then "
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


def install_ort(package: Path) -> None:
    """Put onnxruntime-web beside the page.

    Args:
        package: Folder of the npm package (``node_modules/onnxruntime-web``).

    Raises:
        InputError: It is not this package, or another version.
    """
    about = package / "package.json"
    found = read_json(about) if about.is_file() else {}
    if f"{found.get('name')}@{found.get('version')}" != ORT:
        raise InputError(f"{package}: not the npm package {ORT}; run 'npm install {ORT}'")
    for name in ORT_FILES:
        with atomic_path(FOLDER / "ort" / name) as temporary:
            shutil.copyfile(package / "dist" / name.replace(".js", ".mjs"), temporary)


def has_ort() -> bool:
    """Return whether onnxruntime-web is installed beside the page."""
    return all((FOLDER / "ort" / name).is_file() for name in ORT_FILES)


def _knows(bundle: Bundle) -> bool:
    """Return whether the page's own engine runs a bundle's weights."""
    metadata = bundle.metadata
    known = metadata.architecture.name in ENGINES["native"].architectures
    return known and _is_own(bundle, metadata.weights)


def _model_files(folder: str, bundle: Bundle, *, graph: bool) -> dict[str, Path | bytes]:
    """A model's metadata, weights and graph; not its recipe, which tells of the training machine.

    Args:
        folder: Its address.
        bundle: The model.
        graph: Whether something on the page runs ONNX graphs.
    """
    metadata = bundle.metadata
    names: list[str] = []
    if metadata.architecture.in_channels == 3:
        onnx = metadata.graphs.get("onnx")
        if _knows(bundle):
            names.append(metadata.weights)
        if graph and onnx and _is_own(bundle, onnx.file):
            names.append(onnx.file)
    public = dataclasses.replace(
        metadata,
        recipe=None,
        graphs={name: one for name, one in metadata.graphs.items() if one.file in names},
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
