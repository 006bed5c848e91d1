"""Commands that use models: predict, evaluate, bench, serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from topseg.cli.app import MANY, POSITIVE, Device, Flag, app, show_progress
from topseg.errors import InputError


@app.command
def predict(
    model: str,
    /,
    *images: str,
    out: Path,
    overlay: Flag = False,
    color: Flag = False,
    probability: Flag = False,
    probabilities: Flag = False,
    runtime: str = "auto",
    device: Device = "auto",
    threads: Annotated[int, POSITIVE] = 1,
    workers: Annotated[int | None, POSITIVE] = None,
    shard: str = "1/1",
    engine: Literal["threads", "ray"] = "threads",
    address: str | None = None,
) -> int:
    """Write a mask for every image, at the image's own size.

    What an earlier run has done is skipped where image, model and outputs are unchanged
    (manifest.jsonl in the output folder). Exit code 3: some images could not be read, all the
    others are done.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        images: Image files, folders, patterns or .txt lists of files; - is a list from standard
            input.
        out: Folder for the masks (PNG with palette); sub-folders are mirrored.
        overlay: Write the mask laid over the image as well.
        color: Write the mask in colours as well.
        probability: Write the winning class's probability as well (8-bit grey PNG).
        probabilities: Write every class's probability as well (NumPy archive).
        runtime: The engine: auto, onnx, openvino, torch.
        device: Where to run.
        threads: CPU threads of each worker.
        workers: Images at a time, each on an engine of its own; as many as use all cores if not
            given (on a cluster: all its cores, or one on each GPU).
        shard: Do only part i of n, as i/n; the n parts may run at a time and make one run.
        engine: threads of this machine, or a Ray cluster; what it needs is on shared files.
        address: The cluster's (auto, HOST:PORT); RAY_ADDRESS or this machine if not given.
    """
    import contextlib
    import functools

    from topseg.bulk import Engine, Threads, UnreadableError, parse_shard, predict_files
    from topseg.drawing import legend_text
    from topseg.hub import load, load_workers

    if address is not None and engine != "ray":
        raise InputError("address: only together with --engine ray")
    part = parse_shard(shard)
    with contextlib.ExitStack() as stack:
        if engine == "ray":
            from topseg.bulk.cluster import RayCluster

            where = str(Path(model).absolute()) if Path(model).exists() else model
            cluster = RayCluster(
                functools.partial(load, where, runtime=runtime, device=device, threads=threads),
                address=address,
                workers=workers,
                threads=threads,
                cuda=device in ("cuda", "tensorrt"),
            )
            crew: Engine = stack.enter_context(cluster)
        else:
            workers = workers or max(1, (os.cpu_count() or 1) // threads)
            with show_progress("download", size=True) as progress:
                predictors = load_workers(
                    model,
                    workers,
                    runtime=runtime,
                    device=device,
                    threads=threads,
                    progress=progress,
                )
            crew = Threads(predictors)
        try:
            with show_progress("predict") as progress:
                found = predict_files(
                    crew,
                    images,
                    out,
                    overlay=overlay,
                    color=color,
                    probability=probability,
                    probabilities=probabilities,
                    shard=part,
                    progress=progress,
                )
        except UnreadableError as error:
            print(error, file=sys.stderr)
            return 3
    if found.before or shard != "1/1":
        print(f"{found.images} images, {found.before} of them done before and unchanged")
    print(legend_text(found.shares))
    return 0


@app.command
def evaluate(
    model: str,
    data: Path,
    /,
    *overrides: str,
    split: Literal["val", "train"] = "val",
    flip: Flag = False,
    scales: Annotated[tuple[float, ...], MANY] = (),
    slide: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    protocol: Literal["direct", "reference", "network"] = "direct",
    json: Path | None = None,
    runtime: str = "auto",
    device: Device = "auto",
    threads: Annotated[int | None, POSITIVE] = None,
) -> None:
    """Measure a model on a labelled data set, at each image's own resolution.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        split: Which split.
        flip: Average with the mirror image.
        scales: Average over these scales, such as 0.5 0.75 1.0.
        slide: Height and width of windows to run instead of the whole image.
        stride: Steps (down, right) between windows; two thirds of a window if not given.
        protocol: direct; reference: PaddleSeg's interpolation and counting; network: at the
            network's resolution, which is not comparable with the others.
        json: Write the scores to this file as well.
        runtime: The engine: auto, onnx, openvino, torch.
        device: Where to run.
        threads: CPU threads.
    """
    from rich.console import Console

    from topseg.data.dataset import open_dataset
    from topseg.evaluation import evaluate
    from topseg.files import write_json
    from topseg.hub import load
    from topseg.recipe import read_data
    from topseg.tta import Slide

    with show_progress("download", size=True) as progress:
        predictor = load(model, runtime=runtime, device=device, threads=threads, progress=progress)
    metadata = predictor.runtime.metadata
    dataset = open_dataset(
        read_data(data, overrides),
        split,
        channels=metadata.model.in_channels,
        scale=metadata.input.scale,
    )
    if stride is not None and slide is None:
        raise InputError("stride: only together with --slide HEIGHT WIDTH")
    windows = None
    if slide is not None:
        windows = Slide(slide, stride or (slide[0] * 2 // 3 // 8 * 8, slide[1] * 2 // 3 // 8 * 8))
    with show_progress("evaluate") as progress:
        scores = evaluate(
            predictor,
            dataset,
            flip=flip,
            scales=scales,
            slide=windows,
            protocol=protocol,
            progress=progress,
        )
    Console().print(scores.table())
    print(scores.summary())
    if json is not None:
        write_json(json, scores.to_dict())


@app.command
def bench(
    model: str | None = None,
    /,
    *,
    data: Path | None = None,
    image: Path | None = None,
    runtimes: Annotated[tuple[str, ...], MANY] = (),
    size: Annotated[tuple[str, ...], MANY] = ("512x512",),
    threads: Annotated[tuple[int, ...], MANY] = (1,),
    seconds: float = 5.0,
    out: Path | None = None,
) -> None:
    """Measure the time from an image file to its mask, or from files to a training step.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        data: A recipe instead: images/s of each stage of its loader, and of the step.
        image: The image file; a drawn scene of 1280x960 pixels if not given.
        runtimes: Engines; torch and every graph of the bundle if not given.
        size: Height x width of the network's input, such as 512x512 512x704.
        threads: CPU threads, such as 1 2.
        seconds: How long to repeat each measurement.
        out: Folder for bench.json, bench.md and bench.svg.
    """
    import tempfile

    if data is not None:
        from topseg.recipe import read_recipe
        from topseg.train.trial import bench_data

        print(bench_data(read_recipe(data), seconds=seconds))
        return
    if model is None:
        raise InputError("bench: give MODEL, or --data RECIPE")

    from topseg.benchmark import bench, draw_photo, markdown, save
    from topseg.geometry import parse_size
    from topseg.hub import open_model

    bundle, sizes = open_model(model), [parse_size(text) for text in size]
    with tempfile.TemporaryDirectory() as folder:
        photo = image or draw_photo(Path(folder) / "scene.jpg")
        found = bench(
            bundle, photo, runtimes=runtimes, sizes=sizes, threads=threads, seconds=seconds
        )
    print(markdown(found))
    if out is not None:
        save(found, out)


@app.command
def serve(
    *models: str,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    grpc_port: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = (),
) -> int:
    """Answer requests for masks: a page, REST and gRPC (Open Inference Protocol v2).

    Args:
        models: MODEL or NAME=MODEL, one or more; the first answers where no name is given.
        config: A YAML file with any of the settings (docs/serving.md).
        host: Address to listen on; this machine alone (127.0.0.1) if not given.
        port: HTTP port; 8000 if not given.
        grpc_port: gRPC port; 8001 if not given.
        workers: Worker processes a model; as many as use all cores if not given.
        threads: CPU threads of each worker.
        set_: Any other setting, as key=value; may be repeated.
    """
    from topseg.serve.config import read_serve_config
    from topseg.serve.run import serve

    given = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "workers": workers,
        "threads": threads,
    }
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    return serve(read_serve_config(config, models, [*flags, *set_]))
