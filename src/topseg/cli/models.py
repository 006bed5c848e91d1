"""Commands about models and engines: models, doctor, export, convert."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from topseg.cli.app import ELSEWHERE, MANY, START, Flag, app
from topseg.core.terminal import say
from topseg.exporting.formats import formats_help, precision_help


@app.command(group=START)
def models() -> None:
    """List the networks, the packaged recipes, and the names that can stand as MODEL."""
    from topseg.bundle.bundle import read_bundle
    from topseg.bundle.published import PUBLISHED, SHIPPED
    from topseg.core import plugins
    from topseg.models import VARIANTS, find_variant
    from topseg.recipe.packaged import RECIPES

    say(f"{'network':18} {'parameters':>11} {'GMAC at 512x512, 150 classes':>30}")
    for network in map(find_variant, plugins.known("models", VARIANTS)):
        say(f"{network.name:18} {network.parameters / 1e6:9.2f} M {network.macs / 1e9:28.2f} G")
    say(f"\n{'in this package':26} {'classes':>7} {'mIoU':>6}  licence")
    for name, folder in SHIPPED.items():
        shipped = read_bundle(folder).metadata
        miou = next(iter(shipped.metrics.values()))["miou"]
        say(f"{name:26} {shipped.architecture.num_classes:7} {100 * miou:6.2f}  {shipped.license}")
    say(f"\n{'published weights':26} {'classes':10} {'mIoU':>6} {'flip':>6}  licence, address")
    for one in PUBLISHED.values():
        scores = [f"{score:6.2f}" if score else "     -" for score in (one.miou, one.miou_flip)]
        kind = one.classes or "backbone"
        say(f"{one.name:26} {kind:10} {' '.join(scores)}  {one.license}, {one.url}")
    say("\nrecipes for 'topseg train'")
    for name, file in RECIPES.items():
        title = re.split(r"[:,.(]", file.read_text(encoding="utf-8").removeprefix("# "))[0]
        say(f"{name:31} {title.strip()}")


@app.command(group=START)
def doctor(*, json: Flag = False) -> int:
    """Report what works on this machine: versions, code paths, engines, resources.

    Each engine runs the packaged model for a moment. Exit code 1: something that is installed does
    not work.

    Args:
        json: Print JSON instead of text.
    """
    import dataclasses
    import json as encoder

    from topseg.doctor import Finding, examine

    found: list[Finding] = []
    for finding in examine():
        if not json and (not found or found[-1].topic != finding.topic):
            say(finding.topic)
        if not json:
            say(finding)
        found.append(finding)
    if json:
        say(encoder.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    return int(any(finding.failed for finding in found))


@app.command(group=ELSEWHERE)
def export(
    model: str,
    /,
    *,
    out: Path,
    formats: Annotated[tuple[str, ...], MANY, Parameter(help=formats_help())] = ("onnx",),
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], Parameter(help=precision_help())
    ] = "fp32",
    size: str | None = None,
    tail: Literal["outside", "graph"] = "outside",
    data: Path | None = None,
    calibration: Path | None = None,
    max_drop: float = 1.0,
) -> None:
    """Write a bundle with graphs for other engines, each compared with torch on its own engine.

    Args:
        model: A bundle, a run, a checkpoint folder or a published name.
        out: The bundle to make.
        formats: Names of formats.
        precision: Type the weights are stored in.
        size: Height x width of the graphs that take one size only, such as 512x704; if not given,
            of the first image of the data, or a square, by the model's resize rule.
        tail: "graph" writes one more ONNX file that ends in masks, for consumers that want that.
        data: A data set to compare the mIoU on as well (dataset.yaml, recipe or folder).
        calibration: A folder of images to find int8's ranges on; if not given, the training split
            of the data.
        max_drop: Most points of mIoU that int8 may lose; above, nothing is written.
    """
    from topseg.api import export
    from topseg.core.geometry import parse_size

    export(
        model,
        out,
        (*formats, "onnx-mask") if tail == "graph" else formats,
        precision=precision,
        size=parse_size(size) if size else None,
        data=data,
        calibration=calibration,
        max_drop=max_drop,
        report=say,
    )


convert = App(
    name="convert", group=ELSEWHERE, help="Bring weights in from other projects, and back."
)
app.command(convert)


@convert.command
def weights(src: Path, dst: Path, /) -> None:
    """Convert a weight file: a bundle of it, or a file for another project.

    Args:
        src: .pdparams, .zip (ImageNet backbones), .pth, .safetensors, or MODEL.
        dst: A name without a suffix for a bundle, or .pdparams, .pth, .safetensors.
    """
    from topseg.inference.hub import find_weights, open_model
    from topseg.interop import convert_weights
    from topseg.runtimes.registry import open_runtime

    written = convert_weights(find_weights(src) if dst.suffix else src, dst)
    if written.is_dir():
        open_runtime(open_model(written), "torch", device="cpu")
    say(f"{written}: written")
