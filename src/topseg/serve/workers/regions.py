"""Regions: a mask as JSON, class by class: area, run lengths, outlines."""

from __future__ import annotations

import json
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.core.labels import LabelSet, Mask
from topseg.media.drawing import shares

Shapes = Literal["none", "rle", "polygons", "all"]


def describe(mask: Mask, labels: LabelSet, shapes: Shapes = "rle") -> bytes:
    """Describe a mask.

    Args:
        mask: (H, W) class indices.
        labels: The classes.
        shapes: Whether to say where a class is, by COCO's uncompressed run lengths
            (``{"size": [H, W], "counts": [...]}``, down the columns, beginning with the pixels that
            are not of the class) or by polygons (each a list of rings of [x, y], the outline first,
            then its holes).

    Returns:
        JSON: ``size``, and ``classes`` with ``index``, ``name``, ``color``, ``area`` in pixels and
        ``share`` 0..1, the largest first.
    """
    pixels = np.bincount(mask.ravel(), minlength=labels.num_classes)[: labels.num_classes]
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
            one["polygons"] = polygons(mask, index)
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


def polygons(mask: Mask, index: int) -> list[list[list[list[int]]]]:
    """Trace one class.

    Args:
        mask: (H, W) class indices.
        index: The class.

    Returns:
        Polygons: rings of [x, y], through the centres of the border's pixels.
    """
    inside = (mask == index).view(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    cut = np.ascontiguousarray(inside[y : y + height, x : x + width])
    rings, hierarchy = cv2.findContours(cut, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    found: dict[int, list[NDArray[np.int32]]] = {}
    parents = hierarchy[0, :, 3] if hierarchy is not None else []
    for number, parent in enumerate(parents):
        found.setdefault(number if parent < 0 else int(parent), []).append(rings[number][:, 0])
    # An outline may come after its holes.
    return [
        [ring.tolist() for ring in sorted(group, key=lambda ring: -cv2.contourArea(ring))]
        for group in found.values()
    ]
