"""COCO's panoptic pictures."""

from typing import Any

import numpy as np
from labelled import Labels

SIZE = (20, 30)
CATEGORIES = [{"id": 1, "name": "person", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}]


def write(labels: Labels, ids: Any, segments: list[dict[str, int]]) -> None:
    """Write a picture whose segments have some numbers, by the published rule."""
    labels.picture("val2017/1.jpg", SIZE)
    ids = np.asarray(ids)
    labels.mask(
        "annotations/panoptic_val2017/1.png",
        np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8),
    )
    image = {"id": 1, "file_name": "1.jpg", "height": SIZE[0], "width": SIZE[1]}
    annotation = {"image_id": 1, "file_name": "1.png", "segments_info": segments}
    tree = {"images": [image], "annotations": [annotation], "categories": CATEGORIES}
    labels.json("annotations/panoptic_val2017.json", tree)


def test_numbers_become_classes(labels: Labels) -> None:
    ids = np.zeros(SIZE, np.int64)
    ids[:5], ids[5:10], ids[10:12], ids[12:14] = 7, 300 * 256 + 5, 65537, 9
    segments = [
        {"id": 7, "category_id": 90, "iscrowd": 0},
        {"id": 300 * 256 + 5, "category_id": 1, "iscrowd": 0},
        {"id": 65537, "category_id": 1, "iscrowd": 1},
    ]
    write(labels, ids, segments)
    summary = labels.convert()
    expected = np.full(SIZE, 255)
    expected[:5], expected[5:10] = 1, 0
    assert labels.classes == ["person", "sky"]
    np.testing.assert_array_equal(labels.read("val2017/1.png"), expected)
    assert summary.left_out == {"pixels of segments that are not listed": 60}
    labels.convert(rest="void")
    assert labels.classes == ["void", "person", "sky"]
    assert labels.read("val2017/1.png")[-1, -1] == 0


def test_lost_pictures(labels: Labels) -> None:
    write(labels, np.full(SIZE, 7), [{"id": 7, "category_id": 90}])
    (labels.root / "annotations/panoptic_val2017.json").rename(labels.root / "one.json")
    tree = (labels.root / "one.json").read_text()
    labels.text("two_test.json", tree.replace('"1.png"', '"2.png"').replace('"id": 1,', '"id": 3,'))
    reasons = " ".join(reason for _, reason in labels.convert().problems)
    assert "image 1 is not listed" in reasons
