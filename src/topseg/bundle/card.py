"""Card: the page (README.md) in a bundle that tells a person what the model is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from topseg.bundle.metadata import Graph, Metadata, Proof, Quantization
from topseg.bundle.usage import usage_lines
from topseg.core.files import write_text
from topseg.core.geometry import STRIDE


def write_card(folder: Path, metadata: Metadata) -> None:
    """Write ``README.md`` into a bundle's folder."""
    write_text(folder / "README.md", "\n".join(_lines(folder.name, metadata)) + "\n")


def _lines(name: str, metadata: Metadata) -> Iterator[str]:
    model, rule = metadata.architecture, metadata.resize
    yield f"# {name}"
    yield ""
    yield f"A {model.name} for semantic segmentation into {model.num_classes} classes."
    yield ""
    if metadata.notice:
        yield from (f"**{metadata.notice[0].upper()}{metadata.notice[1:]}.**", "")
    yield from usage_lines(name, metadata)
    yield "| | |"
    yield "|---|---|"
    yield f"| Origin | {metadata.origin} |"
    yield f"| Licence | {metadata.license or 'not stated'} |"
    yield f"| Input | {metadata.input_dtype} (batch, height, width, {model.in_channels}) |"
    sides = f"height / {STRIDE}, width / {STRIDE}"
    yield f"| Output | float32 logits (batch, {model.num_classes}, {sides}) |"
    yield (
        f"| Resize | short side {rule.short_side or 'as it is'}, long side at most "
        f"{rule.max_long_side}, rounded {rule.round} to multiples of {rule.multiple} |"
    )
    for option, value in model.options.items():
        yield f"| {option.capitalize()} | {value} |"
    if metadata.graphs:
        yield from ("", "## Graphs", "")
        yield "| graph | file | stored in | verified on | largest difference | same class |"
        yield "|---|---|---|---|---|---|"
        yield from (_graph_row(name, graph) for name, graph in metadata.graphs.items())
    if any(graph.quantization for graph in metadata.graphs.values()):
        yield from ("", "## INT8", "")
        for name, graph in metadata.graphs.items():
            if graph.quantization:
                yield from _int8_lines(name, graph.quantization, graph.proof)
    for data, scores in metadata.metrics.items():
        yield from ("", f"## Scores on {data}", "")
        yield from _scores(scores)
    yield from ("", "## Classes", "")
    yield ", ".join(metadata.classes)


def _scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each number, and a table of the classes where there are some."""
    for key, value in scores.items():
        if not isinstance(value, list | dict):
            yield f"* {key}: {value:.4g}" if isinstance(value, float) else f"* {key}: {value}"
    classes = scores.get("classes")  # of a bundle of anybody's: anything
    rows = [one for one in classes if isinstance(one, dict)] if isinstance(classes, list) else []
    if rows:
        yield from ("", "| class | IoU % | precision % | recall % |", "|---|---|---|---|")
        for one in rows:
            cells = (one.get(key) for key in ("iou", "precision", "recall"))
            shown = (f"{100 * cell:.1f}" if isinstance(cell, float) else "-" for cell in cells)
            yield f"| {one.get('name')} | {' | '.join(shown)} |"


def _int8_lines(name: str, made: Quantization, proof: Proof | None) -> Iterator[str]:
    height, width = made.network_size
    loss = None if proof is None else proof.miou_difference
    yield f"* {name}: ranges from {made.calibration_images} images;"
    yield f"  {made.bytes / 1e6:.1f} MB instead of {made.float_bytes / 1e6:.1f};"
    yield f"  network {made.network_ms:.1f} ms instead of {made.float_network_ms:.1f}"
    yield f"  at {height}x{width} on one thread;"
    yield f"  mIoU {'not measured' if loss is None else f'{100 * loss:+.2f} points'};"
    yield f"  in float: {', '.join(made.float_layers) or 'nothing'}"


def _graph_row(name: str, graph: Graph) -> str:
    row = f"| {name} | {graph.file} | {graph.precision} "
    if graph.proof is None:
        return row + "| not verified | | |"
    proof = graph.proof
    difference = "" if graph.tail else f"{proof.max_abs_difference:.1e}"
    return row + f"| {proof.runtime} | {difference} | {proof.mask_agreement:.4%} |"
