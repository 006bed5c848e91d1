"""The export formats: one record for each, which the command line and the checks are made from.

Nothing heavy is imported here, so that the command line can list the formats.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from topseg.core.errors import InputError, did_you_mean
from topseg.core.installing import pip_install
from topseg.runtimes.registry import open_runtime

if TYPE_CHECKING:
    from topseg.bundle.bundle import Bundle
    from topseg.bundle.metadata import Graph
    from topseg.runtimes.base import Runtime

_ONNX = ("onnx", "onnxscript")
_GRAPHS = "topseg.exporting.graphs"


@dataclass(frozen=True, kw_only=True)
class Int8:
    """The 8-bit form of a format."""

    quantizer: str
    """``module:function``, called with a float graph, the file to write and calibration batches."""
    packages: tuple[str, ...] = ()
    """Modules that it imports, beside those that write the float graph."""
    extra: str
    """The extra that brings them."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """What is known of an export format before its converter is imported."""

    name: str
    """Its name on the command line, and of its graph in a bundle."""
    engine: str
    """Name of the engine that runs it."""
    files: str
    """What is written, for people."""
    writer: str | None = None
    """``module:function``, called with a source and a folder; None: no graph of its own."""
    packages: tuple[str, ...] = ()
    """Modules that the writer imports, beside torch."""
    extra: str = "train"
    """The extra that brings them."""
    fixed_size: bool = False
    """Whether its graphs take images of one size only."""
    int8: Int8 | None = None
    """Its 8-bit form, if it has one."""
    contains: tuple[str, ...] = ()
    """Formats that are written with it."""
    place: str | None = None
    """Where it runs, if that is not this machine's engine."""
    finish: str | None = None
    """``module:function``, called with the finished bundle, for what lies beside its graphs."""
    triton: tuple[str, str] | None = None
    """Triton's backend for its graph, and the file name that this backend looks for."""

    def write(self, *given: Any) -> Graph:
        """Call the writer with a source and a folder."""
        assert self.writer is not None
        graph: Graph = _function(self.writer)(*given)
        return graph

    def open(self, bundle: Bundle, graph: Graph, *, threads: int | None = None) -> Runtime:
        """Open a graph of this format on the CPU.

        Args:
            bundle: Where it lies, and its metadata.
            graph: The graph.
            threads: CPU threads; None leaves the engine's default.
        """
        metadata = dataclasses.replace(bundle.metadata, graphs={self.engine: graph})
        alone = dataclasses.replace(bundle, metadata=metadata)
        return open_runtime(alone, self.engine, device="cpu", threads=threads)

    def quantize(self, *given: Any) -> tuple[str, ...]:
        """Call the quantizer with a float graph, the file to write and calibration batches."""
        assert self.int8 is not None
        layers: tuple[str, ...] = _function(self.int8.quantizer)(*given)
        return layers


def finish_bundle(bundle: Bundle, names: Iterable[str]) -> None:
    """Write what formats have beside their graphs, such as the page of "web".

    Args:
        bundle: The finished bundle.
        names: Of ``FORMATS``.
    """
    for name in dict.fromkeys(names):
        if finish := FORMATS[name].finish:
            _function(finish)(bundle)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


FORMATS = {
    one.name: one
    for one in (
        Format(name="torch", engine="torch", files="weights.safetensors"),
        Format(
            name="native",
            engine="native",
            files="weights.safetensors",
            writer=f"{_GRAPHS}.native:write_native",
        ),
        Format(
            name="onnx",
            engine="onnx",
            files="model.onnx",
            writer=f"{_GRAPHS}.onnx:write_onnx",
            packages=_ONNX,
            extra="onnx",
            int8=Int8(
                quantizer=f"{_GRAPHS}.onnx:quantize_onnx", packages=("onnxruntime",), extra="onnx"
            ),
            triton=("onnxruntime", "model.onnx"),
        ),
        Format(
            name="onnx-mask",
            engine="onnx",
            files="model_mask.onnx",
            writer=f"{_GRAPHS}.onnx:write_onnx_mask",
            packages=_ONNX,
            extra="onnx",
            triton=("onnxruntime", "model.onnx"),
        ),
        Format(
            name="openvino",
            engine="openvino",
            files="openvino.xml, openvino.bin",
            writer=f"{_GRAPHS}.openvino:write_openvino",
            packages=(*_ONNX, "openvino"),
            extra="openvino",
            int8=Int8(
                quantizer=f"{_GRAPHS}.openvino:quantize_openvino", packages=("nncf",), extra="int8"
            ),
            triton=("openvino", "model.xml"),
        ),
        Format(
            name="litert",
            engine="litert",
            files="model.tflite",
            writer=f"{_GRAPHS}.litert:write_litert",
            packages=("litert_torch",),
            extra="litert-export",  # the engine is small, its converter is not
            fixed_size=True,
            int8=Int8(
                quantizer=f"{_GRAPHS}.litert:quantize_litert",
                packages=("ai_edge_quantizer",),
                extra="litert-export",
            ),
        ),
        Format(
            name="executorch",
            engine="executorch",
            files="model.pte",
            writer=f"{_GRAPHS}.executorch:write_executorch",
            packages=("executorch",),
            extra="executorch",
            fixed_size=True,
        ),
        Format(
            name="ncnn",
            engine="ncnn",
            files="model.ncnn.param, model.ncnn.bin",
            writer=f"{_GRAPHS}.ncnn:write_ncnn",
            packages=("pnnx", "ncnn"),
            extra="ncnn",
            fixed_size=True,
        ),
        Format(
            name="mnn",
            engine="mnn",
            files="model.mnn",
            writer=f"{_GRAPHS}.mnn:write_mnn",
            packages=(*_ONNX, "MNN"),
            extra="mnn",
        ),
        Format(
            name="coreml",
            engine="coreml",
            files="model.mlpackage",
            writer=f"{_GRAPHS}.coreml:write_coreml",
            packages=("coremltools",),
            extra="coreml",
            fixed_size=True,
        ),
        Format(
            name="web",
            engine="native",
            files="web/, a folder that any web server can show",
            contains=("native",),
            place="a browser",
            finish="topseg.serve.page.files:write_web",
        ),
        Format(
            name="triton",
            engine="onnx",
            files="triton/, a model repository of Triton",
            extra="onnx",
            contains=("onnx",),
            place="Triton",
            finish="topseg.serve.deploy:write_repository",
        ),
        Format(
            name="kserve",
            engine="native",
            files="kserve.yaml, an InferenceService of KServe",
            contains=("native",),
            place="Kubernetes",
            finish="topseg.serve.deploy:write_manifest",
        ),
    )
}
"""Every format by name."""

INT8 = tuple(one.name for one in FORMATS.values() if one.int8)
"""Names of the formats that have an 8-bit form."""


def choose_formats(names: Iterable[str], *, int8: bool = False) -> tuple[Format, ...]:
    """Return the formats that have a graph to write, each once, and check that they can be.

    Args:
        names: Of ``FORMATS``; one that contains others stands for those as well.
        int8: Whether the 8-bit forms are wanted.

    Raises:
        InputError: An unknown format, one without an 8-bit form, or packages that are missing.
    """
    chosen: dict[str, Format] = {}
    for name in names:
        if name not in FORMATS:
            raise InputError(f"formats: no format '{name}'{did_you_mean(name, FORMATS)}")
        for part in FORMATS[name].contains or (name,):
            chosen[part] = FORMATS[part]
    lines = _missing("export", ("torch",), "train")
    for one in chosen.values():
        if int8 and one.int8 is None:
            raise InputError(
                f"formats: '{one.name}' has no int8 form, only {', '.join(INT8)} have; export it "
                "without --precision int8"
            )
        lines += _missing(f"formats: '{one.name}'", one.packages, one.extra)
        if int8 and one.int8:
            lines += _missing(f"formats: '{one.name}' in int8", one.int8.packages, one.int8.extra)
    if lines:
        raise InputError("\n".join(lines))
    return tuple(one for one in chosen.values() if one.writer)


def _missing(what: str, packages: Iterable[str], extra: str) -> list[str]:
    missing = [package for package in packages if find_spec(package) is None]
    if not missing:
        return []
    return [f"{what} needs {' and '.join(missing)}: {pip_install(f'topseg[{extra}]')}"]


def formats_help() -> str:
    """Return the help of the option that names formats."""
    return f"Any of {', '.join(FORMATS)} (web: a folder that any web server can show)."


def precision_help() -> str:
    """Return the help of the option that names the type of the weights."""
    return f"Type the weights are stored in; int8 computes in it as well ({', '.join(INT8)})."
