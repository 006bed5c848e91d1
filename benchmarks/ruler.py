"""The ruler of CamVid: recipes measured by cross-validation over its three sequences.

    python benchmarks/ruler.py --data ../data/camvid --out runs/ruler [--steps 400] [--seeds 1]
        [--only base auxiliary_heads] [--jobs 2] [a.b=c ...]

Each fold leaves one sequence out (0001TP, taken at dusk, 0006R0, and 0016E5 with the 101 images of
val), trains on the two others and scores the one left out: streets that the model has not seen. A
choice is its row's changes to recipes/topformer_tiny_camvid.yaml and nothing else; its number is
the mean over the folds. The base is trained with two seeds: what lies between them is noise.

Runs that broke off go on, finished ones are not trained again; a table is written of all that are
finished. ``--jobs`` runs are trained at a time, on one thread each, which on two cores makes more
crops a second than one run on both.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import write_result
from topseg.api import evaluate
from topseg.core.files import write_text
from topseg.core.labels import standard_set
from topseg.evaluation.bootstrap import interval
from topseg.evaluation.images import PerImage, iou
from topseg.recipe import read_recipe
from topseg.training.trainer import train

RECIPE = Path(__file__).parents[1] / "recipes" / "topformer_tiny_camvid.yaml"
FOLDS = ("0001TP", "0006R0", "0016E5")
WEIGHTS = "[0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.87, 2.65, 3.92]"  # the recipe's
CE = f"{{name: cross_entropy, class_weights: {WEIGHTS}}}"
SMOOTH = CE.replace("}", ", label_smoothing: 0.1}")
AUX = "train.aux_strides=[8, 16, 32]"


def augment(
    *, low: float = 0.6, high: float = 1.8, balance: float = 0, color: float = 0.3, hue: float = 6
) -> str:
    distort = f"brightness: {color}, contrast: {color}, saturation: {color}, hue: {hue}"
    crop = f"name: pad_crop, class_balance: {balance}"
    return (
        f"train.augment=[{{name: random_scale, min: {low}, max: {high}}}, {{{crop}}}, "
        f"{{name: flip}}, {{name: distort, {distort}}}]"
    )


ROWS: dict[str, tuple[str, list[str]]] = {
    "base": ("the packaged model's recipe, its first stage", []),
    "auxiliary_heads": ("a head on each map of strides 8, 16 and 32", [AUX]),
    "colour": ("colours changed twice as much", [augment(color=0.6, hue=12)]),
    "scale": ("scales from 0.4 to 2.5", [augment(low=0.4, high=2.5)]),
    "class_balance": ("half of the crops laid around a drawn class", [augment(balance=0.5)]),
    "no_weights": ("classes not weighed", ["loss=[{name: cross_entropy}]"]),
    "label_smoothing": ("label smoothing 0.1", [f"loss=[{SMOOTH}]"]),
    "ohem": (
        "hard pixels alone, probability below 0.7",
        [
            "loss=[{name: ohem, threshold: 0.7, min_kept: 10_000, class_weights: "
            "sqrt_median_frequency}]"
        ],
    ),
    "dice": ("dice added", [f"loss=[{CE}, {{name: dice, weight: 0.5}}]"]),
    "high_rate": ("twice the learning rate", ["optim.lr=4e-3"]),
    "decay": ("five times the weight decay", ["optim.weight_decay=0.05"]),
    "small_batches": ("batches of 4, twice the steps", ["train.batch_size=4"]),
    "whole_images": ("crops of 352x480, half the steps", ["train.crop=[352, 480]"]),
    "no_ema": ("no average of the weights", ["train.ema=null"]),
}
"""Choices: what each is, and its changes to the recipe."""


@dataclass(frozen=True)
class Run:
    """One training run of one choice."""

    choice: str
    fold: str
    seed: int
    out: Path
    overrides: tuple[str, ...]


def write_folds(data: Path, out: Path) -> Path:
    """Write the lists of the folds beside links to the images; return the folder."""
    folder = out / "folds"
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "trainannot", "val", "valannot"):
        if not (folder / part).exists():
            (folder / part).symlink_to(data / part)
    lines = [line for s in ("train", "val") for line in (data / f"{s}.txt").read_text().split("\n")]
    for fold in FOLDS:
        for name, inside in ((f"{fold}_val", True), (f"{fold}_train", False)):
            chosen = [line for line in lines if line.strip() and (fold in line) == inside]
            write_text(folder / f"{name}.txt", "\n".join(chosen) + "\n")
    return folder


def train_one(run: Run) -> None:
    """Train, or go on with, or leave a run; keep the counts of each image of the fold."""
    if (run.out / "counts.npz").exists():
        return
    recipe = read_recipe(RECIPE, run.overrides)
    start = time.perf_counter()
    if code := train(recipe, run.out, device="cpu", resume=(run.out / "recipe.yaml").exists()):
        raise SystemExit(code)
    seconds = time.perf_counter() - start
    images = PerImage(11, 255)
    scores = evaluate(run.out, accumulators=[images], threads=1)
    np.savez(run.out / "counts.npz", counts=images.stacked(), miou=scores.miou, seconds=seconds)
    print(f"{run.out.name}: {100 * scores.miou:.2f} % in {seconds:.0f} s", flush=True)


def plan(given: argparse.Namespace) -> list[Run]:
    """List the runs, a choice's folds together."""
    folder = write_folds(given.data.resolve(), given.out.resolve())
    runs = []
    for choice in given.only:
        crops = given.steps * 8
        seeds = max(given.seeds, 2) if choice == "base" else given.seeds
        for seed in range(seeds):
            for fold in FOLDS:
                lists = [f"data.train={fold}_train", f"data.val={fold}_val"]
                own = [*ROWS[choice][1], *given.overrides]
                size = 4 if "train.batch_size=4" in own else 8
                steps = crops // size // (2 if "train.crop=[352, 480]" in own else 1)
                often = [f"train.{key}={steps}" for key in ("steps", "eval_every")]
                often += [f"train.save_every={max(1, steps // 4)}"]
                often += [f"schedule.warmup_steps={steps // 20}", "train.workers=0"]
                words = [f"data.root={folder}", *lists, *often, f"seed={seed}", *own]
                name = f"{choice}_{given.steps}_{seed}_{fold}"
                runs.append(Run(choice, fold, seed, given.out / name, tuple(words)))
    return runs


def read(run: Run) -> tuple[np.ndarray, float, float]:
    with np.load(run.out / "counts.npz") as found:
        return found["counts"], float(found["miou"]), float(found["seconds"])


def table(runs: Sequence[Run]) -> str:
    """Return the choices that are finished: per fold and in the mean, and beside the base."""
    done = [run for run in runs if (run.out / "counts.npz").exists()]
    means: dict[str, list[float]] = {}
    folds: dict[tuple[str, str], list[float]] = {}
    seconds: dict[str, float] = {}
    for choice in dict.fromkeys(run.choice for run in done):
        for seed in {run.seed for run in done if run.choice == choice}:
            mine = [run for run in done if (run.choice, run.seed) == (choice, seed)]
            if len(mine) < len(FOLDS):
                continue
            for run in mine:
                _, miou, took = read(run)
                folds.setdefault((choice, run.fold), []).append(100 * miou)
                seconds[choice] = seconds.get(choice, 0) + took
            mean = statistics.fmean(folds[choice, fold][-1] for fold in FOLDS)
            means.setdefault(choice, []).append(mean)
    base = statistics.fmean(means["base"]) if "base" in means else float("nan")
    lines = [
        f"| choice | what | {' | '.join(FOLDS)} | mean | beside the base | seeds | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for choice, values in means.items():
        per_fold = " | ".join(f"{statistics.fmean(folds[choice, fold]):.1f}" for fold in FOLDS)
        spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
        mean = statistics.fmean(values)
        lines.append(
            f"| {choice} | {ROWS[choice][0]} | {per_fold} | {mean:.1f}{spread} | "
            f"{mean - base:+.1f} | {len(values)} | {seconds[choice] / 60:.0f} |"
        )
    return "\n".join(lines)


def classes(runs: Sequence[Run], choice: str) -> str:
    """Return a choice's IoU by class and fold (seed 0), with intervals over the images."""
    names = standard_set("camvid")[0].names
    cells: dict[str, list[str]] = {name: [] for name in (*names, "**mean**")}
    for fold in FOLDS:
        run = next(r for r in runs if (r.choice, r.fold, r.seed) == (choice, fold, 0))
        counts = read(run)[0]
        by_class, mean = interval(counts, iou), interval(counts)
        rows = zip(by_class.value, by_class.low, by_class.high, strict=True)
        for name, row in zip(names, rows, strict=True):
            cells[name].append(_percent(*row))
        cells["**mean**"].append(_percent(mean.value, mean.low, mean.high))
    lines = [f"| {choice} | {' | '.join(FOLDS)} |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {' | '.join(row)} |" for name, row in cells.items()])


def _percent(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=400, help="of batches of 8 crops")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="CHOICE")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    runs = plan(given)
    if not given.table:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
            for _ in pool.map(train_one, runs):
                pass
    shown = [
        c for c in given.only if all((r.out / "counts.npz").exists() for r in runs if r.choice == c)
    ]
    body = [table(runs), *(classes(runs, choice) for choice in {shown[0], shown[-1]})]
    write_result(
        "ruler", "Recipes by cross-validation over the sequences of CamVid", "\n\n".join(body)
    )


if __name__ == "__main__":
    main()
