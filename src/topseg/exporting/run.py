"""Export: MODEL becomes a bundle of graphs, each proven on the engine that will run it.

A graph that cannot be run on this machine is written and marked "not verified"; one that does not
agree with torch is an error, and nothing is left behind.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.card import write_card
from topseg.bundle.metadata import WEIGHTS, Metadata
from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.core.geometry import Size
from topseg.data.dataset import Dataset
from topseg.exporting.formats import choose_formats, finish_bundle
from topseg.exporting.graphs.source import Precision, Source
from topseg.exporting.proving import prove
from topseg.exporting.quantization import calibration_batches, describe, quantize
from topseg.interop.weights import read_safetensors
from topseg.media.images import Image
from topseg.runtimes.registry import open_runtime
from topseg.synthetic.scenes import draw_scene


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
        formats: Names of :data:`topseg.exporting.formats.FORMATS`; "torch" is the weights alone,
            "onnx-mask" a graph that ends in masks of its input's size, for consumers that want one
            file.
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
    # What can be known before anything is written.
    chosen = choose_formats(formats, int8=precision == "int8")
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
        # Weights and graphs, in a folder that nobody sees yet.
        folder = temporary / out.name
        folder.mkdir()
        metadata = _write_weights(bundle, precision, folder)
        source = Source(reference, metadata, precision, size)
        graphs = {
            one.name: one.write(source, folder)
            if batches is None
            else quantize(one, source, folder, batches)
            for one in chosen
        }
        draft = write_metadata(folder, dataclasses.replace(metadata, graphs=graphs))

        # The proof of each graph, and what int8 changed.
        for name, graph in graphs.items():
            proof = prove(
                draft, name, reference, images, dataset=dataset, max_drop=max_drop, report=report
            )
            graphs[name] = dataclasses.replace(graph, proof=proof)
            if graph.quantization and proof:
                report(f"{name}: {describe(graph.quantization)}")
                if proof.miou_difference is None:
                    report(
                        f"{name}: mIoU not measured, so nothing bounds its loss: give labelled data"
                    )

        # The bundle as it stays.
        metadata = dataclasses.replace(metadata, graphs=graphs)
        write_card(folder, metadata)
        made = write_metadata(folder, metadata)
        finish_bundle(made, formats)
        folder.rename(out)
    finally:
        shutil.rmtree(temporary)
    return Bundle(out, made.metadata)


def proof_images(metadata: Metadata, dataset: Dataset | None, count: int = 6) -> list[Image]:
    """Return images to compare graphs on: of a data set where there is one, else drawn scenes.

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


def _write_weights(bundle: Bundle, precision: Precision, folder: Path) -> Metadata:
    """Write the weights, and return metadata without graphs."""
    weights = read_safetensors(bundle.weights)
    if precision == "fp16":
        weights = {
            n: w.astype(np.float16) if w.dtype == np.float32 else w for n, w in weights.items()
        }
    write_bytes(folder / WEIGHTS, save(weights))
    return dataclasses.replace(bundle.metadata, weights=WEIGHTS, graphs={}, files={})
