"""Doctor: what of topseg works on this machine, and what to do where it does not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topseg import __version__
from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.published import SHIPPED
from topseg.core.errors import InputError
from topseg.core.installing import here
from topseg.core.labels import Mask
from topseg.inference.predictor import Predictor
from topseg.media.images import Image, read_image
from topseg.runtimes.registry import ENGINES, Engine
from topseg.synthetic.samples import SAMPLES

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow", "fastapi", "rasterio", "av")
_SHARED_MEMORY = 1 << 30
_DESCRIPTORS = 1024
_SAME = 0.99  # of the pixels; graphs in float16 and int8 round in their own way
_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What it belongs to: versions, processor, engines or resources.
        name: What it is.
        value: How it is.
        remedy: What to do about it; None: nothing is needed.
        failed: Whether something that should work does not.
    """

    topic: str
    name: str
    value: str
    remedy: str | None = None
    failed: bool = False

    def __str__(self) -> str:
        mark = "wrong " if self.failed else ""
        more = f"\n{'':26}{self.remedy}" if self.remedy else ""
        return f"  {self.name:24}{mark}{self.value}{more}"


def examine() -> Iterator[Finding]:
    """Look at versions, processor, engines and resources; each engine runs the packaged model."""
    yield from _versions()
    yield from _processor()
    yield from _engines()
    yield from _resources()


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "topseg", f"{__version__}, in {Path(__file__).parent}")
    yield Finding("versions", "Python", f"{platform.python_version()}, {platform.platform()}")
    for package in _PACKAGES:
        yield Finding("versions", package, _version(package) or "not installed")


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("processor", "cores", f"{cores} of {platform.machine()}")
    try:
        from topseg import _native
    except ImportError:
        native = here(ENGINES["native"].install)
        yield Finding("processor", "compiled code", "missing; NumPy is slower", native)
    else:
        paths = f"engine {' '.join(_native.model_paths())}, tail {' '.join(_native.paths())}"
        yield Finding("processor", "compiled code", f"{paths}; the first is taken")
    gpu = shutil.which("nvidia-smi") is not None
    yield Finding("processor", "NVIDIA driver", "found" if gpu else "none")


def _engines() -> Iterator[Finding]:
    """Run the packaged model on every engine that can, and compare the masks."""
    bundle = read_bundle(next(iter(SHIPPED.values())))
    scene = read_image(SAMPLES[0])
    expected: Mask | None = None
    for engine in ENGINES.values():
        finding, mask = _try(engine, bundle, scene, expected)
        yield finding
        expected = mask if expected is None else expected
    if expected is None:
        yield Finding(
            "engines",
            "any",
            "none runs the packaged model",
            f"{here('pip install --force-reinstall --no-deps topseg')}, or pip install onnxruntime",
            failed=True,
        )


def _try(
    engine: Engine, bundle: Bundle, scene: Image, expected: Mask | None
) -> tuple[Finding, Mask | None]:
    """Run one engine for a moment; return what came out, and its mask."""

    def finding(value: str, remedy: str | None = None, failed: bool = False) -> Finding:
        return Finding("engines", engine.name, value, remedy, failed)

    version, install = _version(engine.distribution), here(engine.install)
    if not engine.runs_here:
        return finding(f"runs on {' or '.join(engine.platforms)} only"), None
    if version is None:
        return finding("not installed", install), None
    if not engine.fits(bundle):
        export = f"topseg export MODEL --out BUNDLE --formats {engine.name}"
        return finding(f"{engine.label} {version}; runs a graph that this writes:", export), None
    try:
        predictor = Predictor(engine.open(bundle, device="auto", threads=1))
        mask = predictor(scene).mask
        inputs, seconds = predictor.prepare(scene), list[float]()
        while sum(seconds) < _SECONDS / len(ENGINES):
            start = time.perf_counter()
            predictor.run(inputs)
            seconds.append(time.perf_counter() - start)
    except InputError as error:
        return finding(f"{engine.label} {version}: {error}", install, failed=True), None
    except Exception as error:  # an engine may fail in ways of its own
        said = str(error).strip().partition("\n")[0]
        what = f"{engine.label} {version}: {type(error).__name__}: {said}"
        return finding(what, install, failed=True), None
    same = 1.0 if expected is None else float(np.mean(mask == expected))
    height, width = inputs.arrays[0].shape[:2]
    what = f"{engine.label} {version}: {1000 * min(seconds):.1f} ms at {height}x{width}, one thread"
    if same < _SAME:
        what += f", but only {100 * same:.2f} % of its pixels are the first engine's"
        return finding(what, f"take another --runtime; {install}", failed=True), mask
    return finding(what), mask


def _resources() -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        remedy = "docker run --shm-size=2g, or train.workers=0"
        yield Finding(
            "resources",
            "shared memory",
            f"{free / 2**30:.1f} GiB free",
            remedy if free < _SHARED_MEMORY else None,
        )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = 0 < files <= _DESCRIPTORS
    yield Finding(
        "resources",
        "open files",
        "without limit" if files < 0 else f"{files} at most",
        "ulimit -n 8192 before 'topseg serve' for many clients" if few else None,
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return __version__ if distribution == "topseg" else None
