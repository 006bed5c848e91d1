"""A run that is killed again and again ends as one that never was: bit by bit.

    python benchmarks/survival.py [--kills 20] [--steps 240]

SIGKILL at random moments (checkpoints are written every few steps, so many fall inside a write),
each time resumed with another number of loader processes; then SIGTERM to two processes under
torchrun, resumed. ``topseg compare-runs`` compares the ends.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models import write_result
from topseg.synthetic.scenes import LABELS, write_scenes

RECIPE = """\
data: {{root: data}}
train:
  {{steps: {steps}, batch_size: 4, crop: [64, 64], workers: 0, ema: 0.9, eval_every: 10,
    save_every: 3, keep: 99, log_every: 1,
    augment: [{{name: random_scale}}, {{name: pad_crop}}, {{name: flip}}]}}
resize: {{short_side: 64}}
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
TRAIN = ["-m", "topseg", "train", "recipe.yaml"]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, *words]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=quiet, stderr=quiet)


def equal(folder: Path, a: str, b: str) -> bool:
    command = [sys.executable, "-m", "topseg", "compare-runs", a, b]
    return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode == 0


def kill_often(folder: Path, kills: int) -> int:
    """Kill until ``kills`` hit a living run, then let it finish; return how many did."""
    rng, hit = random.Random(0), 0
    while True:
        resume = ["--resume"] if (folder / "killed" / "recipe.yaml").exists() else []
        workers = f"train.workers={hit % 3}"
        run = start(folder, *TRAIN, workers, "--out", "killed", *resume)
        if hit == kills:
            run.wait()
            return hit
        try:
            run.wait(rng.uniform(2.0, 4.5))
            return hit  # it finished first
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            hit += 1


def stop_two(folder: Path) -> int:
    """SIGTERM to torchrun in the middle, then resume; return the step it was stopped at."""
    run = start(folder, *TORCHRUN, *TRAIN, "--out", "stopped")
    while run.poll() is None and not (folder / "stopped/checkpoints/step_00000009").exists():
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    run.wait()
    step = max(int(p.name[5:]) for p in (folder / "stopped" / "checkpoints").glob("step_*"))
    start(folder, *TORCHRUN, *TRAIN, "--out", "stopped", "--resume").wait()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=240)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "data", train=12, val=2)
        (folder / "data" / "classes.txt").write_text("\n".join(LABELS.names))
        (folder / "recipe.yaml").write_text(RECIPE.format(steps=arguments.steps))
        if start(folder, *TRAIN, "--out", "whole").wait():
            raise SystemExit("the run that nothing stops failed; try it by hand")
        hit = kill_often(folder, arguments.kills)
        start(folder, *TORCHRUN, *TRAIN, "--out", "two").wait()
        step = stop_two(folder)
        rows = {
            f"{hit} x SIGKILL at random moments, resumed with 0, 1, 2 workers in turn": equal(
                folder, "whole", "killed"
            ),
            f"2 processes under torchrun (Gloo), SIGTERM, stopped after step {step}": equal(
                folder, "two", "stopped"
            ),
        }
    lines = ["| what | equal bit by bit to the run that nothing stopped |", "|---|---|"]
    lines += [f"| {what} | {'yes' if same else '**no**'} |" for what, same in rows.items()]
    lines += ["", f"Tiny, {arguments.steps} steps of 4 crops of 64x64, EMA, a checkpoint every 3."]
    write_result("survival", "Killed and resumed", "\n".join(lines))
    sys.exit(not all(rows.values()))


if __name__ == "__main__":
    main()
