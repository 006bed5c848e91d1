"""topseg-cli: from the start of the program to the mask of one photo, and masks beside Python's.

    python benchmarks/cli.py [--out benchmarks/results/cli.md]

Builds the presets `static` and, where the cross compiler and qemu-user are installed, `aarch64` of
native/CMakePresets.json. A run is one process on one core: wall time, CPU time and largest resident
memory as the system counts them; it has real-time priority where the system allows that (`chrt`),
since on a busy machine the wall time holds what other processes took. The masks are those of fifty
images, as PNG and as JPEG. Needs GNU time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topseg import _native
from topseg.bundle.bundle import Bundle, read_bundle, write_metadata
from topseg.core.files import find_images, write_text
from topseg.core.geometry import ResizeRule
from topseg.evaluation.benchmark import describe_machine, draw_photo
from topseg.inference.predictor import Predictor
from topseg.media.images import read_image
from topseg.runtimes.native import NativeRuntime
from topseg.synthetic.scenes import draw_scene

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"
IMAGES = 50
Masks = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Run:
    """One process from its start to its end: seconds."""

    wall: float
    cpu: float


def build(preset: str) -> Path:
    """Build a preset and return its program."""
    command = f"cmake --preset {preset} && cmake --build --preset {preset} --parallel"
    subprocess.run(command, shell=True, cwd=ROOT / "native", check=True, capture_output=True)
    return ROOT / "build" / f"native-{preset}" / "topseg-cli"


def real_time() -> list[str]:
    """Return the words before a command that keep other processes off its core, if allowed."""
    words = ["chrt", "--fifo", "50"]
    allowed = shutil.which("chrt") and not subprocess.run([*words, "true"], check=False).returncode
    return words if allowed else []


def run_once(command: list[str]) -> Run:
    """Run a command on one core."""
    command = [*real_time(), "taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    wall = time.perf_counter() - start
    return Run(wall, usage.ru_utime + usage.ru_stime)


def peak_memory(command: list[str]) -> float:
    """Return a command's largest resident memory in MiB.

    GNU time is in between because a process inherits the peak of the one that starts it: this one's
    would be measured, which is larger.
    """
    words = ["/usr/bin/time", "-f", "%M", *command]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(done.stderr.split()[-1]) / 1024


def measure(program: Path, folder: Path, repeats: int) -> list[str]:
    """Lines of a table: the program on one photo, repeatedly, and the Python command."""
    photo = draw_photo(folder / "photo.jpg")
    words = ["predict", str(BUNDLE), str(photo)]
    ways = {path: [str(program), *words, "--code-path", path] for path in _native.model_paths()}
    ways["`topseg predict`, in Python"] = [sys.executable, "-m", "topseg", *words]
    lines = ["| code path | wall ms, minimum (median) | CPU ms, minimum (median) | peak MiB |"]
    lines.append("|---|---|---|---|")
    for name, command in ways.items():
        outs = [["--out", str(folder / f"out-{len(lines)}-{i}")] for i in range(repeats + 2)]
        memory = peak_memory([*command, *outs[0]])
        runs = [run_once([*command, *out]) for out in outs[1:]][1:]
        wall, cpu = ([1000 * getattr(run, field) for run in runs] for field in ("wall", "cpu"))
        cells = [f"{min(times):.0f} ({np.median(times):.0f})" for times in (wall, cpu)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {memory:.1f} |")
    return lines


def write_images(folder: Path, source: Path | None) -> None:
    """Write the images into folders `png` and `jpg`: a folder's first ones, or drawn scenes."""
    if source is None:
        images = [draw_scene(0, i).image for i in range(IMAGES)]
    else:
        images = [read_image(path) for path in sorted(find_images(source))[:IMAGES]]
    for kind in ("png", "jpg"):
        (folder / kind).mkdir()
        for i, image in enumerate(images):
            cv2.imwrite(str(folder / kind / f"{i:02}.{kind}"), image[..., ::-1])


def masks_of_python(bundle: Bundle, images: Path, path: str) -> Masks:
    """Predict a folder's images in this process."""
    predictor = Predictor(NativeRuntime(bundle, path=path, threads=1))
    return [np.asarray(predictor(file).mask, np.uint8) for file in sorted(images.iterdir())]


def masks_of_program(command: list[str], bundle: Bundle, images: Path, out: Path) -> Masks:
    """Predict a folder's images by the program."""
    words = [*command, "predict", str(bundle.folder), str(images), "--out", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    return [np.array(Image.open(file)) for file in sorted(out.iterdir())]


def compare(folder: Path, programs: dict[str, Path], source: Path | None) -> list[str]:
    """Return a table: how many pixels have Python's class."""
    write_images(folder, source)
    # At the images' own size: what is emulated takes its time.
    shutil.copytree(BUNDLE, folder / "bundle")
    metadata = read_bundle(BUNDLE).metadata
    rule = ResizeRule(short_side=None, multiple=metadata.resize.multiple, round="nearest")
    bundle = write_metadata(folder / "bundle", replace(metadata, resize=rule))
    # Every code path of this processor on both kinds of files; what is emulated on one.
    here = [str(programs["static"])]
    cases = [(here, path, kind) for path in _native.model_paths() for kind in ("png", "jpg")]
    if "aarch64" in programs:
        cases.append((["qemu-aarch64", str(programs["aarch64"])], "neon", "png"))
    lines = ["| code path | files | equal masks | pixels with another class |", "|---|---|---|---|"]
    for command, path, kind in cases:
        images, out = folder / kind, folder / f"{path}_{kind}"
        expected = masks_of_python(bundle, images, "" if path == "neon" else path)
        found = masks_of_program([*command, "--code-path", path], bundle, images, out)
        differ = [int((a != b).sum()) for a, b in zip(found, expected, strict=True)]
        pixels = sum(mask.size for mask in expected)
        cells = [f"{path}{', under qemu' if path == 'neon' else ''}", kind.upper()]
        cells += [f"{differ.count(0)} of {len(differ)}"]
        cells += [f"{sum(differ)} of {pixels} ({100 * sum(differ) / pixels:.4f} %)"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Build, measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "cli.md")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--images", type=Path, help="a folder of images instead of drawn scenes")
    options = parser.parse_args()
    programs = {"static": build("static")}
    if shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-g++"):
        programs["aarch64"] = build("aarch64")
    with tempfile.TemporaryDirectory() as made:
        times = measure(programs["static"], Path(made), options.repeats)
        masks = compare(Path(made), programs, options.images)
    sizes = [f"{name} {file.stat().st_size / 1e6:.2f} MB" for name, file in programs.items()]
    lines = f"""# topseg-cli

Machine: {describe_machine()}.
Command: `python benchmarks/cli.py`.

The static programs: {", ".join(sizes)}.

`topseg-cli predict topformer-tiny-camvid photo.jpg --out masks` on one core, from the process's
start to its end; the photo has 1280x960 pixels; {options.repeats} runs.
""".splitlines()
    lines += ["", *times, ""]
    lines += [
        "Masks of images at their own size, beside those of Python's native engine on the same"
    ]
    lines += ["code path; neon beside the fastest path of this processor.", "", *masks]
    write_text(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
