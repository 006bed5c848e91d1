"""Two checkouts side by side: is a commit slower than another?

    git worktree add ../before COMMIT
    (cd ../before && python setup.py -q build_ext --inplace)
    python benchmarks/commits.py ../before . [--rounds 7]

Every measurement is a process of its own that imports one checkout's package. The two take turns,
the one that begins changes from round to round, and the fastest round of each counts: what else
runs on the machine only makes them slower. The ratios of the single rounds show how much it did.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from models import write_result
from predict_folder import draw_photos
from topseg.synthetic.scenes import LABELS, write_scenes

RECIPE = """\
data: {root: data}
model: {name: topformer_tiny}
train:
  {steps: 16, batch_size: 8, crop: [192, 256], workers: 0, ema: 0.99, log_every: 1,
    eval_every: 16, save_every: 16, augment: [{name: pad_crop}, {name: flip}]}
resize: {short_side: 192}
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with the sources of one commit."""

    folder: Path

    def run(self, work: Path, *words: str) -> float:
        """Run this checkout's Python in a folder; return the seconds it took."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        environment |= {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": ""}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words], cwd=work, env=environment, capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{self.folder}: python {' '.join(words)}\n{done.stderr}")
        return seconds

    def name(self) -> str:
        command = ["git", "-C", str(self.folder), "rev-parse", "--short", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True)
        return found.stdout.strip() or self.folder.name

    def check(self, work: Path) -> None:
        """Check that Python imports this checkout, with its compiled tail."""
        code = (
            "import pathlib, topseg, topseg._native;"
            f"assert pathlib.Path(topseg.__file__).is_relative_to({str(self.folder)!r}),"
            "topseg.__file__"
        )
        self.run(work, "-c", code)


def steps(checkout: Checkout, work: Path) -> float:
    """Return the median seconds of a training step, without the first four."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        checkout.run(work, "-m", "topseg", "train", "recipe.yaml", "--out", f"{name}/run")
        log = Path(name, "run/log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    rates = [line["images_per_s"] for line in lines if "images_per_s" in line]
    return 8 / median(rates[4:])


def predict(checkout: Checkout, work: Path) -> float:
    with tempfile.TemporaryDirectory(dir=work) as name:
        words = ("predict", "topformer-tiny-camvid", "photos", "--out", name)
        return checkout.run(work, "-m", "topseg", *words)


CASES: dict[str, Callable[[Checkout, Path], float]] = {
    "`import topseg`": lambda one, work: one.run(work, "-c", "import topseg"),
    "`topseg --help`": lambda one, work: one.run(work, "-m", "topseg", "--help"),
    "`topseg predict` on the folder": predict,
    "a training step": steps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    pair = [Checkout(options.old.resolve()), Checkout(options.new.resolve())]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "photos").mkdir()
        draw_photos(work / "photos", options.images)
        write_scenes(work / "data", train=64, val=8)
        (work / "data/classes.txt").write_text("\n".join(LABELS.names))
        (work / "recipe.yaml").write_text(RECIPE)
        for one in pair:
            one.check(work)
        for case, measure in CASES.items():
            times: dict[Checkout, list[float]] = {one: [] for one in pair}
            for turn in range(options.rounds):
                for one in pair if turn % 2 else reversed(pair):
                    times[one].append(measure(one, work))
            old, new = (times[one] for one in pair)
            ratios = sorted(b / a for a, b in zip(old, new, strict=True))
            rows.append(
                f"| {case} | {min(old):.3f} | {min(new):.3f} | **{min(new) / min(old):.2f}** | "
                f"{ratios[0]:.2f} to {ratios[-1]:.2f}, median {median(ratios):.2f} |"
            )
            print(rows[-1], flush=True)
        head = [
            f"| seconds | {pair[0].name()} | {pair[1].name()} | new / old | single rounds |",
            "|---|---|---|---|---|",
        ]
    note = (
        f"Fastest of {options.rounds} rounds each, in turns. The folder: {options.images} JPEG of "
        "640x480 with the packaged model. A step: Tiny, 8 crops of 192x256, 9 classes, its median "
        "within a run of 16."
    )
    write_result("commits", "A commit against another", "\n".join([*head, *rows, "", note]))


if __name__ == "__main__":
    main()
