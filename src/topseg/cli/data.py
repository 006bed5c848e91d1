"""Commands about data sets: check, show, data convert, data shard, weights, bench-data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from topseg.cli.app import DATA, MANY, POSITIVE, Device, Flag, Runtime, app
from topseg.core.errors import InputError, UnreadableError
from topseg.core.storage import is_dir
from topseg.core.terminal import say, show_progress

_FEW = 1000
"""Images of a training split, below which the packaged model is the better start."""


@app.command(group=DATA)
def check(
    data: Path, /, *overrides: str, html: Path | None = None, json: Path | None = None
) -> int:
    """Report what is wrong with a data set, file by file.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        html: Write one HTML page to this file: every kind of problem with pictures, classes,
            objects and sizes.
        json: Write the same as plain values to this file.
    """
    from topseg.core.files import write_json
    from topseg.data.checking import check
    from topseg.data.remedies import with_settings
    from topseg.recipe import read_data_recipe

    if not overrides and (found := _labels_of_a_tool(data)):
        raise InputError(found)
    source = read_data_recipe(data, overrides)
    report = check(source.data, channels=source.model.in_channels, scale=source.input.scale)
    words = ("topseg", "check", str(data), *overrides)
    say(report.text(command=words))
    commands = [with_settings(words, report.settings)] if report.settings else []
    if not report.errors and is_dir(data):
        few = report.splits["train"].images < _FEW
        if few:
            commands.append(_to_train(data, overrides, "quick", "runs/try"))
            say(f"to try it in minutes: {commands[-1]}")
        recipe = "finetune" if few else "topformer_tiny"
        commands.append(_to_train(data, overrides, recipe, "runs/mine"))
        say(f"to train on it: {commands[-1]}")
        suits = [f"{shlex.quote(key)}  # {why}" for key, why in report.suggestions.items()]
        if suits:
            say("\n".join(["settings that suit it, to be added:", *(f"  {one}" for one in suits)]))
        commands += suits
    if json is not None:
        write_json(json, report.to_dict())
    if html is not None:
        from topseg.report.checking import write_check
        from topseg.report.findings import Pictures

        pictures = Pictures.of(
            source.data, report.labels, source.model.in_channels, source.input.scale
        )
        write_check(html, data.resolve().name, report, pictures, commands)
        say(f"{html}: written")
    return 2 if report.errors else 0


def _to_train(data: Path, overrides: Sequence[str], recipe: str, out: str) -> str:
    """Return the command that trains on a data set."""
    root = [] if any(one.startswith("root=") for one in overrides) else [f"root={data}"]
    settings = (f"data.{one}" for one in (*root, *overrides))
    return shlex.join(["topseg", "train", recipe, "--out", out, *settings])


def _labels_of_a_tool(data: Path) -> str | None:
    """Return what to do with labels that only a conversion makes a data set of."""
    from topseg.data.annotations import recognize_format
    from topseg.data.layouts import recognize_layout

    if data.is_dir():
        if (data / "dataset.yaml").is_file() or recognize_layout(data) is not None:
            return None
    elif data.suffix.lower() not in (".json", ".xml"):
        return None
    try:
        formats = recognize_format(data)
    except InputError:  # a folder that cannot be read, which the check will tell if it matters
        return None
    if not formats:
        return None
    titles = " and ".join(one.title for one in formats)
    out = f"{data.with_suffix('') if data.name else data.resolve()}-masks"
    words = ("topseg", "data", "convert", str(data), out)
    lines = [f"{data}: labels of {titles}; make a data set of masks of them:"]
    for one in formats:
        choice = () if len(formats) == 1 else ("--format", one.name)
        lines.append(f"  {shlex.join((*words, *choice))}")
    return "\n".join(lines)


data_app = App(name="data", group=DATA, help="Bring labels in from other tools; pack a data set.")
app.command(data_app)


@data_app.command
def convert(
    src: Path,
    out: Path,
    /,
    *,
    format: Annotated[str | None, Parameter(show_default=False)] = None,
    classes: Annotated[tuple[str, ...], MANY] = (),
    rename: Annotated[tuple[str, ...], MANY] = (),
    rest: str | None = None,
    images: Path | None = None,
    palette: Path | None = None,
    nearest: Flag = False,
    copy: Flag = False,
    workers: Annotated[int | None, POSITIVE] = None,
) -> int:
    """Make a data set of index masks of the labels of another tool.

    The rules for names are printed first. Run again it goes on where it was stopped, and redoes
    what has changed.

    Args:
        src: The file or folder of labels.
        out: Folder of the data set: masks, one list per split, dataset.yaml.
        format: The source's format, where it is not recognized (docs/convert.md lists them).
        classes: The classes in order, a file with one per line, or a published set; else the
            source's names.
        rename: Names that become others: OLD=NEW, or OLD=ignore for no class.
        rest: Class of pixels without a label, or ignore.
        images: Folder of the images, where they are not in SRC.
        palette: File of names and colours (name,red,green,blue), or a published set.
        nearest: Take the nearest colour for one without a name.
        copy: Copy the images into OUT instead of listing them where they are.
        workers: Threads; if not given, one for each processor.
    """
    from topseg.data.annotations.converting import convert_data
    from topseg.data.annotations.source import Options

    with show_progress("read") as reading, show_progress("convert") as converting:
        summary = convert_data(
            src,
            out,
            format=format,
            classes=classes,
            rename=rename,
            rest=rest,
            options=Options(images=images, palette=palette, nearest=nearest, progress=reading),
            copy=copy,
            workers=workers,
            report=say,
            progress=converting,
        )
    say(summary)
    say(f"{out}: written; next: {shlex.join(('topseg', 'check', str(out)))}")
    if summary.problems:
        raise UnreadableError(
            f"images or files left out: {len(summary.problems)}; all others are converted"
        )
    return 0


@data_app.command
def shard(
    data: Path,
    out: Path,
    /,
    *overrides: str,
    megabytes: Annotated[int, POSITIVE] = 512,
) -> None:
    """Write a data set as shards: TAR files that are read without unpacking (WebDataset).

    Args:
        data: A dataset.yaml, a recipe, a folder, or a ZIP or TAR of one.
        out: A new folder for the shards and their dataset.yaml.
        overrides: Changes to the data section, such as layout=camvid.
        megabytes: About how large a shard becomes.
    """
    from topseg.data.sharding import write_shards
    from topseg.recipe import read_data

    with show_progress("shard") as progress:
        write_shards(read_data(data, overrides), out, megabytes=megabytes, progress=progress)
    say(f"{out}: written; next: {shlex.join(('topseg', 'check', str(out)))}")


@app.command(group=DATA)
def show(
    data: Path,
    /,
    *overrides: str,
    out: Path,
    model: str | None = None,
    split: Literal["val", "train", "test"] = "val",
    count: Annotated[int, POSITIVE] = 12,
    runtime: Runtime = "auto",
    device: Device = "auto",
) -> None:
    """Draw a contact sheet of a data set: images beside their labels, and a model's masks.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
        out: The picture to write, .jpg or .png.
        model: A bundle, a run, a checkpoint folder or a published name, whose masks and faults are
            shown as well.
        split: Which split; test is the layout's split of that name.
        count: How many images, evenly spaced over the split.
        runtime: The engine.
        device: Where to run.
    """
    from topseg.core.files import write_bytes
    from topseg.data.dataset import open_dataset
    from topseg.inference.hub import load
    from topseg.media.drawing import picture_jpeg, picture_png
    from topseg.recipe import read_data_recipe
    from topseg.report.sheet import contact_sheet

    writers = {".jpg": picture_jpeg, ".jpeg": picture_jpeg, ".png": picture_png}
    if out.suffix.lower() not in writers:
        raise InputError(f"out: got '{out}', expected a name that ends in .jpg or .png")
    if split == "test":
        overrides, split = (*overrides, "val=test"), "val"
    source = read_data_recipe(data, overrides)
    predictor, channels, scale = None, source.model.in_channels, source.input.scale
    if model is not None:
        with show_progress("download", size=True) as progress:
            predictor = load(model, runtime=runtime, device=device, progress=progress)
        metadata = predictor.runtime.metadata
        channels, scale = metadata.architecture.in_channels, metadata.input.scale
    dataset = open_dataset(source.data, split, channels=channels, scale=scale)
    if predictor and predictor.labels.names != dataset.labels.names:
        raise InputError(f"{model}: its classes are not the data's; show it on data that has them")
    with show_progress("show") as progress:
        sheet = contact_sheet(dataset, predictor, count=count, progress=progress)
    write_bytes(out, writers[out.suffix.lower()](sheet))
    say(f"{out}: {min(count, len(dataset))} of {len(dataset)} images")


@app.command(group=DATA)
def weights(data: Path, /, *overrides: str) -> None:
    """Print class weights for the loss, counted on a data set by each published rule.

    Args:
        data: A dataset.yaml, a recipe or a folder.
        overrides: Changes to its data section, such as root=PATH or layout=camvid.
    """
    from topseg.data.frequency import describe_weights
    from topseg.recipe import read_data

    say(describe_weights(read_data(data, overrides)))


@app.command(group=DATA)
def bench_data(recipe: Path, /, *overrides: str, seconds: float = 5.0) -> None:
    """Measure images/s of each stage between a file and a training step.

    Args:
        recipe: The recipe (YAML), topseg's or PaddleSeg's, or a packaged one's name.
        overrides: Changes to it, such as data.root=PATH.
        seconds: How long to repeat each measurement.
    """
    from topseg.recipe import read_recipe
    from topseg.training.trial import bench_data

    say(bench_data(read_recipe(recipe, overrides, report=say), seconds=seconds))
