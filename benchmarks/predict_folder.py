"""How well a folder of images uses two cores, and whether memory stays flat.

    python benchmarks/predict_folder.py [--images 200] [--runtime onnx]

What two cores allow is two over the CPU seconds of an image, measured with one worker on one
thread in the same run.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2

from models import untrained, write_result
from topseg.bulk import predict_files
from topseg.data.scenes import draw_scene
from topseg.drawing import picture_jpeg
from topseg.hub import load_workers


def resident() -> float:
    """MiB of memory in use now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = untrained("topformer_tiny", folder, [arguments.runtime])
        (folder / "photos").mkdir()
        for index in range(arguments.images):
            scene = cv2.resize(draw_scene(1, index).image, (640, 480))
            (folder / "photos" / f"{index:04d}.jpg").write_bytes(picture_jpeg(scene))

        def run(workers: int) -> tuple[float, float, list[float]]:
            predictors = load_workers(bundle.folder, workers, runtime=arguments.runtime, threads=1)
            predict_files(predictors, sorted((folder / "photos").iterdir())[:8], folder / "warm")
            memory: list[float] = []
            start, cpu = time.perf_counter(), time.process_time()
            predict_files(
                predictors,
                [folder / "photos"],
                folder / f"masks{workers}",
                progress=lambda done, total: memory.append(resident()),
            )
            return time.perf_counter() - start, time.process_time() - cpu, memory

        wall_one, cpu_one, _ = run(1)
        wall, cpu, memory = run(arguments.workers)
    count = arguments.images
    each = [f"{seconds / count * 1000:.1f} ms of CPU an image" for seconds in (cpu_one, cpu)]
    allowed = arguments.workers / (cpu_one / count)
    reached = count / wall
    quarter = len(memory) // 4
    body = f"""\
| | |
|---|---|
| images | {count} JPEG of 640x480, Tiny, 150 classes, {arguments.runtime} |
| one worker | {count / wall_one:.1f} images/s, {each[0]} |
| {arguments.workers} workers | {reached:.1f} images/s, {each[1]} |
| what {arguments.workers} cores allow | {allowed:.1f} images/s |
| reached | **{reached / allowed:.0%}** |
| memory after a quarter, at the end | {memory[quarter]:.0f} MiB, {memory[-1]:.0f} MiB |
"""
    write_result("predict_folder", "A folder of images on two cores", body)


if __name__ == "__main__":
    main()
