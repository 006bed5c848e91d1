"""Label Studio's tasks, by its published rules."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from labelled import Labels
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.data.annotations.labelstudio import decode_brush
from topseg.data.annotations.shapes import ShapeError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
SIZE = (40, 60)


def packed(values: NDArray[np.uint8], lengths: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """Pack values as rle-pack does: runs of one value, and stretches of values one by one."""
    bits = [f"{len(values):032b}", f"{7:05b}", *(f"{length - 1:04b}" for length in lengths)]

    def head(repeated: int, count: int) -> str:
        which = next(i for i, length in enumerate(lengths) if count <= 1 << length)
        return f"{repeated}{which:02b}{count - 1:0{lengths[which]}b}"

    stretch: list[int] = []

    def flush() -> None:
        for start in range(0, len(stretch), 1 << lengths[-1]):
            part = stretch[start : start + (1 << lengths[-1])]
            bits.append(head(0, len(part)) + "".join(f"{value:08b}" for value in part))
        stretch.clear()

    for value, run in groupby(values.tolist()):
        count = len(list(run))
        if count < 3:
            stretch.extend([value] * count)
            continue
        flush()
        while count:
            some = min(count, 1 << lengths[-1])
            bits.append(f"{head(1, some)}{value:08b}")
            count -= some
    flush()
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def brush(mask: NDArray[np.bool_]) -> list[int]:
    return packed(np.repeat(mask.ravel().astype(np.uint8) * 255, 4))


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
def test_brush_strokes(density: float) -> None:
    rng = np.random.default_rng(0)
    for values in (
        rng.integers(0, 256, 1000, np.uint8),
        np.repeat(rng.random(3000) < density, 4).astype(np.uint8) * 255,
        np.zeros(200_000, np.uint8),
    ):
        np.testing.assert_array_equal(decode_brush(packed(values), len(values)), values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ("abc", "cannot be read"),
        ([300], "cannot be read"),
        ([], "cannot be read"),
        (10**30, "cannot be read"),
        ([10**30], "cannot be read"),
        ([0, 0], "cut off"),
        (packed(np.zeros(40, np.uint8)), "another size"),
        (packed(np.arange(80, dtype=np.uint8))[:-20], "cut off"),
        (packed(np.zeros(80, np.uint8))[:8], "cut off"),
    ],
)
def test_broken_strokes(values: Any, text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        decode_brush(values, 80)


def result(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "original_width": SIZE[1],
        "original_height": SIZE[0],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
        "from_name": "label",
        "to_name": "image",
    }


def task(image: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": list(results), **more}]}


def test_polygons_and_strokes(labels: Labels) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(0)
    shares = rng.uniform(0, 100, (7, 2))
    stroke = np.zeros(SIZE, np.bool_)
    stroke[5:25, 30:50] = rng.random((20, 20)) > 0.3
    labels.picture("images/a.jpg", SIZE)
    answer = [
        result("polygonlabels", "road", points=shares.tolist(), closed=True),
        result("brushlabels", "car", format="rle", rle=brush(stroke)),
        result("rectanglelabels", "car", x=1, y=2, width=30, height=40, rotation=0),
        {"type": "choices", "value": {"choices": ["day"]}},
    ]
    one = task("/data/upload/3/0123abcd-a.jpg", *answer)
    one["annotations"].insert(0, {"result": answer[2:3], "was_cancelled": True})
    one["annotations"].append({"result": answer[:1]})
    labels.json("tasks.json", [one])
    summary = labels.convert()
    expected = np.zeros(SIZE, np.uint8)
    ring = (shares * [SIZE[1], SIZE[0]] / 100).ravel().tolist()
    expected[coco.decode(coco.frPyObjects([ring], *SIZE))[..., 0].astype(np.bool_)] = 2
    expected[stroke] = 1
    assert labels.classes == ["background", "car", "road"]
    np.testing.assert_array_equal(labels.read("images/a.png"), expected)
    assert summary.left_out == {
        "a region of type rectanglelabels, which has no outline": 1,
        "other people's answers": 1,
    }


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("/data/local-files/?d=x/a.jpg", "x/a.png"),
        ("/data/local-files/?d=images%2Fx%2Fa.jpg", "x/a.png"),
        ("https://example.org/some/x/a.jpg?token=1", "x/a.png"),
        ("s3://bucket/x/a.jpg", "x/a.png"),
        ("/data/upload/1/0123abcd-b.jpg", "b.png"),
        ("/data/upload/1/fedcba98-c.jpg", "fedcba98-c.png"),
    ],
)
def test_addresses(labels: Labels, address: str, found: str) -> None:
    for name in ("x/a.jpg", "b.jpg", "fedcba98-c.jpg"):
        labels.picture(f"images/{name}", SIZE)
    triangle = result("polygonlabels", "car", points=[[0, 0], [50, 0], [50, 50]])
    labels.json("tasks.json", [task(address, triangle)])
    labels.convert()
    assert labels.read(f"images/{found}")[1, 10] == 1


def test_tasks_without_an_answer(labels: Labels) -> None:
    for name in "abc":
        labels.picture(f"{name}.jpg", SIZE)
    triangle = result("polygonlabels", "car", points=[[0, 0], [50, 0], [50, 50]])
    tasks = [task("a.jpg", triangle), task("b.jpg", triangle, was_cancelled=True), task("c.jpg")]
    labels.json("tasks.json", tasks)
    summary = labels.convert()
    assert summary.images == {"train": 2}
    assert not labels.read("c.png").any()
    assert summary.problems[0][1] == "a task without an answer"


def test_reduced_export_is_refused(labels: Labels) -> None:
    labels.picture("a.jpg", SIZE)
    labels.json("tasks.json", [{"image": "a.jpg", "label": []}])
    with pytest.raises(InputError, match="export as 'JSON', not 'JSON-MIN'"):
        labels.convert(format="labelstudio")
