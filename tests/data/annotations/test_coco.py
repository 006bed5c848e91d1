"""COCO files, painted as pycocotools paints them."""

from typing import Any

import numpy as np
import pytest
from labelled import Labels
from numpy.typing import NDArray

from topseg.core.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools

SIZE = (60, 80)
CATEGORIES = [{"id": 7, "name": "car"}, {"id": 2, "name": "person"}]


def write(labels: Labels, regions: list[dict[str, Any]], name: str = "instances.json") -> None:
    """Write one picture with some regions."""
    labels.picture("images/a.jpg", SIZE)
    annotations = [{"id": i, "image_id": 1, **region} for i, region in enumerate(regions)]
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    tree = {"images": [image], "annotations": annotations, "categories": CATEGORIES}
    labels.json(f"annotations/{name}", tree)


def test_every_kind_of_segmentation_as_pycocotools(labels: Labels) -> None:
    """The witness decodes each region; smaller ones are painted over larger ones."""
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(3)
    regions, masks = [], []
    for number in range(24):
        corners = rng.uniform(0, 60, 2), rng.uniform(5, 40, 2)
        rings = [
            (corners[0] + rng.uniform(0, 1, (6, 2)) * corners[1]).ravel().tolist()
            for _ in range(number % 3 + 1)
        ]
        runs = coco.merge(coco.frPyObjects(rings, *SIZE))
        mask = coco.decode(runs).astype(np.bool_)
        if number % 4 == 1:
            rings = rings[0]  # type: ignore[assignment]
            mask = coco.decode(coco.frPyObjects([rings], *SIZE))[..., 0].astype(np.bool_)
        segmentation: Any = rings
        if number % 4 == 2:
            segmentation = {"size": list(SIZE), "counts": runs["counts"].decode()}
        if number % 4 == 3:
            flat = mask.ravel(order="F").astype(int)
            ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
            counts = ([0] if flat[0] else []) + np.diff(ends).tolist()
            segmentation = {"size": list(SIZE), "counts": counts}
        category = CATEGORIES[number % 2]["id"]
        regions.append({"category_id": category, "iscrowd": 0, "segmentation": segmentation})
        masks.append((mask, 2 if category == 7 else 1))
    write(labels, regions)
    summary = labels.convert()
    expected = np.zeros(SIZE, np.uint8)
    for mask, value in sorted(masks, key=lambda one: -int(one[0].sum())):
        expected[mask] = value
    assert labels.classes == ["background", "person", "car"]
    np.testing.assert_array_equal(labels.read("images/a.png"), expected)
    np.testing.assert_array_equal(summary.pixels, np.bincount(expected.ravel()))


def square(left: int, top: int, side: int) -> list[list[int]]:
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def filled(*squares: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Zeros with squares of (left, top, side, value)."""
    mask = np.zeros(SIZE, np.uint8)
    for left, top, side, value in squares:
        mask[top : top + side, left : left + side] = value
    return mask


def test_crowds_have_no_class_below_objects(labels: Labels) -> None:
    write(
        labels,
        [
            {"category_id": 2, "iscrowd": 0, "segmentation": square(20, 20, 30)},
            {"category_id": 7, "iscrowd": 1, "segmentation": square(15, 15, 20)},
        ],
    )
    labels.convert()
    expected = filled((15, 15, 20, 255), (20, 20, 30, 1))
    np.testing.assert_array_equal(labels.read("images/a.png"), expected)
    labels.convert(classes=["background", "person"])  # the crowd is of a name that is left out
    np.testing.assert_array_equal(labels.read("images/a.png"), filled((20, 20, 30, 1)))


def test_what_cannot_be_painted_is_counted(labels: Labels) -> None:
    regions = [
        {"category_id": 2, "segmentation": square(5, 5, 10)},
        {"category_id": 2},
        {"category_id": 2, "segmentation": []},
        {"category_id": 2, "segmentation": [[1, 2, 3, 4]]},
        {"category_id": 5, "segmentation": square(0, 0, 60)},
        {"category_id": 2, "segmentation": {"size": [6, 8], "counts": [48]}},
        {"category_id": 2, "segmentation": {"size": list(SIZE), "counts": "o"}},
        {"category_id": 2, "segmentation": square(200, 200, 10)},
    ]
    write(labels, regions)
    summary = labels.convert()
    np.testing.assert_array_equal(labels.read("images/a.png"), filled((5, 5, 10, 1)))
    assert summary.left_out == {
        "a region without an outline": 2,
        "an outline of fewer than 3 points": 1,
        "a region of a category that is not listed": 1,
        "run lengths for another size than the image's": 1,
        "run lengths that cannot be read": 1,
        "a region without a pixel": 1,
    }
    assert not summary.problems


def test_splits_and_images_by_name(labels: Labels) -> None:
    for split in ("train", "val"):
        labels.picture(f"{split}2017/1.jpg", SIZE)
        image = {"id": "1", "file_name": "1.jpg", "height": SIZE[0], "width": SIZE[1]}
        region = {"image_id": "1", "category_id": 2, "segmentation": square(5, 5, 10)}
        tree = {"images": [image], "annotations": [region], "categories": CATEGORIES}
        labels.json(f"annotations/instances_{split}2017.json", tree)
    labels.json("annotations/captions_val2017.json", {"images": [], "annotations": []})
    summary = labels.convert()
    assert summary.images == {"train": 1, "val": 1}
    assert (labels.out / "val.txt").read_text() == "../src/val2017/1.jpg\tmasks/val2017/1.png\n"
    assert "val: val.txt" in (labels.out / "dataset.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../../outside.jpg", "leads out of"),
        ("/etc/b.jpg", "no image"),
        ("nothing.jpg", "no image 'nothing.jpg'"),
        ("other/a.jpg", "no image"),
    ],
)
def test_images_that_are_not_there(labels: Labels, name: str, text: str) -> None:
    labels.picture("../outside.jpg", SIZE)
    labels.picture("images/a.jpg", SIZE)
    images = [
        {"id": i, "file_name": file, "height": SIZE[0], "width": SIZE[1]}
        for i, file in enumerate(["a.jpg", name])
    ]
    region = {"image_id": 0, "category_id": 2, "segmentation": square(5, 5, 10)}
    labels.json("a.json", {"images": images, "annotations": [region], "categories": CATEGORIES})
    ((_, problem),) = labels.convert().problems
    assert text in problem


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": [{"id": 1, "height": 3, "width": 3}]}, r"images\.0\.file_name: got nothing"),
        ({"annotations": [{"image_id": 1, "category_id": "x"}]}, "category_id: got 'x', expected"),
        ({"categories": []}, "got none, expected names"),
        (
            {"annotations": [{"image_id": 1, "category_id": 2, "segmentation": [[1e999, 0]]}]},
            "segmentation",
        ),
        (
            {
                "annotations": [
                    {
                        "image_id": 1,
                        "category_id": 2,
                        "segmentation": {"size": [1, 1], "counts": [-1]},
                    }
                ]
            },
            "greater than or equal to 0",
        ),
    ],
)
def test_faults_name_file_and_key(labels: Labels, change: dict[str, Any], text: str) -> None:
    labels.picture("a.jpg", SIZE)
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    tree = {"images": [image], "annotations": [], "categories": CATEGORIES, **change}
    path = labels.json("a.json", tree)
    with pytest.raises(InputError, match=text) as error:
        labels.convert(format="coco", source="a.json")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", '{"images": ' + "[" * 100_000, "\x00", '{"images": NaN}'])
def test_no_json(labels: Labels, text: str) -> None:
    labels.text("a.json", text)
    with pytest.raises(InputError, match=r"a\.json"):
        labels.convert(format="coco", source="a.json")


def test_two_files_must_agree(labels: Labels) -> None:
    region = {"category_id": 7, "segmentation": square(5, 5, 10)}
    write(labels, [region], "train.json")
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    tree = {"images": [image], "annotations": [{"image_id": 1, **region}]}
    labels.json("val.json", tree | {"categories": [{"id": 7, "name": "bus"}]})
    with pytest.raises(InputError, match="category 7 is 'bus', and 'car' in another"):
        labels.convert()
