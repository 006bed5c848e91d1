"""Regions: where each class of a mask is, as run lengths, as plain JSON, as COCO and as GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from topseg.core.labels import LabelSet, Mask
from topseg.media.drawing import count_pixels, shares
from topseg.media.outlines import Polygon, Ring, bounds, trace_polygons

Shapes = Literal["none", "rle", "polygons", "all"]

Affine = tuple[float, float, float, float, float, float]
"""a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f, in the order of rasterio's."""


def describe(mask: Mask, labels: LabelSet, shapes: Shapes = "rle") -> bytes:
    """Describe a mask.

    Args:
        mask: (H, W) class indices.
        labels: The classes.
        shapes: Whether to say where a class is, by COCO's uncompressed run lengths
            (``{"size": [H, W], "counts": [...]}``, down the columns, beginning with the pixels that
            are not of the class) or by polygons (each a list of rings of [x, y] along the edges of
            the pixels, the outline first, then its holes).

    Returns:
        JSON: ``size``, and ``classes`` with ``index``, ``name``, ``color``, ``area`` in pixels and
        ``share`` 0..1, the largest first.
    """
    pixels = count_pixels(mask, labels)
    runs = run_lengths(mask) if shapes in ("rle", "all") else {}
    classes: list[dict[str, Any]] = []
    for found in shares(pixels, labels):
        index = found.index
        one = {
            "index": index,
            "name": found.name,
            "color": found.color,
            "area": int(pixels[index]),
            "share": round(found.share, 6),
        }
        if index in runs:
            one["rle"] = {"size": mask.shape, "counts": runs[index]}
        if shapes in ("polygons", "all"):
            one["polygons"] = [_lists(polygon) for polygon in trace_polygons(mask, index)]
        classes.append(one)
    return json.dumps({"size": mask.shape, "classes": classes}, separators=(",", ":")).encode()


def run_lengths(mask: Mask) -> dict[int, list[int]]:
    """Return every class's run lengths as COCO has them.

    Args:
        mask: (H, W) class indices.

    Returns:
        Class -> lengths of runs down the columns, in turn without and with the class.
    """
    flat = mask.ravel(order="F")
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    classes, first = np.unique(values[order], return_index=True)
    found = {}
    for index, runs in zip(classes, np.split(order, first[1:]), strict=True):
        edges = np.empty(2 * len(runs) + 2, np.int64)  # start, end, start, end ... of the class
        edges[0], edges[-1] = 0, flat.size
        edges[1:-1:2], edges[2:-1:2] = starts[runs], ends[runs]
        lengths = np.diff(edges)
        found[int(index)] = (lengths if lengths[-1] else lengths[:-1]).tolist()
    return found


def compress_runs(counts: Sequence[int]) -> str:
    """Return run lengths as the short text that COCO's tools write.

    From the fourth on, a length is kept as its difference from the last but one. Numbers are cut
    into groups of 5 bits, the low ones first; bit 6 says that more follow, the highest bit of the
    last group is the sign, and 48 is added to make it a printable character
    (https://github.com/cocodataset/cocoapi, common/maskApi.c).
    """
    text = bytearray()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text.append(48 + group + 32 * more)
    return text.decode("ascii")


def to_coco(
    mask: Mask, labels: LabelSet, *, image_id: int = 1, file_name: str = ""
) -> dict[str, Any]:
    """Return a COCO data set of one image: one annotation for each class found.

    Args:
        mask: (H, W) class indices.
        labels: The classes; category ids are their indices + 1.
        image_id: Of the image; ids of annotations are ``image_id * K + index``.
        file_name: Of the image.

    Returns:
        ``images``, ``categories`` and ``annotations``, whose segmentations are compressed run
        lengths, exact with their holes.
    """
    height, width = mask.shape
    names, runs = labels.names, run_lengths(mask)
    annotations = []
    for index in sorted(index for index in runs if index < len(names)):
        inside = mask == index
        annotations.append(
            {
                "id": image_id * len(names) + index,
                "image_id": image_id,
                "category_id": index + 1,
                "segmentation": {"size": [height, width], "counts": compress_runs(runs[index])},
                "area": int(np.count_nonzero(inside)),
                "bbox": list(bounds(inside)),
                "iscrowd": 0,
            }
        )
    return {
        "images": [{"id": image_id, "file_name": file_name, "height": height, "width": width}],
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(names)],
        "annotations": annotations,
    }


def to_geojson(mask: Mask, labels: LabelSet, transform: Affine | None = None) -> dict[str, Any]:
    """Return a GeoJSON FeatureCollection (RFC 7946): one Polygon for each connected part.

    Args:
        mask: (H, W) class indices.
        labels: The classes; pixels without one are left out.
        transform: From pixels (x to the right, y down, 0 at the upper left corner) to the map;
            None: the coordinates are pixels.

    Returns:
        Features with the properties ``class``, ``name``, ``color`` (#rrggbb) and ``area`` in
        pixels; shells run counter-clockwise in the coordinates given, holes clockwise.
    """
    features = []
    pixels = count_pixels(mask, labels)
    for index in np.flatnonzero(pixels).tolist():
        color = "#{:02x}{:02x}{:02x}".format(*labels.palette[index])
        for polygon in trace_polygons(mask, index):
            properties = {
                "class": index,
                "name": labels.names[index],
                "color": color,
                "area": sum(_signed_area(ring) for ring in polygon),
            }
            rings = [_closed(ring, transform) for ring in polygon]
            geometry = {"type": "Polygon", "coordinates": rings}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def _lists(polygon: Polygon) -> list[list[list[int]]]:
    return [ring.tolist() for ring in polygon]


def _closed(ring: Ring, transform: Affine | None) -> list[list[float]]:
    """Return a ring with its first point at its end, in map coordinates."""
    closed = np.append(ring, ring[:1], axis=0)
    if transform is None:
        found: list[list[float]] = closed.tolist()
        return found
    a, b, c, d, e, f = transform
    x, y = closed.T.astype(np.float64)
    points = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
    found = (points if a * e > b * d else points[::-1]).tolist()  # a mirrored map turns rings over
    return found


def _signed_area(ring: Ring) -> int:
    x, y = ring.T.astype(np.int64)
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2
