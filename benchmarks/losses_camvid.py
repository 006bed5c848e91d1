"""What losses, class weights, auxiliary heads and a teacher do to CamVid val on a short budget.

    python benchmarks/losses_camvid.py --data ../data/camvid --out runs/losses [--steps 1000]
        [--batch 8] [--seeds 3] [--teacher MODEL] [--only focal ohem] [a.b=c ...]

TopFormer-Tiny from random weights, by ruler.yaml with plain cross-entropy and nothing changed but
the row's own lines: the same seed, steps and order of images. The first row is trained with further
seeds too: differences smaller than theirs are noise. The teacher, where none is given, is a Small
trained here on twice the steps. Runs that broke off go on; finished ones are not trained again.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from models import write_result
from topseg.core.errors import InputError
from topseg.recipe import read_recipe
from topseg.training.trainer import train

RECIPE = Path(__file__).with_name("ruler.yaml")
PLAIN = "cross_entropy"


def loss(*terms: str) -> str:
    return f"loss=[{', '.join(f'{{{term}}}' for term in terms)}]"


def distill(channel_wise: float, soft_targets: float) -> list[str]:
    return [f"distill.channel_wise={channel_wise}", f"distill.soft_targets={soft_targets}"]


CE = "name: cross_entropy"
ROWS = {
    PLAIN: [],
    "sqrt_median_frequency": [loss(f"{CE}, class_weights: sqrt_median_frequency")],
    "median_frequency": [loss(f"{CE}, class_weights: median_frequency")],
    "inverse_log": [loss(f"{CE}, class_weights: inverse_log")],
    "label_smoothing 0.1": [loss(f"{CE}, label_smoothing: 0.1")],
    "ohem, probability below 0.7": [loss("name: ohem, threshold: 0.7, min_kept: 10_000")],
    "ohem, hardest quarter": [loss("name: ohem, fraction: 0.25")],
    "focal": [loss("name: focal")],
    "cross_entropy + dice": [loss(CE, "name: dice")],
    "cross_entropy + lovasz": [loss(CE, "name: lovasz")],
    "auxiliary heads 8, 16, 32": ["train.aux_strides=[8, 16, 32]"],
    "channel-wise distillation": distill(3, 0),
    "soft targets": distill(0, 1),
    "both": distill(3, 1),
}
DISTILLED = ("channel-wise distillation", "soft targets", "both")


def run_one(out: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train, or go on, or read what was trained; return the figures of the last evaluation."""
    recipe = read_recipe(RECIPE, overrides)
    if not (out / "done.json").exists():
        start = time.perf_counter()
        if code := train(recipe, out, resume=(out / "recipe.yaml").exists()):
            raise SystemExit(code)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        rates = [line["images_per_s"] for line in lines if "images_per_s" in line]
        last = next(line for line in reversed(lines) if "miou" in line)
        figures = {key: last[key] for key in ("miou", "accuracy", "val_loss")}
        figures["images_per_s"] = statistics.median(rates)
        figures["seconds"] = time.perf_counter() - start
        (out / "done.json").write_text(json.dumps(figures))
    found: dict[str, float] = json.loads((out / "done.json").read_text())
    return found


def row(name: str, found: dict[str, float], plain: float) -> str:
    cells = [name, f"{100 * found['miou']:.2f}", f"{100 * (found['miou'] - plain):+.2f}"]
    cells += [f"{100 * found['accuracy']:.2f}", f"{found['val_loss']:.4f}"]
    return f"| {' | '.join(cells)} | {found['images_per_s']:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher", help="MODEL; default: a Small trained here")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()

    def settings(steps: int) -> list[str]:
        every = [f"train.{key}={steps}" for key in ("steps", "eval_every")]
        every += [
            f"train.save_every={max(1, steps // 4)}",
            f"train.log_every={max(1, steps // 50)}",
        ]
        every += [f"train.batch_size={given.batch}", f"schedule.warmup_steps={steps // 20}"]
        return [f"data.root={given.data.resolve()}", loss(CE), *every, *given.overrides]

    common, teacher, lines = settings(given.steps), given.teacher, []
    if teacher is None and set(given.only) & set(DISTILLED):
        small = [*settings(2 * given.steps), "model.name=topformer_small"]
        found = run_one(given.out / "teacher", small)
        teacher = str((given.out / "teacher").resolve())
        lines.append(f"Teacher: Small, {2 * given.steps} steps, mIoU {100 * found['miou']:.2f}.")
    elif teacher is not None:
        lines.append(f"Teacher: {teacher}.")
    plain = [
        run_one(given.out / f"{PLAIN}_{seed}", [*common, f"seed={seed}"])
        for seed in range(given.seeds)
    ]
    base = plain[0]["miou"]
    lines += [
        "",
        "| row | mIoU | change | accuracy | loss on val | images/s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(f"{PLAIN}, seed {seed}", found, base) for seed, found in enumerate(plain)]
    for name in given.only:
        if name == PLAIN:
            continue
        more = [f"distill.teacher={teacher}"] if name in DISTILLED else []
        folder = given.out / "".join(c if c.isalnum() else "_" for c in name)
        try:
            found = run_one(folder, [*common, *ROWS[name], *more])
        except InputError as error:  # report it, and go on with the others
            lines.append(f"| {name} | {str(error).splitlines()[0]} | | | | |")
            continue
        lines.append(row(name, found, base))
    spread = 100 * (max(f["miou"] for f in plain) - min(f["miou"] for f in plain))
    lines += [
        "",
        "CamVid val, 101 images of 480x360; mIoU and accuracy in percent after "
        f"{given.steps} steps of {given.batch} crops, one run a row. The {given.seeds} seeds of "
        f"the first row lie {spread:.2f} points apart: smaller changes mean nothing. The loss on "
        "val is plain cross-entropy, whatever the row trains with.",
    ]
    write_result("losses_camvid", "Losses and distillation on a short budget", "\n".join(lines))


if __name__ == "__main__":
    main()
