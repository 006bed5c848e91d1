"""Annotations: the labels of other tools, one file and one record for each format."""

from __future__ import annotations

from pathlib import Path

from topseg.core.errors import InputError, did_you_mean
from topseg.data.annotations import (
    binary,
    cityscapes,
    classfiles,
    coco,
    colors,
    cvat,
    labelme,
    labelstudio,
    matlab,
    panoptic,
    supervisely,
    voc,
    yolo,
)
from topseg.data.annotations.files import glimpse
from topseg.data.annotations.source import OVERLAPS, SourceFormat

FORMATS: dict[str, SourceFormat] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        coco,
        panoptic,
        labelme,
        cvat,
        labelstudio,
        supervisely,
        yolo,
        cityscapes,
        voc,
        colors,
        binary,
        classfiles,
        matlab,
    )
}
"""Every format by its name."""


def recognize_format(source: Path) -> tuple[SourceFormat, ...]:
    """Return the formats that a file or folder is certainly of."""
    seen = glimpse(source)
    return tuple(one for one in FORMATS.values() if one.recognize(seen))


def find_format(source: Path, name: str | None = None) -> SourceFormat:
    """Return the format of a source.

    Args:
        source: The file or folder.
        name: Its format, where the user names it.

    Raises:
        InputError: No such source or format, or none or several fit.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"--format: no '{name}'{did_you_mean(name, FORMATS)}")
        return FORMATS[name]
    if source.suffix.lower() in (".zip", ".tar", ".tgz", ".gz"):
        raise InputError(f"{source}: an archive; unpack it, and convert the folder")
    found = recognize_format(source)
    if not found:
        raise InputError(
            f"{source}: not recognized as labels of any tool; name the format by --format "
            f"({', '.join(FORMATS)})"
        )
    if len(found) > 1:
        words = " or ".join(f"--format {one.name}" for one in found)
        raise InputError(f"{source}: labels of several tools; choose {words}, or name one file")
    return found[0]


def format_table() -> str:
    """Return the formats as a table of Markdown."""
    lines = ["| `--format` | what | files |", "|---|---|---|"]
    lines += [f"| `{one.name}` | {one.title} | {one.files} |" for one in FORMATS.values()]
    return "\n".join(lines)


def rules_table() -> str:
    """Return what each format's labels become as a table of Markdown."""
    lines = ["| `--format` | polygons | rules |", "|---|---|---|"]
    for one in FORMATS.values():
        overlap = [f"{OVERLAPS[one.overlap]}"] if one.overlap else []
        lines.append(f"| `{one.name}` | {one.fill} | {'; '.join([*overlap, one.notes])} |")
    return "\n".join(lines)
