"""Commands that use models: predict, evaluate, bench, serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from topseg.cli.app import MANY, POSITIVE, Device, Flag, Runtime, app, show_progress
from topseg.core.errors import InputError

if TYPE_CHECKING:
    from topseg.inference.predictor import Predictor


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
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int, POSITIVE] = 1,
    workers: Annotated[int | None, POSITIVE] = None,
    shard: str = "1/1",
    executor: Literal["threads", "ray"] = "threads",
    address: str | None = None,
    every: Annotated[int, POSITIVE] = 1,
    smooth: float = 0.0,
    masks: Flag = False,
) -> int:
    """Write a mask for every image, at the image's own size; lay masks over videos.

    What an earlier run has done is skipped where image, model and outputs are unchanged
    (manifest.jsonl in the output folder). Exit code 3: some images could not be read, all the
    others are done.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        images: Image files, folders, patterns or .txt lists of files; - is a list from standard
            input. Or videos: files, addresses (rtsp://...), webcam:0; each becomes NAME_overlay.mp4
            with its sound (docs/video.md).
        out: Folder for the masks (PNG with palette); sub-folders are mirrored.
        overlay: Write the mask laid over the image as well.
        color: Write the mask in colours as well.
        probability: Write the winning class's probability as well (8-bit grey PNG).
        probabilities: Write every class's probability as well (NumPy archive).
        runtime: The engine.
        device: Where to run.
        threads: CPU threads of each worker.
        workers: Images at a time, each on an engine of its own; as many as use all cores if not
            given (on a cluster: all its cores, or one on each GPU).
        shard: Do only part i of n, as i/n; the n parts may run at a time and make one run.
        executor: threads of this machine, or a Ray cluster; what it needs is on shared files.
        address: The cluster's (auto, HOST:PORT); RAY_ADDRESS or this machine if not given.
        every: Videos: take one frame in so many.
        smooth: Videos: weight of the past in a running mean of the logits, 0 (off) to below 1.
        masks: Videos: write every frame's mask as well.
    """
    import contextlib
    import functools

    from topseg.inference.bulk import Executor, Threads, UnreadableError, parse_shard, predict_files
    from topseg.inference.hub import load, load_workers
    from topseg.media.drawing import legend_text
    from topseg.media.video import is_video

    if address is not None and executor != "ray":
        raise InputError("address: only together with --executor ray")
    videos = [name for name in images if is_video(name)]
    for_images = {
        "color": color,
        "probability": probability,
        "probabilities": probabilities,
        "shard": shard != "1/1",
        "executor": executor != "threads",
    }
    for_videos = {"every": every != 1, "smooth": smooth != 0, "masks": masks}
    for option, given in (for_images if videos else for_videos).items():
        if given:
            raise InputError(f"{option}: only for {'images' if videos else 'videos'}; leave it out")
    if videos:
        if photo := next((name for name in images if name not in videos), None):
            raise InputError(f"{photo}: no video, as {videos[0]} is; predict them apart")
        cores = threads * workers if workers else max(threads, os.cpu_count() or 1)
        with show_progress("download", size=True) as progress:
            one = load(model, runtime=runtime, device=device, threads=cores, progress=progress)
        return _predict_videos(one, videos, out, every=every, smooth=smooth, masks=masks)
    part = parse_shard(shard)
    with contextlib.ExitStack() as stack:
        if executor == "ray":
            from topseg.inference.bulk.cluster import RayCluster

            where = str(Path(model).absolute()) if Path(model).exists() else model
            cluster = RayCluster(
                functools.partial(load, where, runtime=runtime, device=device, threads=threads),
                address=address,
                workers=workers,
                threads=threads,
                cuda=device in ("cuda", "tensorrt"),
            )
            chosen: Executor = stack.enter_context(cluster)
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
            chosen = Threads(predictors)
        try:
            with show_progress("predict") as progress:
                found = predict_files(
                    chosen,
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
    if found.images:
        print(legend_text(found.shares))
    return 0


@app.command
def tile(
    model: str,
    /,
    *images: str,
    out: Path,
    size: str | None = None,
    context: Literal["tile", "image"] = "tile",
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int, POSITIVE] = 1,
    workers: Annotated[int | None, POSITIVE] = None,
) -> None:
    """Write a mask for every image however large, tile by tile at the image's own scale.

    Memory grows with an image's width, not with its height. GeoTIFF in and out: the georeference is
    kept, pixels without data get the ignore index. A stopped run goes on when it is started again.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        images: Image files, folders, patterns or .txt lists of files.
        out: Folder for the masks (TIFF with palette); sub-folders are mirrored.
        size: Height x width of the tiles in multiples of 64; 512x512 if not given, or the only size
            that the graph takes.
        context: What each tile attends to: itself, or the whole image (twice the work, by the
            runtime torch alone, for the mask that the whole image would get at once).
        runtime: The engine.
        device: Where to run.
        threads: CPU threads of each worker.
        workers: Tiles at a time, each on an engine of its own; as many as use all cores if not
            given.
    """
    from topseg.core.geometry import parse_size
    from topseg.inference.hub import load_workers
    from topseg.inference.tiling import MULTIPLE, predict_tiles
    from topseg.media.drawing import legend_text

    given = None if size is None else parse_size(size, MULTIPLE)
    workers = workers or max(1, (os.cpu_count() or 1) // threads)
    if context == "image" and runtime == "auto":
        runtime = "torch"
    with show_progress("download", size=True) as progress:
        predictors = load_workers(
            model, workers, runtime=runtime, device=device, threads=threads, progress=progress
        )
    tiles = given or predictors[0].runtime.fixed_size or (512, 512)
    with show_progress("tiles") as progress:
        found = predict_tiles(predictors, images, out, tiles, context=context, progress=progress)
    print(legend_text(found))


def _predict_videos(predictor: Predictor, videos: list[str], out: Path, **settings: Any) -> int:
    from topseg.inference.bulk import UnreadableError
    from topseg.inference.video import predict_videos
    from topseg.media.drawing import legend_text

    def tell(report: object) -> None:
        print(report, file=sys.stderr, flush=True)

    try:
        shares, code = predict_videos(predictor, videos, out, report=tell, **settings)
    except UnreadableError as error:
        print(error, file=sys.stderr)
        return 3
    print(legend_text(shares))
    return code


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
    runtime: Runtime = "auto",
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
        runtime: The engine.
        device: Where to run.
        threads: CPU threads.
    """
    from rich.console import Console

    from topseg.core.files import write_json
    from topseg.data.dataset import open_dataset
    from topseg.evaluation.run import evaluate
    from topseg.inference.hub import load
    from topseg.inference.tta import Slide
    from topseg.recipe import read_data

    with show_progress("download", size=True) as progress:
        predictor = load(model, runtime=runtime, device=device, threads=threads, progress=progress)
    metadata = predictor.runtime.metadata
    dataset = open_dataset(
        read_data(data, overrides),
        split,
        channels=metadata.architecture.in_channels,
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
    *overrides: str,
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
        overrides: Changes to the recipe of --data, such as data.root=PATH.
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

        changes = [*([] if model is None else [model]), *overrides]
        print(bench_data(read_recipe(data, changes, report=print), seconds=seconds))
        return
    if model is None or overrides:
        raise InputError("bench: give one MODEL, or --data RECIPE")

    from topseg.core.geometry import parse_size
    from topseg.evaluation.benchmark import bench, draw_photo, markdown, save
    from topseg.inference.hub import open_model

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
