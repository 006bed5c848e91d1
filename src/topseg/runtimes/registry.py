"""The engines: one record for each, and the way from a name to an open runtime.

Nothing heavy is imported here, so that the command line can list the engines; an engine's file, and
with it the engine, is imported when it is opened.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from topseg.core.errors import InputError
from topseg.core.installing import here
from topseg.core.plugins import look_up

if TYPE_CHECKING:
    from topseg.bundle.bundle import Bundle
    from topseg.runtimes.base import Runtime

DARWIN = "darwin"


class UnavailableError(InputError):
    """This machine cannot run an engine, or has not got it installed."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What is known of an engine before it is imported.

    Another package adds an engine by an entry point of the group ``topseg.runtimes`` that is such
    a record.
    """

    name: str
    """Its name on the command line, and of its graph in a bundle."""
    label: str
    """Its name in texts."""
    opener: str
    """``module:function`` that is called as ``(bundle, device=..., threads=...)`` and returns a
    :class:`~topseg.runtimes.base.Runtime`."""
    distribution: str
    """The Python distribution that its version is read from."""
    install: str
    """The command that installs what it needs."""
    devices: tuple[str, ...] = ("cpu",)
    """Devices that can be asked for; empty: the engine knows."""
    platforms: tuple[str, ...] = ()
    """Values of ``sys.platform`` that it runs on; empty: all."""
    needs_graph: bool = True
    """Whether it runs an exported graph; else the weights are enough."""
    architectures: tuple[str, ...] = ()
    """Names of the architectures that it knows; empty: all."""
    module: str | None = None
    """Module without which "auto" passes it over; None: its graph says that it is wanted."""

    @property
    def runs_here(self) -> bool:
        """Whether this kind of machine can run it at all."""
        return not self.platforms or sys.platform in self.platforms

    @property
    def version(self) -> str:
        """Its distribution and version, such as "openvino 2026.4.1"."""
        from importlib.metadata import version

        return f"{self.distribution} {version(self.distribution)}"

    def fits(self, bundle: Bundle) -> bool:
        """Whether this kind of machine can run a bundle on it, once it is installed."""
        metadata = bundle.metadata
        return (
            self.runs_here
            and (not self.needs_graph or self.name in metadata.graphs)
            and (not self.architectures or metadata.architecture.name in self.architectures)
        )

    def takes(self, bundle: Bundle) -> bool:
        """Whether it can run a bundle on this machine now."""
        here = self.module is None or find_spec(self.module) is not None
        return here and self.fits(bundle)

    def open(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> Runtime:
        """Open a bundle's network; see :func:`open_runtime`."""
        if threads is not None and threads < 1:
            raise InputError(f"threads: got {threads}, expected a whole number above 0")
        if self.needs_graph and self.name not in bundle.metadata.graphs:
            raise InputError(
                f"{bundle.folder}: has no {self.name} graph; make one with "
                f"'topseg export MODEL --out BUNDLE --formats {self.name}'"
            )
        architecture = bundle.metadata.architecture.name
        if self.architectures and architecture not in self.architectures:
            raise InputError(
                f"{bundle.folder}: the {self.name} runtime does not know {architecture}, only "
                f"{', '.join(self.architectures)}; take another runtime"
            )
        if self.module is not None and find_spec(self.module) is None:
            raise self._missing(self.module)
        if self.devices and device not in ("auto", *self.devices):
            names = ", ".join(f"'{name}'" for name in self.devices)
            raise InputError(f"device {device}: the {self.name} runtime has only {names}")
        if not self.runs_here:
            places = " or ".join("macOS" if one == DARWIN else one for one in self.platforms)
            raise UnavailableError(
                f"runtime {self.name}: {self.label} runs on {places} only; take another runtime"
            )
        try:
            return self._function()(bundle, device=device, threads=threads)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("topseg"):
                raise
            raise self._missing(error.name) from None

    def _missing(self, package: str) -> UnavailableError:
        return UnavailableError(
            f"runtime {self.name}: the package '{package}' is not installed; {here(self.install)}"
        )

    def _function(self) -> Callable[..., Runtime]:
        module, _, name = self.opener.partition(":")
        function: Callable[..., Runtime] = getattr(importlib.import_module(module), name)
        return function


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="native",
            label="topseg",
            opener="topseg.runtimes.native:open_native",
            distribution="topseg",
            install="pip install --force-reinstall --no-deps topseg  # with a C++ compiler",
            needs_graph=False,
            architectures=("topformer_tiny", "topformer_small", "topformer_base"),
            module="topseg._native",
        ),
        Engine(
            name="onnx",
            label="ONNX Runtime",
            opener="topseg.runtimes.onnx:open_onnx",
            distribution="onnxruntime",
            install="pip install onnxruntime",
            devices=("cpu", "cuda", "tensorrt"),
            module="onnxruntime",
        ),
        Engine(
            name="openvino",
            label="OpenVINO",
            opener="topseg.runtimes.openvino:open_openvino",
            distribution="openvino",
            install="pip install 'topseg[openvino]'",
        ),
        Engine(
            name="litert",
            label="LiteRT",
            opener="topseg.runtimes.litert:open_litert",
            distribution="ai-edge-litert",
            install="pip install 'topseg[litert]'",
        ),
        Engine(
            name="executorch",
            label="ExecuTorch",
            opener="topseg.runtimes.executorch:open_executorch",
            distribution="executorch",
            install="pip install 'topseg[executorch]'",
        ),
        Engine(
            name="ncnn",
            label="ncnn",
            opener="topseg.runtimes.ncnn:open_ncnn",
            distribution="ncnn",
            install="pip install 'topseg[ncnn]'",
        ),
        Engine(
            name="mnn",
            label="MNN",
            opener="topseg.runtimes.mnn:open_mnn",
            distribution="MNN",
            install="pip install 'topseg[mnn]'",
        ),
        Engine(
            name="coreml",
            label="Core ML",
            opener="topseg.runtimes.coreml:open_coreml",
            distribution="coremltools",
            install="pip install 'topseg[coreml]'",
            platforms=(DARWIN,),
        ),
        Engine(
            name="torch",
            label="PyTorch",
            opener="topseg.runtimes.torch:open_torch",
            distribution="torch",
            install="pip install 'topseg[train]'",
            devices=(),
            needs_graph=False,
            module="torch",
        ),
    )
}
"""Every engine of this package by name, in the order in which "auto" tries them."""


def find_engine(name: str) -> Engine:
    """Return the record of an engine.

    Args:
        name: Of ``ENGINES``, of an installed entry point, or ``package.module:Name``.

    Raises:
        InputError: There is no such engine.
    """
    return look_up("runtimes", name, ENGINES, Engine, trusted=True)


def engines_for(bundle: Bundle) -> tuple[Engine, ...]:
    """Return the engines that can run a bundle here, in the order of ``ENGINES``."""
    return tuple(engine for engine in ENGINES.values() if engine.takes(bundle))


def _choose(bundle: Bundle, device: str) -> Engine:
    """Return the engine that "auto" means: the first that takes the bundle.

    Where a GPU is wanted, or is there and nothing is said, an engine of the CPU comes first only if
    the bundle has its graph, which somebody exported for it.
    """
    engines = engines_for(bundle)
    if device not in ("auto", "cpu") or (device == "auto" and _has_gpu()):
        engines = tuple(e for e in engines if e.needs_graph or e.devices != ("cpu",)) or engines
    if engines:
        return engines[0]
    # None is installed; opening one says how to install it, an engine of a graph before others.
    fitting = [engine for engine in ENGINES.values() if engine.fits(bundle)]
    return next((engine for engine in fitting if engine.needs_graph), ENGINES["torch"])


def _has_gpu() -> bool:
    """Whether there is an NVIDIA GPU, which its driver's tool tells without any import."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and shutil.which("nvidia-smi") is not None


def runtime_help() -> str:
    """Return the help of every option that names an engine."""
    return f"Engine that runs the network: {', '.join(['auto', *ENGINES])}."


def open_runtime(
    bundle: Bundle, name: str = "auto", *, device: str = "auto", threads: int | None = None
) -> Runtime:
    """Open a bundle's network on an engine.

    Args:
        bundle: The model.
        name: As for :func:`find_engine`, or "auto" for the first of ``ENGINES`` that takes the
            bundle: native (on a CPU) and torch need only its weights, the others a graph.
        device: "auto" (a GPU where the engine can use one), "cpu", "cuda" ...
        threads: CPU threads of the network; None leaves the engine's default.

    Raises:
        InputError: No such engine or device, the bundle has no graph for it, or it does not load.
        UnavailableError: Its package is not installed, or cannot run on this machine.
    """
    engine = _choose(bundle, device) if name == "auto" else find_engine(name)
    return engine.open(bundle, device=device, threads=threads)
