"""How well a folder of images uses two cores, and whether memory stays flat.

    python benchmarks/predict_folder.py [--images 200] [--runtimes native onnx ...] [--passes 4]

What two cores allow is two over the CPU seconds of an image, measured with one worker on one
thread in the same run. One worker and two take turns, and the fastest pass of each counts: what
else runs on the machine only makes them slower.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2

from models import untrained, write_result
from topseg.inference.bulk import Threads, predict_files
from topseg.inference.hub import load_workers
from topseg.inference.predictor import Predictor
from topseg.media.drawing import picture_jpeg
from topseg.synthetic.scenes import draw_scene


def resident() -> float:
    """MiB of memory in use now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@dataclass(frozen=True)
class Pass:
    """One pass over the folder, times in seconds per image."""

    wall: float
    cpu: float
    memory: list[float]


def predict(predictors: list[Predictor], photos: list[Path], out: Path) -> Pass:
    memory: list[float] = []
    start, cpu = time.perf_counter(), time.process_time()
    predict_files(Threads(predictors), photos, out, progress=lambda *_: memory.append(resident()))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Pass(wall / len(photos), cpu / len(photos), memory)


def draw_photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index:04d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(picture_jpeg(cv2.resize(draw_scene(1, index).image, (640, 480))))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--runtimes", nargs="+", default=["native", "onnx", "openvino"])
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    workers, rows = arguments.workers, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = untrained("topformer_tiny", folder, arguments.runtimes)
        photos = draw_photos(folder, arguments.images)
        for runtime in arguments.runtimes:
            engines = load_workers(bundle.folder, workers, runtime=runtime, threads=1)
            predict(engines, photos[:8], folder / "warm")
            alone, together = [], []
            for turn in range(arguments.passes):
                out = folder / f"{runtime}{turn}"
                alone.append(predict(engines[:1], photos, out / "one"))
                together.append(predict(engines, photos, out / "all"))
            cpu = min(one.cpu for one in alone)
            best = min(together, key=lambda one: one.wall)
            wall, allowed, reached = min(one.wall for one in alone), workers / cpu, 1 / best.wall
            early, late = together[0].memory[len(photos) // 4], together[-1].memory[-1]
            rows.append(
                f"| {runtime} | {1 / wall:.1f} | {cpu * 1000:.1f} | {allowed:.1f} | "
                f"{reached:.1f} | {best.cpu * 1000:.1f} | **{reached / allowed:.0%}** | "
                f"{early:.0f} | {late:.0f} |"
            )
    head = (
        f"| engine | one worker, images/s | its CPU, ms per image | what {workers} cores allow, "
        f"images/s | {workers} workers, images/s | their CPU, ms per image | reached | MiB after "
        f"{len(photos) // 4} images | MiB after {arguments.passes} passes |"
    )
    note = (
        f"{len(photos)} JPEG of 640x480, Tiny, 150 classes, engines of one thread; fastest of "
        f"{arguments.passes} passes each. Memory of the process, PyTorch for the export included."
    )
    body = "\n".join([head, f"|{'---|' * 9}", *rows, "", note])
    write_result("predict_folder", "A folder of images on two cores", body)


if __name__ == "__main__":
    main()
