"""What a GPU does, step by step; `gpu.sh` runs all of it, offline, in less than twelve minutes.

    python benchmarks/gpu.py STEP [--device cuda] [--small] [--seconds 200] [--camvid FOLDER]
    python benchmarks/gpu.py pack CAMVID        # CamVid as JPEG, to be carried

A step writes its part of the report into build/gpu/parts, and the parts that there are make
results/gpu.md. With --device cpu --small every step runs on a machine without a GPU, at sizes that
say nothing about speed: that shows that the script works, and the report says so.
"""

import argparse
import json
import os
import platform
from pathlib import Path

import cv2
import torch

from gpu_steps import ROOT, STEPS, WORK, Place
from topseg.core.files import write_text


def pack(source: Path, target: Path) -> None:
    """Copy CamVid with its images as JPEG of quality 95, to be carried."""
    for split in ("train", "val"):
        text = (source / f"{split}.txt").read_text()
        pairs = [
            [Path(*Path(part).parts[-2:]) for part in line.split()] for line in text.split("\n")
        ]
        lines = []
        for image, mask in filter(None, pairs):
            small = (target / image).with_suffix(".jpg")
            small.parent.mkdir(parents=True, exist_ok=True)
            (target / mask).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(small), cv2.imread(str(source / image)), [cv2.IMWRITE_JPEG_QUALITY, 95])
            (target / mask).write_bytes((source / mask).read_bytes())
            lines.append(f"{image.with_suffix('.jpg')} {mask}")
        write_text(target / f"{split}.txt", "\n".join(lines) + "\n")
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {total / 2**20:.1f} MiB")


def report(parts: Path) -> None:
    """Join the parts into results/gpu.md."""
    notes = json.loads((parts / "place.json").read_text())
    lines = [
        "# On a GPU",
        "",
        f"Machine: {notes['machine']}.",
        f"Command: `{notes['command']}`.",
        "",
    ]
    if notes["stub"]:
        lines += ["**Not measured on a GPU**: every step ran on the CPU in its small form.", ""]
    for name, (title, _) in STEPS.items():
        part = parts / f"{name}.md"
        text = part.read_text() if part.exists() else "Did not run."
        lines += [f"## {title}", "", text.strip(), ""]
    write_text(ROOT / "benchmarks" / "results" / "gpu.md", "\n".join(lines))


def describe(device: str) -> str:
    gpu = torch.cuda.get_device_name() if device == "cuda" else f"no GPU, {platform.machine()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{gpu}, {os.cpu_count()} cores, {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "pack", "report"])
    parser.add_argument("source", nargs="?", type=Path, help="pack: a folder of CamVid")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--camvid", type=Path, default=WORK / "camvid")
    given = parser.parse_args()
    parts = WORK / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    if given.step == "pack":
        pack(given.source, given.camvid)
        return
    if given.step != "report":
        place = Place(given.device, given.small, given.seconds, given.camvid.resolve())
        command = "benchmarks/gpu.sh" + (" --stub" if given.small else "")
        notes = {"machine": describe(given.device), "command": command, "stub": given.small}
        write_text(parts / "place.json", json.dumps(notes))
        try:
            text = STEPS[given.step][1](place)
        except Exception as error:  # the other steps are worth their minutes all the same
            place.keep(given.step, f"**Failed**: {type(error).__name__}: {error}")
            raise
        place.keep(given.step, text)
        print(text, flush=True)
    report(parts)


if __name__ == "__main__":
    main()
