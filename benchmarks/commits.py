"""Two checkouts side by side: is a commit slower than another?

    git worktree add ../before COMMIT
    (cd ../before && python setup.py -q build_ext --inplace)
    python benchmarks/commits.py ../before . [--rounds 7]

Every measurement is a process of its own that imports one checkout's package. The two take turns,
the one that begins changes from round to round, and the fastest round of each counts: what else
runs on the machine only makes them slower. The CPU seconds of the same rounds are less disturbed by
it, and the ratios of the single rounds show how much they were.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from models import write_result
from predict_folder import draw_photos
from topseg.synthetic.scenes import LABELS, write_scenes

CLIENTS = 4
RECIPE = """\
data: {root: data}
model: {name: topformer_tiny}
train:
  {steps: 16, batch_size: 8, crop: [192, 256], workers: 0, ema: 0.99, log_every: 1,
    eval_every: 16, save_every: 16, augment: [{name: pad_crop}, {name: flip}]}
resize: {short_side: 192}
"""


class Cost(NamedTuple):
    """Seconds on the clock, and CPU seconds of all threads."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Checkout:
    """A folder with the sources of one commit."""

    folder: Path

    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": ""}
        return {**os.environ, **own, "OMP_WAIT_POLICY": "PASSIVE"}

    def run(self, work: Path, *words: str) -> Cost:
        """Run this checkout's Python in a folder; return what it cost."""
        start, before = time.perf_counter(), _cpu()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=work,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        cost = Cost(time.perf_counter() - start, _cpu() - before)
        if done.returncode:
            raise SystemExit(f"{self.folder}: python {' '.join(words)}\n{done.stderr}")
        return cost

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


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def steps(checkout: Checkout, work: Path) -> Cost:
    """Return the median seconds of a step after the first four, and the CPU seconds of the run."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        words = ("-m", "topseg", "train", "recipe.yaml", "--out", f"{name}/run")
        cost = checkout.run(work, *words)
        log = Path(name, "run/log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    rates = [line["images_per_s"] for line in lines if "images_per_s" in line]
    return Cost(8 / median(rates[4:]), cost.cpu)


def predict(checkout: Checkout, work: Path) -> Cost:
    with tempfile.TemporaryDirectory(dir=work) as name:
        words = ("predict", "topformer-tiny-camvid", "photos", "--out", name)
        return checkout.run(work, "-m", "topseg", *words)


def serve(checkout: Checkout, work: Path) -> Cost:
    """Return the seconds of all photos, sent by clients at once, and the server's CPU seconds."""
    before = _cpu()
    words = ("serve", "m=topformer-tiny-camvid", "--port", "0", "--set", "grpc_port=null")
    with subprocess.Popen(
        [sys.executable, "-m", "topseg", *words],
        env=checkout.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        port, photos = 0, [file.read_bytes() for file in sorted((work / "photos").iterdir())]
        for line in server.stderr:
            event = json.loads(line)
            port = event.get("port", port)
            if event["event"] == "ready":
                break
        threading.Thread(target=server.stderr.read, daemon=True).start()

        def send(photo: bytes) -> None:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/segment", photo)
            with urllib.request.urlopen(request) as answer:
                answer.read()

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(send, photos[:CLIENTS]))
            start = time.perf_counter()
            list(pool.map(send, photos))
            seconds = time.perf_counter() - start
        server.terminate()
    return Cost(seconds, _cpu() - before)


CASES: dict[str, Callable[[Checkout, Path], Cost]] = {
    "`import topseg`": lambda one, work: one.run(work, "-c", "import topseg"),
    "`topseg --help`": lambda one, work: one.run(work, "-m", "topseg", "--help"),
    "`topseg predict` on the folder": predict,
    f"`topseg serve`: the folder by {CLIENTS} clients": serve,
    "a training step (CPU: a run of 16)": steps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--case", default="", help="only measurements whose name has this")
    options = parser.parse_args()
    pair = [Checkout(options.old.resolve()), Checkout(options.new.resolve())]
    rows, load = list[str](), os.getloadavg()[0]
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
            if options.case not in case:
                continue
            costs: dict[Checkout, list[Cost]] = {one: [] for one in pair}
            for turn in range(options.rounds):
                for one in pair if turn % 2 else reversed(pair):
                    costs[one].append(measure(one, work))
            for kind in ("wall", "cpu"):
                old, new = ([getattr(cost, kind) for cost in costs[one]] for one in pair)
                ratios = sorted(b / a for a, b in zip(old, new, strict=True))
                rows.append(
                    f"| {case} | {kind} | {min(old):.3f} | {min(new):.3f} | "
                    f"**{min(new) / min(old):.2f}** | {ratios[0]:.2f} to {ratios[-1]:.2f}, median "
                    f"{median(ratios):.2f} |"
                )
                print(rows[-1], flush=True)
        head = [
            f"| | seconds | {pair[0].name()} | {pair[1].name()} | new / old | single rounds |",
            "|---|---|---|---|---|---|",
        ]
    note = (
        f"Processes that were busy when this began (load average): {load:.0f}. "
        f"Fastest of {options.rounds} rounds each, in turns. The folder: {options.images} JPEG of "
        "640x480 with the packaged model. A step: Tiny, 8 crops of 192x256, 9 classes, its median "
        "within a run of 16."
    )
    write_result("commits", "A commit against another", "\n".join([*head, *rows, "", note]))


if __name__ == "__main__":
    main()
