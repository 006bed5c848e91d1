"""Commands that measure models: evaluate, compare, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from topseg.cli.app import MANY, MEASURE, NOT_NEGATIVE, POSITIVE, Device, Flag, Runtime, app
from topseg.core.errors import InputError
from topseg.core.storage import exists
from topseg.core.terminal import say, show_progress


@app.command(group=MEASURE)
def evaluate(
    model: str,
    data: Path | None = None,
    /,
    *overrides: str,
    split: Literal["val", "train", "test"] = "val",
    flip: Flag = False,
    scales: Annotated[tuple[float, ...], MANY] = (),
    slide: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    protocol: Literal["direct", "reference", "network"] = "direct",
    json: Path | None = None,
    details: Flag = False,
    csv: Path | None = None,
    html: Path | None = None,
    robustness: Flag = False,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int | None, POSITIVE] = None,
) -> None:
    """Measure a model on a labelled data set, at each image's own resolution.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        data: A dataset.yaml, a recipe or a folder; where it is not given, or a folder without
            dataset.yaml and classes.txt, MODEL is a run and its recipe says the rest.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        split: Which split; test is the layout's split of that name.
        flip: Average with the mirror image.
        scales: Average over these scales, such as 0.5 0.75 1.0.
        slide: Height and width of windows to run instead of the whole image.
        stride: Steps (down, right) between windows; two thirds of a window if not given.
        protocol: direct; reference: PaddleSeg's interpolation and counting; network: at the
            network's resolution, which is not comparable with the others.
        json: Write the scores to this file as well.
        details: Measure boundaries, calibration and objects by size as well, and the mIoU's
            interval.
        csv: Write a table of images with their scores to this file.
        html: Write one HTML page to this file: worst images and classes with pictures, the
            confusion matrix, calibration; measures the details as well.
        robustness: Measure with noise, blur, strong JPEG, little and much light, and small pictures
            as well.
        runtime: The engine.
        device: Where to run.
        threads: CPU threads.
    """
    from rich.console import Console

    from topseg.api import data_of, open_data
    from topseg.core.files import write_json, write_text
    from topseg.evaluation.details import describe, details_of, summarize
    from topseg.evaluation.images import PerImage
    from topseg.evaluation.robustness import evaluate_faults
    from topseg.evaluation.run import evaluate
    from topseg.inference.hub import load
    from topseg.inference.tta import Slide

    # Which data: a change of the data section may stand where DATA is left out.
    if data is not None and "=" in str(data) and not exists(data):
        data, overrides = None, (str(data), *overrides)
    source, words = data_of(model, data, overrides)
    with show_progress("download", size=True) as progress:
        predictor = load(model, runtime=runtime, device=device, threads=threads, progress=progress)
    dataset = open_data(predictor.runtime.metadata, source, words, split)
    # What is run, and what is counted.
    if stride is not None and slide is None:
        raise InputError("stride: only together with --slide HEIGHT WIDTH")
    windows = None
    if slide is not None:
        windows = Slide(slide, stride or (slide[0] * 2 // 3 // 8 * 8, slide[1] * 2 // 3 // 8 * 8))
    details = details or html is not None
    labels = dataset.labels
    per_image = PerImage(labels.num_classes, labels.ignore_index)
    more = details_of(labels, threads or 1, logits=protocol != "reference") if details else []
    with show_progress("evaluate") as progress:
        scores = evaluate(
            predictor,
            dataset,
            accumulators=[*more, *([per_image] if details or csv else [])],
            flip=flip,
            scales=scales,
            slide=windows,
            protocol=protocol,
            progress=progress,
        )
    # The scores, for people and in files.
    Console().print(scores.table())
    say(scores.summary())
    deeper = summarize(more, per_image) if details else {}
    if details:
        say(describe(deeper))
    if robustness:
        with show_progress("robustness") as progress:
            worse = evaluate_faults(predictor, dataset, progress)
        say("\n".join(f"mIoU with {name:6}  {100 * one.miou:.2f}" for name, one in worse.items()))
        deeper |= {"robustness": {name: one.to_dict()["miou"] for name, one in worse.items()}}
    if json is not None:
        write_json(json, scores.to_dict() | deeper)
    if csv is not None:
        names = [dataset.name(index) for index in range(len(dataset))]
        write_text(csv, per_image.to_csv(names, labels.names))
    if html is not None:
        from topseg.report.evaluation import write_evaluation

        title = f"{model} on {data.name or data}" if data else model
        counts = per_image.stacked()
        write_evaluation(html, title, scores, deeper, counts, predictor, dataset)
        say(f"{html}: written")


@app.command(group=MEASURE)
def compare(
    a: str,
    b: str,
    data: Path,
    /,
    *overrides: str,
    split: Literal["val", "train", "test"] = "val",
    max_drop: Annotated[float, NOT_NEGATIVE] = 0.0,
    out: Path | None = None,
    json: Path | None = None,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int | None, POSITIVE] = None,
) -> int:
    """Compare two models on a labelled data set, with intervals by a paired bootstrap.

    Exit code 1: B is worse than A by more than --max-drop, with the whole 95 % interval.

    Args:
        a: MODEL, the one to beat.
        b: MODEL, the other one.
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        split: Which split; test is the layout's split of that name.
        max_drop: Points of mIoU that B may lose.
        out: Write one HTML page with classes, speed and pictures to this file.
        json: Write the figures to this file.
        runtime: The engine of both.
        device: Where to run.
        threads: CPU threads.
    """
    from topseg.api import open_data
    from topseg.core.files import write_json
    from topseg.evaluation.comparison import compare
    from topseg.inference.hub import load
    from topseg.report.comparison import write_comparison

    with show_progress("download", size=True) as progress:
        one, two = (
            load(model, runtime=runtime, device=device, threads=threads, progress=progress)
            for model in (a, b)
        )
    dataset = open_data(one.runtime.metadata, data, overrides, split)
    with show_progress("compare") as progress:
        found = compare(one, two, dataset, progress=progress)
    first, second = found.miou
    say(f"mIoU A {100 * first:.2f}, B {100 * second:.2f}\n{found.verdict()}")
    if out is not None:
        write_comparison(out, found, one, two, dataset, names=(a, b))
        say(f"{out}: written")
    if json is not None:
        write_json(json, found.to_dict())
    return int(found.is_worse(max_drop))


@app.command(group=MEASURE)
def bench(
    model: str,
    /,
    *,
    image: Path | None = None,
    runtimes: Annotated[tuple[str, ...], MANY] = (),
    size: Annotated[tuple[str, ...], MANY] = ("512x512",),
    threads: Annotated[tuple[int, ...], MANY] = (1,),
    seconds: float = 5.0,
    imports: Annotated[tuple[Path, ...], MANY, Parameter(name="--import")] = (),
    out: Path | None = None,
) -> int:
    """Measure the time from an image file to its mask, stage by stage, on each engine.

    Exit code 2: an engine that was named could not be measured; the others were.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        image: The image file; a drawn scene of 1280x960 pixels if not given.
        runtimes: Engines; torch and every graph of the bundle if not given.
        size: Height x width of the network's input, such as 512x512 512x704.
        threads: CPU threads, such as 1 2.
        seconds: How long to repeat each measurement.
        imports: Files of measurements on other machines, such as a phone's, which are put into
            the same table: JSON of ``topseg-cli bench --json-file`` or a bench.json.
        out: Folder for bench.json, bench.md and bench.svg.
    """
    import tempfile

    from topseg.core.geometry import parse_size
    from topseg.evaluation.benchmark import (
        bench,
        draw_photo,
        markdown,
        read_measurements,
        save,
    )
    from topseg.inference.hub import open_model

    elsewhere = [one for path in imports for one in read_measurements(path)]
    bundle, sizes = open_model(model), [parse_size(text) for text in size]
    with tempfile.TemporaryDirectory() as folder:
        photo = image or draw_photo(Path(folder) / "scene.jpg")
        found = bench(
            bundle, photo, runtimes=runtimes, sizes=sizes, threads=threads, seconds=seconds
        )
    say(markdown([*found, *elsewhere]))
    if out is not None:
        save([*found, *elsewhere], out)
    return 2 if set(runtimes) - {one.runtime for one in found} else 0
