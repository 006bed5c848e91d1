"""Supervisely's projects, filled by OpenCV as its own kit does."""

import base64
import io
import zlib
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from labelled import Labels

from topseg.core.errors import InputError

SIZE = (40, 60)


def encoded(bits: Any, pack: Any = zlib.compress) -> str:
    """A picture of two colours, the second opaque, packed."""
    picture = PIL.Image.fromarray(bits.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=0)
    return base64.b64encode(pack(file.getvalue())).decode()


def write(labels: Labels, *objects: dict[str, Any], name: str = "a.jpg") -> None:
    classes = [{"title": "road", "shape": "polygon", "color": "#804080"}]
    classes.append({"title": "car", "shape": "bitmap", "color": "#0000FF"})
    labels.json("meta.json", {"classes": classes, "tags": []})
    labels.picture(f"ds/img/{name}", SIZE)
    size = {"height": SIZE[0], "width": SIZE[1]}
    labels.json(f"ds/ann/{name}.json", {"description": "", "size": size, "objects": list(objects)})


def region(kind: str, title: str, **more: Any) -> dict[str, Any]:
    return {"classTitle": title, "geometryType": kind, **more}


def test_polygons_with_holes_and_bitmaps(labels: Labels) -> None:
    rng = np.random.default_rng(0)
    outer = [[2, 3], [50, 5], [45, 35], [7, 30]]
    holes = [[[10, 10], [20, 10], [20, 20]], [[30, 12], [40, 12], [35, 25]]]
    bits = rng.random((12, 15)) > 0.5
    write(
        labels,
        region("polygon", "road", points={"exterior": outer, "interior": holes}),
        region("bitmap", "car", bitmap={"data": encoded(bits), "origin": [50, 30]}),
        region("bitmap", "car", bitmap={"data": encoded(bits, bytes), "origin": [-5, -6]}),
        region("rectangle", "car", points={"exterior": [[1, 1], [5, 5]], "interior": []}),
    )
    summary = labels.convert()
    own = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(own, [np.array(outer, np.int32)], 1)
    cv2.fillPoly(own, [np.array(hole, np.int32) for hole in holes], 0)
    expected = own * 2
    expected[30:, 50:][bits[:10, :10]] = 1
    expected[:6, :10][bits[6:, 5:]] = 1
    assert labels.classes == ["background", "car", "road"]
    np.testing.assert_array_equal(labels.read("ds/img/a.png"), expected)
    assert summary.left_out == {"a rectangle, which has no outline": 1}
    assert summary.labels.palette == ((0, 0, 0), (0, 0, 255), (128, 64, 128))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("%", "cannot be read"),
        (base64.b64encode(b"nothing").decode(), "cannot be read"),
        (base64.b64encode(zlib.compress(b"no picture")).decode(), "cannot be read"),
        (base64.b64encode(zlib.compress(bytes(65 << 20))).decode(), "too many bytes"),
    ],
)
def test_broken_bitmaps(labels: Labels, data: str, text: str) -> None:
    triangle = region("polygon", "road", points={"exterior": [[0, 0], [9, 0], [9, 9]]})
    write(labels, triangle, region("bitmap", "car", bitmap={"data": data, "origin": [0, 0]}))
    (reason,) = labels.convert().left_out
    assert text in reason


def test_a_picture_of_impossible_size(labels: Labels) -> None:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60000).to_bytes(4, "big") * 2
    body = head[12:] + b"\x01\x00\x00\x00\x00"
    png = head + body[12:] + zlib.crc32(body).to_bytes(4, "big")
    data = base64.b64encode(zlib.compress(png + bytes(12))).decode()
    triangle = region("polygon", "road", points={"exterior": [[0, 0], [9, 0], [9, 9]]})
    write(labels, triangle, region("bitmap", "car", bitmap={"data": data, "origin": [0, 0]}))
    assert sum(labels.convert().left_out.values()) == 1


def test_no_project(labels: Labels) -> None:
    labels.picture("a.jpg")
    with pytest.raises(InputError, match=r"no project of Supervisely \(meta\.json"):
        labels.convert(format="supervisely")
