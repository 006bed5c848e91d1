"""The ruler of CamVid: recipes measured by cross-validation over its three sequences.

    python benchmarks/ruler.py --data ../data/camvid --out runs/ruler [--steps 400] [--seeds 1]
        [--only base auxiliary_heads] [--jobs 2] [a.b=c ...]

Each fold leaves one sequence out (0001TP, taken at dusk, 0006R0, and 0016E5 with the 101 images of
val), trains on the two others and scores the one left out: streets that the model has not seen. A
choice is its row's changes to ruler.yaml and nothing else; its number is the mean over the folds.
The base is trained with two seeds: what lies between them is noise.

Runs that broke off go on, finished ones are not trained again; a table is written of all that are
finished. ``--jobs`` runs are trained at a time, on one thread each, which on two cores makes more
crops a second than one run on both.
"""

import argparse
import math
import multiprocessing
import os
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

RECIPE = Path(__file__).with_suffix(".yaml")
COUNTS = "counts.npz"
FOLDS = ("0001TP", "0006R0", "0016E5")
WEIGHTS = "[0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.87, 2.65, 3.92]"  # the recipe's
CE = f"{{name: cross_entropy, class_weights: {WEIGHTS}}}"
SMOOTH = f"loss=[{CE.replace('}', ', label_smoothing: 0.1}')}]"
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


SMALL = "train.batch_size=4"
LARGE = "train.crop=[352, 480]"
STRONG = augment(color=0.6, hue=12)
CHOSEN = (SMALL, STRONG, SMOOTH)


@dataclass(frozen=True)
class Choice:
    """A change of the recipe.

    Attributes:
        what: In words.
        changes: Of the recipe's keys.
        steps: Factor of the steps, where a step has another number of pixels or a run is longer.
        after: The choice whose runs' best weights it starts from.
    """

    what: str
    changes: tuple[str, ...] = ()
    steps: float = 1
    after: str | None = None


OHEM = "{name: ohem, threshold: 0.7, min_kept: 10_000, class_weights: sqrt_median_frequency}"
CHOICES = {
    "base": Choice("the first packaged model's recipe, its first stage"),
    "auxiliary_heads": Choice("a head on each map of strides 8, 16 and 32", (AUX,)),
    "colour": Choice("colours changed twice as much", (STRONG,)),
    "scale": Choice("scales from 0.4 to 2.5", (augment(low=0.4, high=2.5),)),
    "class_balance": Choice("half of the crops laid around a drawn class", (augment(balance=0.5),)),
    "no_weights": Choice("classes not weighed", ("loss=[{name: cross_entropy}]",)),
    "label_smoothing": Choice("label smoothing 0.1", (SMOOTH,)),
    "ohem": Choice("hard pixels alone, probability below 0.7", (f"loss=[{OHEM}]",)),
    "dice": Choice("dice added", (f"loss=[{CE}, {{name: dice, weight: 0.5}}]",)),
    "high_rate": Choice("twice the learning rate", ("optim.lr=4e-3",)),
    "decay": Choice("five times the weight decay", ("optim.weight_decay=0.05",)),
    "small_batches": Choice("batches of 4, twice the steps", (SMALL,), 2),
    "batches_of_2": Choice("batches of 2, four times the steps", ("train.batch_size=2",), 4),
    "whole_images": Choice("crops of 352x480, half the steps", (LARGE,), 0.5),
    "no_ema": Choice("no average of the weights", ("train.ema=null",)),
    "small_colour": Choice("batches of 4, colours changed twice as much", (SMALL, STRONG), 2),
    "small_colour_smooth": Choice("both and label smoothing 0.1", CHOSEN, 2),
    "base_long": Choice("the base, four times as long", (), 4),
    "long": Choice("small_colour_smooth, four times as long", CHOSEN, 8),
    "long_large": Choice(
        "after it crops of 352x480, as many pixels, half the rate",
        (*CHOSEN, LARGE, "optim.lr=1e-3"),
        4,
        after="long",
    ),
}


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
    if is_done(run):
        return
    recipe = read_recipe(RECIPE, run.overrides)
    start = time.perf_counter()
    if code := train(recipe, run.out, device="cpu", resume=(run.out / "recipe.yaml").exists()):
        raise SystemExit(code)
    seconds = time.perf_counter() - start
    images = PerImage(11, 255)
    scores = evaluate(run.out, accumulators=[images], threads=1)
    np.savez(run.out / COUNTS, counts=images.stacked(), miou=scores.miou, seconds=seconds)
    print(f"{run.out.name}: {100 * scores.miou:.2f} % in {seconds:.0f} s", flush=True)


def plan(given: argparse.Namespace) -> list[Run]:
    """List the runs, a choice's folds together."""
    folder = write_folds(given.data.resolve(), given.out.resolve())
    runs = []
    for name in given.only:
        choice = CHOICES[name]
        steps = round(given.steps * choice.steps)
        common = [f"data.root={folder}", f"train.steps={steps}", f"train.eval_every={steps}"]
        common += [f"train.save_every={max(1, steps // 4)}", "train.workers=0"]
        common += [f"schedule.warmup_steps={steps // 20}", *choice.changes, *given.overrides]
        for seed in range(max(given.seeds, 2) if name == "base" else given.seeds):
            for fold in FOLDS:
                own = [f"data.train={fold}_train", f"data.val={fold}_val", f"seed={seed}"]
                if choice.after:
                    own.append(f"model.weights={folder_of(choice.after, given, seed, fold)}")
                out = folder_of(name, given, seed, fold)
                runs.append(Run(name, fold, seed, out, (*common, *own)))
    return runs


def folder_of(choice: str, given: argparse.Namespace, seed: int, fold: str) -> Path:
    out: Path = given.out / f"{choice}_{given.steps}_{seed}_{fold}"
    return out


def is_done(run: Run) -> bool:
    return (run.out / COUNTS).exists()


def read(run: Run) -> tuple[np.ndarray, float, float]:
    with np.load(run.out / COUNTS) as found:
        return found["counts"], float(found["miou"]), float(found["seconds"])


def table(runs: Sequence[Run]) -> str:
    """Return the choices that are finished: per fold and in the mean, and beside the base."""
    lines = [
        f"| choice | what | {' | '.join(FOLDS)} | mean | beside the base | seeds | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    base = math.nan
    for choice, own in finished(runs).items():
        found = [read(run) for run in own]
        scores = 100 * np.array([miou for _, miou, _ in found]).reshape(-1, len(FOLDS))
        means = scores.mean(axis=1)  # of each seed
        mean, spread = means.mean(), f" ± {np.ptp(means) / 2:.1f}" if len(means) > 1 else ""
        base = mean if choice == "base" else base
        per_fold = " | ".join(f"{score:.1f}" for score in scores.mean(axis=0))
        minutes = sum(seconds for *_, seconds in found) / 60
        lines.append(
            f"| {choice} | {CHOICES[choice].what} | {per_fold} | {mean:.1f}{spread} | "
            f"{_beside(mean, base)} | {len(means)} | {minutes:.0f} |"
        )
    return "\n".join(lines)


def _beside(mean: float, base: float) -> str:
    return "–" if math.isnan(base) else f"{mean - base:+.1f}"


def finished(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each choice that has them all, in the order of seeds, then folds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.choice, []).append(run)
    return {choice: own for choice, own in groups.items() if all(map(is_done, own))}


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
    parser.add_argument(
        "--only", nargs="+", choices=CHOICES, default=list(CHOICES), metavar="CHOICE"
    )
    parser.add_argument("--table", action="store_true", help="train nothing, write the table")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    if not (given.data / "val.txt").is_file():
        parser.error(f"--data: no CamVid in {given.data} (train/, trainannot/, train.txt, val.txt)")
    runs = plan(given)
    if not given.table:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
            for _ in pool.map(train_one, runs):
                pass
    choices = [*finished(runs)]
    if not choices:
        parser.error("no choice is finished; run it without --table")
    note = (
        f"mIoU in percent after {given.steps} steps of 8 crops, each fold by the two others; "
        "behind ±: half of what lies between the seeds. Minutes are the clock's, all runs of a "
        "row together, whatever else the machine did. Below: IoU with its 95 % interval over the "
        "images."
    )
    shown = dict.fromkeys((choices[0], choices[-1]))
    body = [table(runs), note, *(classes(runs, choice) for choice in shown)]
    write_result("ruler", "Recipes by cross-validation over CamVid's sequences", "\n\n".join(body))


if __name__ == "__main__":
    main()
