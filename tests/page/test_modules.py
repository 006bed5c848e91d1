"""The page's modules in node: given the same numbers they give what Python gives."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scripts import NODE, node

from topseg.core.geometry import ResizeRule
from topseg.core.labels import LabelSet, default_palette
from topseg.inference.upsample import upsample_argmax
from topseg.media.drawing import mask_png

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "resize_vectors.json").read_text())

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


ENGINE = "const engine = await page.Engine.load();"


def tail(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[Any]:
    """The mask by the engine's tail."""
    code = f"""{ENGINE}
        const logits = new Float32Array(data[0]);
        const mask = engine.upsampleArgmax(logits, {list(logits.shape)}, {list(size)});
        put(new Uint8Array(mask.buffer));
    """
    dtype = np.uint8 if logits.shape[0] <= 255 else np.uint16
    return np.frombuffer(node("engine/index.js", code, logits), dtype).reshape(size)


def test_tail_gives_the_table() -> None:
    code = f"""{ENGINE}
        const rows = JSON.parse(new TextDecoder().decode(data[0]));
        const masks = rows.map(({{ logits, shape, size }}) => {{
          const values = Float32Array.from(logits, (value) => value ?? NaN);
          return Array.from(engine.upsampleArgmax(values, shape, size));
        }});
        put(Buffer.from(JSON.stringify(masks)));
    """
    rows = np.frombuffer(json.dumps(TABLE["masks"]).encode(), np.uint8)
    masks = json.loads(node("engine/index.js", code, rows))
    for row, mask in zip(TABLE["masks"], masks, strict=True):
        assert mask == row["mask"], row["note"]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((150, 16, 24), (128, 192)),
        ((19, 17, 9), (211, 97)),
        ((40, 12, 12), (7, 5)),
        ((300, 8, 6), (61, 43)),
        ((1, 2, 2), (9, 9)),
    ],
)
@pytest.mark.parametrize("kind", ["smooth", "noise", "equal"])
def test_tail_equals_pythons(shape: tuple[int, int, int], size: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(sum(shape))
    logits = rng.normal(0, 4, shape).astype(np.float32)
    if kind == "smooth":
        logits = np.stack([cv2.blur(plane, (5, 5)) for plane in logits])
    if kind == "equal":  # many ties
        logits = logits.round() // 4
    np.testing.assert_array_equal(tail(logits, size), upsample_argmax(logits, size))


def test_tail_equals_pythons_beyond_finite_numbers() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (8, 6, 7)).astype(np.float32)
    logits[1, 2, 3], logits[2, 0, 0], logits[3, 4, 4] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(tail(logits, (30, 40)), upsample_argmax(logits, (30, 40)))


def test_network_size_is_the_tables_and_pythons() -> None:
    rules = [row["rule"] for row in TABLE["network_sizes"]]
    sizes = [row["size"] for row in TABLE["network_sizes"]]
    expected = [row["network"] for row in TABLE["network_sizes"]]
    rng = np.random.default_rng(0)
    for rule in (
        ResizeRule(),
        ResizeRule(short_side=None, multiple=32, round="up"),
        ResizeRule(short_side=360, max_long_side=700),
    ):
        for height, width in rng.integers(1, 3000, (50, 2)).tolist():
            rules.append(vars(rule))
            sizes.append([height, width])
            expected.append(list(rule.network_size((height, width))))
    fields = ("short_side", "max_long_side", "multiple", "round")
    plain = [[{field: rule[field] for field in fields}, s] for rule, s in zip(rules, sizes)]  # noqa: B905
    code = f"""{ENGINE}
        const cases = JSON.parse(new TextDecoder().decode(data[0]));
        const sizes = cases.map(([rule, size]) => engine.networkSize(rule, size));
        put(Buffer.from(JSON.stringify(sizes)));
    """
    got = json.loads(
        node("engine/index.js", code, np.frombuffer(json.dumps(plain).encode(), np.uint8))
    )
    assert got == expected


@pytest.mark.parametrize(
    ("size", "target"),
    [((97, 131), (64, 128)), ((60, 45), (128, 96)), ((256, 128), (128, 64)), ((64, 96), (64, 96))],
)
def test_resize_is_opencvs(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 4), np.uint8)
    code = f"""{ENGINE}
        const image = {{ data: new Uint8Array(data[0]), height: {size[0]}, width: {size[1]} }};
        put(engine.resize(image, {list(target)}));
    """
    got = np.frombuffer(node("engine/index.js", code, image), np.uint8).reshape(*target, 3)
    expected = cv2.resize(image[..., :3], target[::-1], interpolation=cv2.INTER_LINEAR)
    apart = np.abs(got.astype(int) - expected)
    # Equal on x86; builds of OpenCV for other processors may round some values otherwise.
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.001


@pytest.mark.parametrize("classes", [9, 255, 300])
def test_a_mask_file_is_read_and_written_back(classes: int) -> None:
    labels = LabelSet(tuple(map(str, range(classes))), default_palette(classes))
    mask = np.random.default_rng(0).integers(0, classes, (13, 21)).astype(labels.dtype)
    mask[0, :3] = labels.ignore_index
    code = f"""
        const {{ mask, size }} = await page.decodeMask(data[0]);
        const palette = {json.dumps(labels.palette)};
        put(await page.encodeMask(mask, size, palette));
    """
    sent = mask_png(mask, labels)
    got = Image.open(io.BytesIO(node("png.js", code, np.frombuffer(sent, np.uint8))))
    expected = Image.open(io.BytesIO(sent))
    assert got.mode == expected.mode
    np.testing.assert_array_equal(np.asarray(got).astype(int), mask)
    assert got.getpalette() == expected.getpalette()


@pytest.mark.parametrize("filter_type", [0, 1, 2, 3, 4])
def test_every_row_filter_of_png_is_read(filter_type: int) -> None:
    mask = np.random.default_rng(filter_type).integers(0, 256, (6, 7), np.uint8)
    rows = b"".join(bytes([filter_type, *row]) for row in _filtered(mask, filter_type))
    header = struct.pack(">IIBBBBB", 7, 6, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    code = "put((await page.decodeMask(data[0])).mask);"
    got = np.frombuffer(node("png.js", code, np.frombuffer(file, np.uint8)), np.uint8)
    np.testing.assert_array_equal(got.reshape(mask.shape), mask)


def _filtered(mask: NDArray[np.uint8], filter_type: int) -> NDArray[np.uint8]:
    """Encode rows by one of PNG's filters (https://www.w3.org/TR/png-3/#9Filters)."""
    padded = np.pad(mask.astype(int), ((1, 0), (1, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    apart = [np.abs(left + above - corner - one) for one in (left, above, corner)]
    nearest = np.argmin(apart, axis=0)  # of equals left, then above
    paeth = np.choose(nearest, [left, above, corner])
    guess = (np.zeros_like(left), left, above, (left + above) // 2, paeth)[filter_type]
    return (mask - guess).astype(np.uint8)


def test_what_is_no_mask_is_refused() -> None:
    code = """
        const words = await page.decodeMask(data[0]).catch((error) => error.message);
        put(Buffer.from(words));
    """
    assert b"not a PNG" in node("png.js", code, np.zeros(80, np.uint8))


def test_server_timing_is_read() -> None:
    code = """
        const header = "decode;dur=1.25, queue;desc=x;dur=0.5, network;dur=8, total;dur=9.75";
        put(Buffer.from(JSON.stringify(page.serverTiming(header))));
    """
    got = json.loads(node("engines.js", code))
    assert got == [["decode", 1.25], ["queue", 0.5], ["network", 8]]


def test_areas_are_counted() -> None:
    code = """
        put(Buffer.from(JSON.stringify(page.areas(Uint8Array.from([2, 2, 0, 255]), 3))));
    """
    got = json.loads(node("panel.js", code))
    assert got == [{"index": 2, "share": 0.5}, {"index": 0, "share": 0.25}]
