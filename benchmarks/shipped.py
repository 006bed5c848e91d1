"""Put a trained model into the package, and measure the packaged one on every engine.

    python benchmarks/shipped.py make RUN DATA runs/ruler/CHOICE_STEPS_SEED [data.key=value ...]
    python benchmarks/shipped.py measure DATA OUT [--formats onnx ncnn ...] [--int8 onnx ...]

``make`` stores RUN's best weights as float16, with an ONNX graph, a card and a licence. RUN is
trained on all sequences of CamVid, so that none is left to score it on: its scores are those of its
recipe by benchmarks/ruler.py, of one choice and seed. ``measure`` exports the packaged model to
OUT/FORMAT and OUT/FORMAT-int8 (a folder that is there already is taken as it is: a converter may
need an environment of its own), evaluates each on val and times it on val's first image. A graph of
one fixed size is held against torch at that size. Both take changes to the data section, such as
root=PATH.
"""

import argparse
import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import write_result
from ruler import COUNTS, FOLDS
from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.card import write_card
from topseg.bundle.published import SHIPPED
from topseg.core.files import write_text
from topseg.core.geometry import Size
from topseg.core.labels import standard_set
from topseg.data.dataset import Dataset, open_dataset
from topseg.evaluation.benchmark import bench
from topseg.evaluation.run import evaluate
from topseg.evaluation.scores import Scores
from topseg.exporting.formats import FORMATS, INT8
from topseg.exporting.quantization import calibration_images
from topseg.exporting.run import export, proof_images
from topseg.inference.hub import load, open_model
from topseg.inference.predictor import Predictor
from topseg.recipe import read_data
from topseg.runtimes.registry import find_engine, open_runtime

NAME = "topformer-tiny-camvid"
NOTICE = "trained on CamVid: for research and non-commercial use only"
LICENSE = f"""Licence of the weights in this folder ({NAME})

The weights were trained on images and labels of the Cambridge-driving Labeled Video Database
(CamVid), which its authors offer for research and non-commercial use:

  Gabriel J. Brostow, Jamie Shotton, Julien Fauqueur, Roberto Cipolla: Segmentation and Recognition
  Using Structure from Motion Point Clouds, ECCV 2008.
  Gabriel J. Brostow, Julien Fauqueur, Roberto Cipolla: Semantic Object Classes in Video: A
  High-Definition Ground Truth Database, Pattern Recognition Letters 30(2), 2009.

You may use, copy, change and pass on these weights, and what is derived from them, for research
and for non-commercial purposes, if you keep this text beside them. They come without any warranty.
For any other purpose train weights of your own on data that allow it.

The licence of the program (Apache-2.0) does not extend to this folder.
"""


LIMITS = """
## Limits

Learned from 468 images of three drives through one English town, from random weights: take it to
try topseg out, and train your own for work.

* On a drive that it has not seen, expect what the scores above say. Sky and road are found, most
  buildings, trees and cars as well; poles, signs, fences and bicyclists are mostly missed.
* Elsewhere: of three photographs of ADE20K 57, 68 and 75 % of the pixels get the right one of these
  classes. Old stone buildings become trees, and lawns too.
* Light: of a drawn street 87 % is right by day, 58 % at dusk, 18 % at night.
* There is no class for anything else: indoors or from above the answer means nothing.
"""


def make(run: str, dataset: Dataset, measured: str) -> None:
    """Replace the packaged model by a run's best weights."""
    folder = SHIPPED[NAME]
    with tempfile.TemporaryDirectory() as name:
        source = open_model(run)
        metadata = dataclasses.replace(
            source.metadata,
            license="research and non-commercial use (LICENSE)",
            notice=NOTICE,
            metrics={"CamVid, each sequence unseen": unseen_scores(measured)},
        )
        images = proof_images(metadata, dataset)
        bundle = Bundle(source.folder, metadata)
        made = export(
            bundle, Path(name) / NAME, ["onnx"], images=images, precision="fp16", dataset=dataset
        )
        write_text(made.folder / "LICENSE", LICENSE)
        write_card(made.folder, made.metadata)
        with (made.folder / "README.md").open("a", encoding="utf-8") as card:
            card.write(LIMITS)
        write_metadata(made.folder, made.metadata)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made.folder, folder)


def unseen_scores(measured: str) -> dict[str, Any]:
    """Return the means over the folds of the ruler: scores of a recipe, not of one model."""
    counts = [np.load(f"{measured}_{fold}/{COUNTS}")["counts"] for fold in FOLDS]
    hits, predicted, truth = np.stack([one.sum(axis=0) for one in counts], axis=1)
    ratios = {
        "iou": hits / (predicted + truth - hits),
        "precision": hits / predicted,
        "recall": hits / truth,
    }  # (folds, K)
    means = {name: np.nanmean(ratio, axis=0).tolist() for name, ratio in ratios.items()}
    by_fold = np.nanmean(ratios["iou"], axis=1).tolist()
    return {
        "protocol": "original resolution, mean of three shorter runs of its first stage, each "
        "trained on two sequences and scored on the third",
        "miou": float(np.mean(by_fold)),
        **{f"miou_{fold}": score for fold, score in zip(FOLDS, by_fold, strict=True)},
        "images": sum(map(len, counts)),
        "classes": [
            {"name": name, **{ratio: values[k] for ratio, values in means.items()}}
            for k, name in enumerate(standard_set("camvid")[0].names)
        ],
    }


def measure(
    dataset: Dataset, train: Dataset, out: Path, graphs: Sequence[str], seconds: float
) -> None:
    """Evaluate and time the packaged model on every engine; FORMAT-int8 is a graph as well."""
    image = dataset.paths(0)[0]
    bundle = open_model(NAME)
    network = bundle.metadata.resize.network_size(dataset[0].image.shape[:2])
    torch = open_runtime(bundle, "torch", threads=2)
    references: dict[Size | None, Scores] = {}
    rows = [
        "| engine | network size | mIoU | beside torch | size | network | image to mask |",
        "|---|---|---|---|---|---|---|",
    ]
    for graph in ("torch", *graphs):
        folder, (name, _, int8) = out / graph, graph.partition("-")
        if not folder.exists():
            export(
                bundle,
                folder,
                [name],
                images=proof_images(bundle.metadata, dataset),
                precision="int8" if int8 else "fp32",
                size=network,
                dataset=dataset,
                calibration=calibration_images(train) if int8 else (),
            )
        predictor = load(folder, runtime=name, threads=2)
        size = predictor.runtime.fixed_size
        if size not in references:
            torch.fixed_size = size
            references[size] = evaluate(Predictor(torch, threads=2), dataset)
        scores = evaluate(predictor, dataset)
        [timed] = bench(
            open_model(folder), image, runtimes=[name], sizes=[network], seconds=seconds
        )
        rows.append(
            f"| {find_engine(name).version}{', int8' if int8 else ''} "
            f"| {network[0]}x{network[1]}{'' if size is None else ' only'} "
            f"| {100 * scores.miou:.2f} | {100 * (scores.miou - references[size].miou):+.3f} "
            f"| {timed.model_bytes / 1e6:.1f} MB | {_ms(timed.stages['network'])} "
            f"| {_ms(timed.total)} |"
        )
    scores = references[None]
    table = ["| class | IoU | precision | recall |", "|---|---|---|---|"]
    for line in scores.to_dict()["classes"]:
        cells = [f"{100 * line[key]:.1f}" for key in ("iou", "precision", "recall")]
        table.append(f"| {line['name']} | {' | '.join(cells)} |")
    body = [
        f"`{NAME}` on {len(dataset)} images of CamVid val, at their own resolution (480x360). "
        "They are among the images that it learned from, so the mIoU tells engines apart, and "
        "nothing about unseen streets ([ruler](ruler.md)). mIoU in percent; the difference is to "
        "torch at the same network size. Times are minimum / median in ms on one thread; image to "
        "mask is from the file's bytes to the PNG's.",
        "",
        *rows,
        "",
        scores.summary(),
        "",
        *table,
    ]
    write_result("shipped", f"The model in the package: {NAME}", "\n".join(body))


def _ms(timing: Any) -> str:
    return f"{timing.minimum:.1f} / {timing.median:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("run")
    measuring = commands.add_parser("measure")
    for command in (making, measuring):
        command.add_argument("data", type=Path)
    making.add_argument("measured")
    measuring.add_argument("out", type=Path)
    measuring.add_argument("--seconds", type=float, default=5.0)
    known = [one.name for one in FORMATS.values() if one.name == one.engine and one.writer]
    measuring.add_argument("--formats", nargs="+", choices=known, default=["onnx", "openvino"])
    measuring.add_argument("--int8", nargs="+", choices=INT8, default=[])
    for command in (making, measuring):
        command.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    data = read_data(given.data, given.overrides)
    dataset = open_dataset(data, "val")
    if given.command == "make":
        if not Path(f"{given.measured}_{FOLDS[0]}").is_dir():
            parser.error(f"no run of the ruler such as {given.measured}_{FOLDS[0]}")
        make(given.run, dataset, given.measured)
    else:
        graphs = [*given.formats, *(f"{name}-int8" for name in given.int8)]
        measure(dataset, open_dataset(data, "train"), given.out, graphs, given.seconds)


if __name__ == "__main__":
    main()
