"""Checking: the state of a data set as one HTML file: what is wrong with pictures, and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from topseg.core.files import write_text
from topseg.data.layouts.layout import Split
from topseg.data.problem import Problem
from topseg.data.report import Report
from topseg.data.statistics import SplitCounts
from topseg.media.parts import SIZES
from topseg.report.findings import Pictures
from topseg.report.html import bar, chip, css, definitions, document

_MOST = 6
"""Problems of a kind that are shown as pictures."""
_LISTED = 200
"""Problems of a kind that are named besides."""
_SIZES = 12
"""Sizes of images that are listed."""


def write_check(
    path: Path, title: str, report: Report, pictures: Pictures, commands: Sequence[str] = ()
) -> None:
    """Write the page; the files of the problems on it are read once more.

    Args:
        path: The HTML file.
        title: The headline.
        report: What was found.
        pictures: Reads the data set's files.
        commands: What to type next, one line each.

    Raises:
        InputError: The file cannot be written.
    """
    write_text(path, "\n".join(_page(title, report, pictures, commands)) + "\n")


def _page(title: str, report: Report, pictures: Pictures, commands: Sequence[str]) -> Iterator[str]:
    counts = [_counted(len(report.errors), "error"), _counted(len(report.warnings), "warning")]
    header = [
        f"<small>topseg check</small><h1>{escape(title)}</h1>",
        f"<p>{' and '.join(counts) if report.problems else 'No problems found'}.</p>",
        definitions("figures", _figures(report)),
    ]

    def main() -> Iterator[str]:
        if commands:
            yield "<section><h2>What to type next</h2>"
            yield f'<pre class="commands"><code>{escape(chr(10).join(commands))}</code></pre>'
            yield "</section>"
        for name, problems in (("Errors", report.errors), ("Warnings", report.warnings)):
            yield from _problems(name, problems, pictures)
        for name, split in report.splits.items():
            yield from _split(name, split, report)

    yield from document(title, header, main())


def _figures(report: Report) -> dict[str, str]:
    figures = {"problems": f"{len(report.problems):,}"}
    figures |= {f"images of {name}": f"{split.images:,}" for name, split in report.splits.items()}
    return figures | {"classes": f"{report.labels.num_classes:,}"}


def _problems(name: str, problems: Sequence[Problem], pictures: Pictures) -> Iterator[str]:
    """Show problems by kind: the first as pictures, the others by their texts."""
    if not problems:
        return
    yield f"<section><h2>{name}</h2>"
    for kind in dict.fromkeys(problem.kind for problem in problems):
        these = [problem for problem in problems if problem.kind == kind]
        yield f"<h3>{escape(kind)} <small>{len(these):,}</small></h3>"
        if any(one.evidence and one.evidence.shift for one in these):
            yield "<p>The mask's contours are <b class=worse>orange</b> where they are and "
            yield "<b class=better>blue</b> where they would fit.</p>"
        yield '<div class="findings">'
        yield from (pictures.figure(problem) for problem in these[:_MOST])
        yield "</div>"
        if rest := these[_MOST:]:
            texts = "\n".join(problem.text for problem in rest[:_LISTED])
            more = f"\n... and {len(rest) - _LISTED:,} more" if len(rest) > _LISTED else ""
            yield f"<details><summary>{len(rest):,} more</summary>"
            yield f"<pre><code>{escape(texts)}{more}</code></pre></details>"
    yield "</section>"


def _split(name: Split, split: SplitCounts, report: Report) -> Iterator[str]:
    """Show what a split holds: its classes, its objects by size, and the sizes of its images."""
    if not split.sizes and not split.pixels.any():
        return
    labels, total = report.labels, max(1, int(split.pixels.sum()) + split.ignored)
    yield f'<section><h2>{name}</h2><div class="scroll"><table><thead><tr>'
    yield '<th scope="col">class</th><th scope="col">% of pixels</th><th scope="col">images</th>'
    yield "".join(f'<th scope="col" class="wide">{size} objects</th>' for size in SIZES)
    yield "</tr></thead><tbody>"
    most = max(1e-9, float(split.pixels.max()) / total)
    rows = zip(labels.names, labels.palette, split.pixels, split.images_with, strict=True)
    for index, (label, color, pixels, images) in enumerate(rows):
        objects = (f'<td class="wide">{n:,}</td>' for n in split.objects[index].tolist())
        share = int(pixels) / total
        yield f'<tr><th scope="row">{chip(label, color)}</th>{bar(share, css(color), most)}'
        yield f"<td>{images:,}</td>{''.join(objects)}</tr>"
    yield f'<tr><th scope="row">no class</th>{bar(split.ignored / total, "var(--quiet)", most)}'
    yield f"<td></td>{len(SIZES) * '<td class=wide></td>'}</tr></tbody></table></div>"
    yield "<p>Objects are connected parts; small ones have less than 32 x 32 pixels, large ones "
    yield "96 x 96 or more."
    if split.fit is not None:
        yield f" The masks' contours stand out on the images' edges by {split.fit:.1f} standard "
        yield "deviations above other places, usually; about 0 is chance."
    yield f"</p>{_sizes(split)}</section>"


def _sizes(split: SplitCounts) -> str:
    """Return the sizes of a split's images, the most frequent first."""
    total = max(1, split.sizes.total())
    usual = split.sizes.most_common(_SIZES)
    rows = [(f"{width} x {height}", images) for (height, width), images in usual]
    if others := len(split.sizes) - len(usual):
        rows.append((f"{others:,} other sizes", total - sum(images for _, images in usual)))
    lines = (
        f'<tr><th scope="row">{size}</th>{bar(images / total, "var(--accent)")}'
        f"<td>{images:,}</td></tr>"
        for size, images in rows
    )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">width x height</th>'
        '<th scope="col">% of images</th><th scope="col">images</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
