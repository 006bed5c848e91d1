"""From a JPEG to a mask of its size: the tail outside the graph beside the tail inside it.

    python benchmarks/image_to_mask.py [--seconds 8]

Tiny, 150 classes, a 1280x960 JPEG, the network at short side 512. Both ways take turns, in one
process for each engine and number of threads; medians and minima in ms. The native engine runs no
graph, so that there its own tail is alone.
"""

import argparse
import concurrent.futures
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models import untrained, write_result
from topseg.bundle.bundle import Bundle
from topseg.evaluation.benchmark import draw_photo
from topseg.exporting.graphs.source import Source
from topseg.exporting.graphs.tracing import trace_onnx
from topseg.inference.upsample import upsample_argmax
from topseg.media.drawing import mask_png
from topseg.media.images import read_image
from topseg.models.masks import Masks
from topseg.runtimes.registry import open_runtime

SIZE = (960, 1280)


def write_naive(bundle: Bundle, path: Path) -> None:
    """The graph whose own tail ends at the photo's size."""
    network = Source(open_runtime(bundle, "torch", device="cpu"), bundle.metadata, "fp32", SIZE)
    masks = Masks(network.module, bundle.metadata.architecture.num_classes, SIZE)
    path.write_bytes(trace_onnx(masks, 3, "masks").SerializeToString())


def open_naive(engine: str, path: Path, threads: int) -> Callable[[Any], Any]:
    """Open the graph with the options that topseg's own runtimes take."""
    if engine == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        return lambda batch: session.run(None, {"images": batch})[0]
    import openvino

    model = openvino.Core().read_model(io.BytesIO(path.read_bytes()))
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.compile_model(model, "CPU", options).create_infer_request()
    return lambda batch: request.infer([batch], share_inputs=True)[0]


def compare(
    bundle: Bundle, photo: Path, naive: Path, engine: str, threads: int, seconds: float
) -> dict[str, list[float]]:
    cv2.setNumThreads(threads)
    runtime = open_runtime(bundle, engine, device="cpu", threads=threads)
    inside = None if engine == "native" else open_naive(engine, naive, threads)
    height, width = bundle.metadata.resize.network_size(SIZE)
    times: dict[str, list[float]] = {
        k: [] for k in ("decode", "network", "beside", "encode", "ours", "inside")
    }
    end = time.perf_counter() + seconds
    while len(times["ours"]) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        pixels = read_image(photo)
        decoded = time.perf_counter()
        batch = cv2.resize(pixels, (width, height))[None]
        resized = time.perf_counter()
        logits = runtime(batch)
        ran = time.perf_counter()
        mask = upsample_argmax(logits[0], SIZE, threads)
        made = time.perf_counter()
        png = mask_png(mask, bundle.metadata.labels)
        done = time.perf_counter()
        times["ours"].append(done - start)
        times["decode"].append(decoded - start)
        times["network"].append(ran - resized)
        times["beside"].append(made - start - (ran - resized))
        times["encode"].append(done - made)
        assert png
        if inside is None:
            continue
        start = time.perf_counter()
        other = inside(cv2.resize(read_image(photo), (width, height))[None])[0]
        mask_png(other, bundle.metadata.labels)
        times["inside"].append(time.perf_counter() - start)
        if (agreement := np.mean(mask == other)) < 0.999:
            raise SystemExit(f"{engine}: the masks agree on {agreement:.2%} of the pixels alone")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    rows = [
        "| engine | threads | decode | network | rest of the way to the mask | its PNG | "
        "**JPEG to PNG, tail outside** | tail in the graph | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = untrained("topformer_tiny", folder)
        photo, naive = draw_photo(folder / "photo.jpg"), folder / "naive.onnx"
        write_naive(bundle, naive)
        context = multiprocessing.get_context("spawn")
        for engine in ("native", "onnx", "openvino"):
            for threads in (1, 2):
                with concurrent.futures.ProcessPoolExecutor(1, context) as alone:
                    job = (bundle, photo, naive, engine, threads, arguments.seconds)
                    times = alone.submit(compare, *job).result()
                mid = {k: float(np.median(v)) * 1000 for k, v in times.items() if v}
                low = {k: min(v) * 1000 for k, v in times.items() if v}
                cell = {k: f"{mid[k]:.1f} ({low[k]:.1f})" if k in mid else "" for k in times}
                ratio = [f"{t['inside'] / t['ours']:.1f}x" for t in (mid, low) if "inside" in t]
                rows.append(
                    f"| {engine} | {threads} | {cell['decode']} | {cell['network']} | "
                    f"{cell['beside']} | {cell['encode']} | **{cell['ours']}** | "
                    f"{cell['inside']} | "
                    f"{' to '.join(sorted(ratio))} |"
                )
    note = (
        "Medians (minima) in ms. Both ways decode, resize and write the palette PNG; the rest of "
        "the way is decoding, resizing and the tail."
    )
    write_result("image_to_mask", "From a 1280x960 JPEG to its mask", "\n".join([*rows, "", note]))


if __name__ == "__main__":
    main()
