"""Deploy: a bundle in the forms that other servers read.

A Triton model repository holds the graph alone, so its clients make masks of the logits themselves
(or take the graph that ends in masks); a KServe manifest runs this service with the bundle.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import METADATA
from topseg.core.config import to_tree
from topseg.core.errors import InputError, did_you_mean
from topseg.core.files import atomic_path, write_text
from topseg.core.geometry import STRIDE
from topseg.exporting.formats import FORMATS
from topseg.serve.protocol import INPUT, VERSION

BACKENDS: Final = {one.name: one.triton for one in FORMATS.values() if one.triton}
"""Graph in a bundle -> Triton's backend, and the file name that it looks for."""


def write_triton(
    bundle: Bundle, out: Path, *, name: str, graph: str = "onnx", max_batch: int = 8
) -> Path:
    """Write a bundle's graph as a model of a Triton model repository.

    Args:
        bundle: The model.
        out: The repository's folder; the model becomes a folder in it.
        name: The model's name.
        graph: A key of ``BACKENDS``; "onnx-mask" answers with masks instead of logits.
        max_batch: Images that Triton may give the network at once.

    Returns:
        The model's folder: ``config.pbtxt``, and the version "1" with graph and metadata.

    Raises:
        InputError: The folder exists, or the bundle has no such graph.
    """
    folder = out / name
    if folder.exists():
        raise InputError(f"{folder}: exists already; choose another name, or remove it")
    if graph not in BACKENDS:
        raise InputError(f"graph: no graph '{graph}'{did_you_mean(graph, BACKENDS)}")
    if graph not in bundle.metadata.graphs:
        raise InputError(
            f"{bundle.folder}: has no {graph} graph; make one by "
            f"'topseg export MODEL --out BUNDLE --formats {graph}'"
        )
    named = bundle.metadata.graphs[graph].file
    if named not in bundle.metadata.files:
        raise InputError(
            f"{bundle.folder / METADATA}: files does not list the graph '{named}', so it was not "
            "checked; get the bundle again"
        )
    source = bundle.folder / named
    target = folder / VERSION / BACKENDS[graph][1]
    copies = {source: target, bundle.folder / METADATA: folder / VERSION / METADATA}
    weights = source.with_suffix(".bin")
    if weights.is_file():  # of a graph whose weights are a file beside it
        copies[weights] = target.with_suffix(".bin")
    for file, copy in copies.items():
        with atomic_path(copy) as temporary:
            shutil.copyfile(file, temporary)
    write_text(folder / "config.pbtxt", triton_config(bundle, name, graph, max_batch))
    return folder


def write_repository(bundle: Bundle) -> Path:
    """Write a bundle's Triton model repository beside its graphs, in ``triton/``."""
    return write_triton(bundle, bundle.folder / "triton", name=_name(bundle))


def write_manifest(bundle: Bundle) -> None:
    """Write a KServe manifest beside a bundle's graphs, ``kserve.yaml``, to be filled in."""
    name = _name(bundle)
    storage = f"pvc://models/{bundle.folder.name}"
    text = kserve_manifest(name, image="topseg:latest", storage=storage)
    head = (
        "# Set image (from this project's Dockerfile) and STORAGE_URI (where this bundle lies).\n"
    )
    write_text(bundle.folder / "kserve.yaml", head + text)


def _name(bundle: Bundle) -> str:
    """Return the folder's name as a DNS label, which both servers take."""
    name = re.sub(r"[^a-z0-9]+", "-", bundle.folder.resolve().name.lower()).strip("-")
    return name[:63] or "topseg"


def triton_config(bundle: Bundle, name: str, graph: str, max_batch: int) -> str:
    """Return a model's ``config.pbtxt`` (-1 is any size; the batch is left out)."""
    metadata = bundle.metadata
    height, width = metadata.graphs[graph].fixed_size or (-1, -1)
    output, kind, sides = "logits", "TYPE_FP32", [metadata.architecture.num_classes, height, width]
    if height > 0:
        sides[1:] = [height // STRIDE, width // STRIDE]
    if metadata.graphs[graph].tail:
        wide = metadata.architecture.num_classes > 255
        output, kind, sides = "masks", "TYPE_INT32" if wide else "TYPE_UINT8", [height, width]
    channels = metadata.architecture.in_channels
    return f"""\
name: {json.dumps(name)}
backend: "{BACKENDS[graph][0]}"
max_batch_size: {max_batch}
input [
  {{ name: "{INPUT}" data_type: TYPE_UINT8 dims: [ {height}, {width}, {channels} ] }}
]
output [
  {{ name: "{output}" data_type: {kind} dims: {json.dumps(sides)} }}
]
dynamic_batching {{ }}
parameters {{ key: "classes" value {{ string_value: {json.dumps(", ".join(metadata.classes))} }} }}
"""


def kserve_manifest(name: str, *, image: str, storage: str, **settings: Any) -> str:
    """Return a KServe InferenceService that runs this service with a bundle.

    Args:
        name: Of the InferenceService, and of the model in it.
        image: The container image, built from this project's Dockerfile.
        storage: Where KServe gets the bundle from, such as ``pvc://volume/bundle``.
        settings: More of the service's settings, such as ``workers=4``.

    Returns:
        YAML for ``kubectl apply``.
    """
    arguments = [f"{name}=/mnt/models", "--host", "0.0.0.0", "--port", "8080"]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={json.dumps(to_tree(value))}"]
    ready = {"httpGet": {"path": "/v2/health/ready", "port": 8080}}
    live = {"httpGet": {"path": "/v2/health/live", "port": 8080}}
    container = {
        "name": "kserve-container",
        "image": image,
        "args": arguments,
        "env": [{"name": "STORAGE_URI", "value": storage}],
        "ports": [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": ready,
        "livenessProbe": live,
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    manifest = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container]}},
    }
    return yaml.safe_dump(manifest, sort_keys=False)
