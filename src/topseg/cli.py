"""The command line: one function a command, which parses, delegates and prints.

Exit codes: 0 done, 2 for anything the user can mend (one clear line, no traceback), 130 after
Ctrl-C, 143 after SIGTERM, 1 for a fault of topseg's own.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from topseg import __version__
from topseg.errors import InputError

app = App(
    name="topseg",
    help="Real-time semantic segmentation: from labelled images to masks anywhere.\n\n"
    "MODEL is a bundle, a run, a checkpoint folder or a published name (topseg models). DATA is a "
    "dataset.yaml, a recipe or a folder. Every command takes --offline (download nothing) and "
    "--debug (show the traceback of an error).",
    version=__version__,
    default_parameter=Parameter(negative=()),
)

Device = Literal["auto", "cpu", "cuda"]
Flag = Annotated[bool, Parameter(show_default=False)]
_MANY = Parameter(consume_multiple=True, show_default=False)
_EXTRAS = {"torch": "train", "tensorboard": "train"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of ``topseg`` and ``python -m topseg``.

    Args:
        arguments: The words after ``topseg``; None takes them from the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Before any engine loads: OpenMP's threads spin while they wait, which on a busy machine
    # (loader processes are enough) makes training several times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in words
    if "--offline" in words:
        os.environ["TOPSEG_OFFLINE"] = "1"
    words = [word for word in words if word not in ("--debug", "--offline")]
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, InputError | CycloptsError):
        return _fail(str(error), 2)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _fail(f"this needs {error.name}: pip install 'topseg[{_EXTRAS[error.name]}]'", 2)
    what = str(error).strip().partition("\n")[0]
    return _fail(f"internal error: {type(error).__name__}: {what} (--debug shows where)", 1)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


@app.command
def demo(*, out: Path = Path("demo"), device: Device = "auto") -> int:
    """Make a data set of scenes, train on it, evaluate, predict and write a report.

    Args:
        out: Folder for everything the demo makes.
        device: Where to train.
    """
    from topseg.demo import run_demo

    return run_demo(out, device=device)


@app.command
def train(
    recipe: Path,
    /,
    *overrides: str,
    out: Path,
    resume: Flag = False,
    device: Device = "auto",
    tensorboard: Flag = False,
) -> int:
    """Train a model by a recipe.

    Args:
        recipe: The recipe (YAML).
        overrides: Changes to it, such as train.steps=500.
        out: The run folder to make.
        resume: Go on with the run in --out from its newest checkpoint.
        device: Where to train.
        tensorboard: Write TensorBoard files into the run as well.
    """
    from topseg.recipe import read_recipe
    from topseg.train.trainer import train

    settings = read_recipe(recipe, overrides)
    return train(settings, out, device=device, resume=resume, tensorboard=tensorboard)


@app.command
def recipe(recipe: Path, /, *overrides: str) -> None:
    """Print a resolved recipe with the meaning of every field.

    Args:
        recipe: The recipe (YAML).
        overrides: Changes to it, such as train.steps=500.
    """
    from topseg.config import explain
    from topseg.recipe import read_recipe

    print(explain(read_recipe(recipe, overrides)))


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
    threads: int | None = None,
) -> None:
    """Write a mask for every image, at the image's own size.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        images: Image files, folders, patterns or .txt lists of files.
        out: Folder for the masks (PNG with palette); sub-folders are mirrored.
        overlay: Write the mask laid over the image as well.
        color: Write the mask in colours as well.
        probability: Write the winning class's probability as well (8-bit grey PNG).
        probabilities: Write every class's probability as well (NumPy archive).
        runtime: The engine: auto, onnx, openvino, torch.
        device: Where to run.
        threads: CPU threads.
    """
    from topseg.drawing import legend_text
    from topseg.hub import load
    from topseg.predict import predict_files

    with _progress("download", size=True) as progress:
        predictor = load(model, runtime=runtime, device=device, threads=threads, progress=progress)
    with _progress("predict") as progress:
        found = predict_files(
            predictor,
            images,
            out,
            overlay=overlay,
            color=color,
            probability=probability,
            probabilities=probabilities,
            progress=progress,
        )
    print(legend_text(found))


@app.command
def evaluate(
    model: str,
    data: Path,
    /,
    *overrides: str,
    split: Literal["val", "train"] = "val",
    flip: Flag = False,
    scales: Annotated[tuple[float, ...], _MANY] = (),
    slide: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    protocol: Literal["direct", "reference", "network"] = "direct",
    json: Path | None = None,
    runtime: str = "auto",
    device: Device = "auto",
    threads: int | None = None,
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

    with _progress("download", size=True) as progress:
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
    with _progress("evaluate") as progress:
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
def export(
    model: str,
    /,
    *,
    out: Path,
    formats: Annotated[tuple[str, ...], _MANY] = ("onnx",),
    precision: Literal["fp32", "fp16"] = "fp32",
    data: Path | None = None,
) -> None:
    """Write a bundle with graphs for other engines, each compared with torch on its own engine.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        out: The bundle to make.
        formats: Any of torch, onnx, openvino, onnx-mask (one file that ends in masks).
        precision: Type the weights are stored in; arithmetic is float32 either way.
        data: A data set to compare the mIoU on as well (dataset.yaml, recipe or folder).
    """
    from topseg.data.dataset import open_dataset
    from topseg.exporting import export, proof_images
    from topseg.hub import open_model
    from topseg.recipe import read_data

    bundle = open_model(model)
    dataset = open_dataset(read_data(data), "val") if data is not None else None
    images = proof_images(bundle.metadata, dataset)
    export(bundle, out, formats, images=images, precision=precision, dataset=dataset)


@app.command
def bench(
    model: str,
    /,
    *,
    image: Path | None = None,
    runtimes: Annotated[tuple[str, ...], _MANY] = (),
    size: Annotated[tuple[str, ...], _MANY] = ("512x512",),
    threads: Annotated[tuple[int, ...], _MANY] = (1,),
    seconds: float = 5.0,
    out: Path | None = None,
) -> None:
    """Measure the time from an image file to its mask, stage by stage, on each engine.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        image: The image file; a drawn scene of 1280x960 pixels if not given.
        runtimes: Engines; torch and every graph of the bundle if not given.
        size: Height x width of the network's input, such as 512x512 512x704.
        threads: CPU threads, such as 1 2.
        seconds: How long to repeat each measurement.
        out: Folder for bench.json, bench.md and bench.svg.
    """
    import tempfile

    from topseg.benchmark import bench, draw_photo, markdown, parse_size, save
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
def check(data: Path, /, *overrides: str) -> int:
    """Say what is wrong with a data set, file by file.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.checking import check
    from topseg.recipe import read_data

    report = check(read_data(data, overrides))
    print(report.text())
    return 2 if report.errors else 0


@app.command
def models() -> None:
    """List the networks, and the published weights that can be named as MODEL."""
    from topseg.models.zoo import NETWORKS
    from topseg.published import PUBLISHED

    print(f"{'network':18} {'parameters':>11} {'GMAC at 512x512, 150 classes':>30}")
    for network in NETWORKS.values():
        print(f"{network.name:18} {network.parameters / 1e6:9.2f} M {network.macs / 1e9:28.2f} G")
    print(f"\n{'published weights':26} {'classes':10} {'mIoU':>6} {'flip':>6}  licence, address")
    for one in PUBLISHED.values():
        scores = [f"{score:6.2f}" if score else "     -" for score in (one.miou, one.miou_flip)]
        kind = one.classes or "backbone"
        print(f"{one.name:26} {kind:10} {' '.join(scores)}  {one.license}, {one.url}")


convert = App(name="convert", help="Bring weights in from other projects, and back.")
app.command(convert)


@convert.command
def weights(src: Path, dst: Path, /) -> None:
    """Convert a weight file: a bundle of it, or a file for another project.

    Args:
        src: .pdparams, .zip (ImageNet backbones), .pth, .safetensors, or a bundle.
        dst: A name without a suffix for a bundle, or .pdparams, .pth, .safetensors.
    """
    from topseg.hub import open_model
    from topseg.interop import convert_weights
    from topseg.runtimes import open_runtime

    written = convert_weights(src, dst)
    if written.is_dir():
        open_runtime(open_model(written), "torch", device="cpu")
    print(f"{written}: written")


@contextlib.contextmanager
def _progress(label: str, *, size: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, from the first call on; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import DownloadColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    count = DownloadColumn() if size else MofNCompleteColumn()
    columns = (*Progress.get_default_columns()[:2], count, TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(
            task, completed=done, total=total or None, visible=True
        )
