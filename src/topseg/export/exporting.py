"""Export: MODEL becomes a bundle of graphs, each proven on the engine that will run it.

A graph that cannot be run on this machine is written and marked "not verified"; one that does not
agree with torch is an error, and nothing is left behind.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.card import write_card
from topseg.bundle.metadata import WEIGHTS, Metadata, Proof
from topseg.core.errors import InputError, did_you_mean
from topseg.core.files import write_bytes
from topseg.core.geometry import STRIDE, ResizeRule, Size
from topseg.data.dataset import Dataset
from topseg.evaluation.evaluate import evaluate
from topseg.export.graphs import EXTRAS, PACKAGES, WRITERS, Network, Precision
from topseg.export.graphs.int8 import PACKAGES as INT8_PACKAGES
from topseg.export.graphs.int8 import QUANTIZERS
from topseg.export.quantization import calibration_batches, describe, quantize
from topseg.inference.predict import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.runtimes.base import Runtime
from topseg.runtimes.registry import ENGINES, UnavailableError, find_engine, open_runtime
from topseg.synthetic.scenes import draw_scene

Image = NDArray[np.uint8]

AGREEMENT = {"fp32": 0.999, "fp16": 0.995, "int8": 0.9}
"""Smallest share of pixels whose class must stay, by the type that the weights are stored in; for
int8 only what no working graph falls below, its bar is the mIoU."""

FORMATS = ("torch", *WRITERS)


def export(
    bundle: Bundle,
    out: Path,
    formats: Sequence[str] = ("onnx",),
    *,
    images: Sequence[Image],
    precision: Precision = "fp32",
    size: Size | None = None,
    dataset: Dataset | None = None,
    calibration: Iterable[Image] = (),
    max_drop: float = 1.0,
    report: Callable[[str], None] = print,
) -> Bundle:
    """Write a bundle with graphs for other engines, each compared with torch.

    Args:
        bundle: The model.
        out: Folder to make.
        formats: Any of ``FORMATS``; "torch" is the weights alone, "onnx-mask" a graph that ends in
            masks of its input's size, for consumers that want one file.
        images: (H, W, C) images to compare on, at least one.
        precision: Type the weights are stored in; arithmetic is float32 but for int8, which only
            graphs have (``weights.safetensors`` stays float32).
        size: (height, width) of the graphs that take one size only, multiples of 32; None: what
            the resize rule makes of the first image of ``dataset``, or else of a square.
        dataset: Labelled images, on which the difference of the mIoU is measured as well.
        calibration: (H, W, C) images that int8's ranges are taken from, such as 64 that the model
            was trained on; each is resized and dropped before the next is asked for.
        max_drop: Most points of mIoU that int8 may lose.
        report: Takes one line about each graph.

    Returns:
        The new bundle.

    Raises:
        InputError: ``out`` exists, an unknown format or size, a package that is missing, a graph
            that does not agree with torch, or int8 without images or with too great a loss.
    """
    _check_formats(formats, precision)
    if out.exists():
        raise InputError(f"{out}: exists already; export into a new folder")
    if size is None:
        image = (512, 512) if dataset is None else (images[0].shape[0], images[0].shape[1])
        size = bundle.metadata.resize.network_size(image)
    reference = open_runtime(bundle, "torch", device="cpu")
    batches = None
    if precision == "int8":
        batches = calibration_batches(calibration, bundle.metadata)
        precision = "fp32"  # of the weights, and of the graphs to begin with
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot write here ({error.strerror})") from None
    try:
        folder = temporary / out.name
        folder.mkdir()
        network = Network(reference, _write_weights(bundle, precision, folder), precision, size)
        written = [name for name in dict.fromkeys(formats) if name in WRITERS]
        graphs = {
            name: WRITERS[name](network, folder)
            if batches is None
            else quantize(name, network, folder, batches)
            for name in written
        }
        metadata = dataclasses.replace(network.metadata, graphs=graphs)
        draft = write_metadata(folder, metadata)
        proofs = {
            name: _prove(draft, name, reference, images, dataset, max_drop, report)
            for name in metadata.graphs
        }
        graphs = {
            name: dataclasses.replace(graph, proof=proofs[name])
            for name, graph in metadata.graphs.items()
        }
        metadata = dataclasses.replace(metadata, graphs=graphs)
        write_card(folder, metadata)
        metadata = write_metadata(folder, metadata).metadata
        folder.rename(out)
    finally:
        shutil.rmtree(temporary)
    return Bundle(out, metadata)


def proof_images(metadata: Metadata, dataset: Dataset | None, count: int = 6) -> list[Image]:
    """Give images to compare graphs on: of a data set where there is one, else drawn scenes.

    Args:
        metadata: Of the model, for the channels.
        dataset: Labelled images, or None.
        count: How many at most.
    """
    if dataset is not None:
        return [dataset[i].image for i in range(min(count, len(dataset)))]
    channels = metadata.architecture.in_channels
    scenes = [draw_scene(0, index).image for index in range(count)]
    return [np.resize(scene, (*scene.shape[:2], channels)) for scene in scenes]


def _check_formats(formats: Sequence[str], precision: Precision) -> None:
    lines = []
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"formats: no format '{name}'{did_you_mean(name, FORMATS)}")
        if precision == "int8" and name not in QUANTIZERS:
            raise InputError(
                f"formats: '{name}' has no int8 form, only {', '.join(QUANTIZERS)}; export it apart"
            )
        missing = [p for p in PACKAGES.get(name, ()) if find_spec(p) is None]
        if missing:
            extra = EXTRAS.get(name, name)
            lines.append(
                f"formats: '{name}' needs {' and '.join(missing)}: pip install 'topseg[{extra}]'"
            )
        if precision == "int8" and any(find_spec(p) is None for p in INT8_PACKAGES.get(name, ())):
            needs = " and ".join(INT8_PACKAGES[name])
            extra = "int8" if name == "openvino" else EXTRAS[name]
            lines.append(f"formats: '{name}' in int8 needs {needs}: pip install 'topseg[{extra}]'")
    if lines:
        raise InputError("\n".join(lines))


def _write_weights(bundle: Bundle, precision: Precision, folder: Path) -> Metadata:
    """Write the weights, and give metadata without graphs."""
    weights = load_file(bundle.weights)
    if precision == "fp16":
        weights = {
            n: w.astype(np.float16) if w.dtype == np.float32 else w for n, w in weights.items()
        }
    write_bytes(folder / WEIGHTS, save(weights))
    return dataclasses.replace(bundle.metadata, weights=WEIGHTS, graphs={}, files={})


def proof_sizes(rule: ResizeRule) -> tuple[Size, ...]:
    """Sizes to compare at: the declared one, odd multiples of the rule's multiple, a small one."""
    side = rule.network_size((512, 512))[0]
    odd = (side // rule.multiple) | 1
    return (side, side), (odd * rule.multiple, (odd + 2) * rule.multiple), (2 * 64, 3 * 64)


def _prove(
    bundle: Bundle,
    name: str,
    reference: Runtime,
    images: Sequence[Image],
    dataset: Dataset | None,
    max_drop: float,
    report: Callable[[str], None],
) -> Proof | None:
    """Run a graph on its own engine beside torch.

    Raises:
        InputError: They give other masks on more pixels than ``AGREEMENT`` allows, or int8 loses
            more than ``max_drop`` points of mIoU.
    """
    graph = bundle.metadata.graphs[name]
    try:
        runtime = _open(bundle, name)
    except UnavailableError as error:
        report(f"{name}: not verified ({error})")
        return None
    fixed = graph.fixed_size
    sizes = proof_sizes(bundle.metadata.resize) if fixed is None else (fixed,)
    comparison = _Comparison()
    for batch in _batches(images, sizes if fixed is None else sizes * 3):
        comparison.add(reference(batch), runtime(batch), masks=graph.tail)
    bar = AGREEMENT[graph.precision]
    if comparison.agreement < bar:
        raise InputError(
            f"{name}: masks agree with torch on {comparison.agreement:.3%} of the pixels, expected "
            f"at least {bar:.1%}; first difference: {comparison.first}"
        )
    difference = None
    if dataset is not None and not graph.tail:
        reference = copy.copy(reference)
        reference.fixed_size = fixed  # both make their masks at the same size
        scores = [evaluate(Predictor(engine), dataset).miou for engine in (runtime, reference)]
        difference = scores[0] - scores[1]
        if graph.quantization and -100 * difference > max_drop:
            raise InputError(
                f"{name}: int8 loses {-100 * difference:.2f} points of mIoU ({scores[1]:.2%} -> "
                f"{scores[0]:.2%}), expected at most {max_drop:g}; calibrate on more or other "
                f"images (got {graph.quantization.calibration_images}), or allow it with --max-drop"
            )
    proof = Proof(
        runtime=find_engine(name if name in ENGINES else "onnx").version,
        images=comparison.images,
        sizes=sizes,
        max_abs_difference=comparison.difference,
        mask_agreement=comparison.agreement,
        miou_difference=difference,
    )
    miou = "" if difference is None else f", mIoU {difference:+.4%}"
    report(
        f"{name}: verified on {proof.runtime}: {proof.mask_agreement:.4%} of pixels equal"
        + ("" if graph.tail else f", logits within {proof.max_abs_difference:.1e}")
        + miou
    )
    if graph.quantization:
        report(f"{name}: {describe(graph.quantization)}")
        if difference is None:
            report(f"{name}: mIoU not measured, so nothing bounds its loss: give labelled data")
    return proof


def _open(bundle: Bundle, name: str) -> Runtime:
    engine = name if name in ENGINES else "onnx"
    graphs = {engine: bundle.metadata.graphs[name]}
    alone = Bundle(bundle.folder, dataclasses.replace(bundle.metadata, graphs=graphs))
    return open_runtime(alone, engine, device="cpu")


class _Comparison:
    """Differences between torch's logits and an engine's answers, over many batches."""

    def __init__(self) -> None:
        self.images = 0
        self.difference = 0.0
        self.first = ""
        self._pixels = 0
        self._equal = 0

    @property
    def agreement(self) -> float:
        return self._equal / self._pixels

    def add(self, expected: NDArray[Any], got: NDArray[Any], *, masks: bool) -> None:
        """Compare (B, K, h, w) logits with logits, or with (B, 8 h, 8 w) masks."""
        size = (expected.shape[2] * STRIDE, expected.shape[3] * STRIDE)
        truth = upsample_argmax(expected, size)
        found = got if masks else upsample_argmax(got, size)
        if not masks:
            self.difference = max(self.difference, float(np.abs(expected - got).max()))
        differs = np.argwhere(truth != found)
        if len(differs) and not self.first:
            image, y, x = (int(i) for i in differs[0])
            self.first = (
                f"image {self.images + image} at {size[0]}x{size[1]}, row {y}, column {x}: class "
                f"{found[image, y, x]} instead of {truth[image, y, x]}"
            )
        self.images += len(expected)
        self._pixels += truth.size
        self._equal += truth.size - len(differs)


def _batches(images: Sequence[Image], sizes: Sequence[Size]) -> Iterator[Image]:
    """Give, for every size, a batch of one image and a batch of two."""
    count = 0
    for height, width in sizes:
        for batch in (1, 2):
            chosen = [images[(count + i) % len(images)] for i in range(batch)]
            count += batch
            yield np.stack([cv2.resize(image, (width, height)) for image in chosen])
