"""Commands that make masks: predict, video, tile."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from topseg.cli.app import MASKS, POSITIVE, Device, Flag, Runtime, app
from topseg.core.errors import InputError
from topseg.core.terminal import duration, say, show_progress, warn


@app.command(group=MASKS)
def predict(
    model: str,
    /,
    *images: str,
    stdin: Annotated[bool, Parameter(name=("--stdin", "-"), show_default=False)] = False,
    out: Path,
    overlay: Flag = False,
    legend: Flag = False,
    color: Flag = False,
    probability: Flag = False,
    probabilities: Flag = False,
    json: Flag = False,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int, POSITIVE] = 1,
    workers: Annotated[int | None, POSITIVE] = None,
    shard: str = "1/1",
    executor: Literal["threads", "ray"] = "threads",
    address: str | None = None,
) -> int:
    """Write a mask for every image, at the image's own size.

    What an earlier run has done is skipped where image, model and outputs are unchanged
    (manifest.jsonl in the output folder). Exit code 3: some images could not be read, all the
    others are done.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        images: Image files, folders, patterns or .txt lists of files.
        stdin: Take a list of files from standard input as well.
        out: Folder for the masks (PNG with palette); sub-folders are mirrored.
        overlay: Write the mask laid over the image as well.
        legend: Write it with the classes' names and colours below as well (NAME_legend.jpg).
        color: Write the mask in colours as well.
        probability: Write the winning class's probability as well (8-bit grey PNG).
        probabilities: Write every class's probability as well (NumPy archive).
        json: Write classes, areas, run lengths and outlines as well (NAME.json).
        runtime: The engine.
        device: Where to run.
        threads: CPU threads of each worker.
        workers: Images at a time, each on an engine of its own; as many as use all cores if not
            given (on a cluster: all its cores, or one on each GPU).
        shard: Do only part i of n, as i/n; the n parts may run at a time and make one run.
        executor: threads of this machine, or a Ray cluster; what it needs is on shared files.
        address: The cluster's (auto, HOST:PORT); RAY_ADDRESS or this machine if not given.
    """
    import contextlib
    import functools
    import time

    from topseg.inference.bulk import Executor, Threads, parse_shard, predict_files
    from topseg.inference.hub import load, load_workers
    from topseg.media.drawing import legend_text
    from topseg.media.video import is_video

    # What can be known before a model is opened.
    images = (*images, *["-"] * stdin)
    if address is not None and executor != "ray":
        raise InputError("address: only together with --executor ray")
    if video := next((name for name in images if is_video(name)), None):
        words = shlex.join(["topseg", "video", model, video, "--out", str(out)])
        raise InputError(f"{video}: got a video, expected images; take: {words}")
    part = parse_shard(shard)
    with contextlib.ExitStack() as stack:
        # The model, on a cluster or on threads of this machine.
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
        # The masks.
        start = time.perf_counter()
        with show_progress("predict") as progress:
            found = predict_files(
                chosen,
                images,
                out,
                overlay=overlay,
                legend=legend,
                color=color,
                probability=probability,
                probabilities=probabilities,
                json=json,
                shard=part,
                progress=progress,
            )
        seconds = time.perf_counter() - start
    # What was found, and how long it took.
    if found.images:
        say(legend_text(found.shares))
    if found.before or shard != "1/1":
        say(f"{found.images} images, {found.before} of them done before and unchanged")
    if fresh := found.images - found.before:
        each = duration(seconds / fresh)
        many = "s" if fresh > 1 else ""
        say(f"{out}: {fresh} image{many} written in {duration(seconds)}, {each} per image")
    return 0


@app.command(group=MASKS)
def video(
    model: str,
    /,
    *videos: str,
    out: Path,
    every: Annotated[int, POSITIVE] = 1,
    smooth: float = 0.0,
    masks: Flag = False,
    runtime: Runtime = "auto",
    device: Device = "auto",
    threads: Annotated[int | None, POSITIVE] = None,
) -> int:
    """Lay masks over videos: each becomes NAME_overlay.mp4 with its sound.

    Exit code 3: some videos could not be read, all the others are done.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        videos: Video files, addresses (rtsp://...), webcam:0.
        out: Folder for the videos.
        every: Take one frame in so many.
        smooth: Weight of the past in a running mean of the logits, 0 (off) to below 1.
        masks: Write every frame's mask as well.
        runtime: The engine.
        device: Where to run.
        threads: CPU threads; all cores if not given.
    """
    from topseg.inference.hub import load
    from topseg.inference.video import predict_videos
    from topseg.media.drawing import legend_text
    from topseg.media.video import is_still

    if not videos:
        raise InputError("video: give at least one video")
    if still := next((name for name in videos if is_still(name) or Path(name).is_dir()), None):
        kind = "a folder" if Path(still).is_dir() else "a still image"
        words = shlex.join(["topseg", "predict", model, still, "--out", str(out)])
        raise InputError(f"{still}: got {kind}, expected a video; take: {words}")
    with show_progress("download", size=True) as progress:
        predictor = load(
            model,
            runtime=runtime,
            device=device,
            threads=threads or os.cpu_count() or 1,
            progress=progress,
        )
    shares, code = predict_videos(
        predictor, videos, out, every=every, smooth=smooth, masks=masks, report=warn
    )
    say(legend_text(shares))
    return code


@app.command(group=MASKS)
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
    say(legend_text(found))
