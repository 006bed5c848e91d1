"""CVAT's XML, by its published rules; polygons against pycocotools, which CVAT uses as well."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from labelled import Labels

from topseg.core.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
SIZE = (40, 60)
META = """<meta><task><labels>
<label><name>road</name><color>#804080</color><attributes></attributes></label>
<label><name>car</name><color>#0000ff</color><attributes></attributes></label>
</labels></task></meta>"""


def write(labels: Labels, shapes: str, name: str = "a.jpg", more: str = "") -> None:
    labels.picture(f"images/{name}", SIZE)
    image = f'<image id="0" name="{name}" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image>'
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    body = f"<version>1.1</version>{META}{image}{more}"
    labels.text("annotations.xml", f"{head}<annotations>{body}</annotations>")


def polygon(label: str, ring: Any, z_order: int = 0) -> str:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)
    return f'<polygon label="{label}" points="{points}" z_order="{z_order}"></polygon>'


def test_shapes_by_z_order(labels: Labels) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    rng = np.random.default_rng(0)
    rings = [np.round(rng.uniform(0, 60, (6, 2)), 2) for _ in range(4)]
    levels = [3, 0, 2, 0]
    names = ["car", "road", "road", "car"]
    bits = rng.random((9, 14)) > 0.4
    runs = [(bool(value), len(list(run))) for value, run in groupby(bits.ravel().tolist())]
    counts = [0] * runs[0][0] + [length for _, length in runs]
    rle = ", ".join(map(str, counts))
    mask = f'<mask label="car" rle="{rle}" left="5" top="7" width="14" height="9" z_order="1"/>'
    shapes = [polygon(*one) for one in zip(names, rings, levels, strict=True)]
    box = '<box label="car" xtl="1" ytl="1" xbr="9" ybr="9" z_order="9"></box>'
    write(labels, "".join([*shapes, mask, box]))
    summary = labels.convert()
    expected = np.zeros(SIZE, np.uint8)

    def paint(index: int) -> None:
        own = coco.decode(coco.frPyObjects([rings[index].ravel().tolist()], *SIZE))[..., 0]
        expected[own.astype(np.bool_)] = 1 + (names[index] == "car")

    paint(1)
    paint(3)
    expected[7:16, 5:19][bits] = 2
    paint(2)
    paint(0)
    assert labels.classes == ["background", "road", "car"]
    np.testing.assert_array_equal(labels.read("images/a.png"), expected)
    assert summary.left_out == {"a box, which has no outline": 1}
    assert summary.labels.palette == ((0, 0, 0), (128, 64, 128), (0, 0, 255))


def test_ellipses(labels: Labels) -> None:
    shape = '<ellipse label="car" cx="30" cy="20" rx="20" ry="8" rotation="30" z_order="0"/>'
    write(labels, shape)
    labels.convert()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    turn = np.deg2rad(30)
    x, y = columns - 30, rows - 20
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = (along / 20) ** 2 + (across / 8) ** 2
    mask = labels.read("images/a.png")
    assert (mask[inside < 0.9] == 2).all()
    assert (mask[inside > 1.1] == 0).all()


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<polygon label="car" points="1,2;x,3" />', "cannot be read"),
        ('<polygon label="car" points="1,2;3,3" />', "fewer than 3"),
        ('<polygon label="car" points="1,2;3,3;1e12,4" />', "far outside"),
        ('<mask label="car" rle="3" left="0" top="0" width="2" height="2"/>', "do not fill"),
        (
            '<mask label="car" rle="9" left="0" top="0" width="99999" height="99999"/>',
            "larger than",
        ),
        ('<mask label="car" rle="-1, 5" left="0" top="0" width="2" height="2"/>', "do not fill"),
        (f'<mask label="car" rle="{10**30}" left="0" top="0" width="2" height="2"/>', "runs"),
        ('<mask label="car" rle="4" top="0" width="2" height="2"/>', "a number for left"),
        ('<ellipse label="car" cx="nan" cy="1" rx="1" ry="1"/>', "far outside"),
    ],
)
def test_broken_shapes_are_counted(labels: Labels, shape: str, reason: str) -> None:
    write(labels, shape + polygon("road", [(0, 0), (9, 0), (9, 9)]))
    ((text, count),) = labels.convert().left_out.items()
    assert reason in text
    assert count == 1


def test_videos_and_missing_images_are_told(labels: Labels) -> None:
    other = '<image id="1" name="no.jpg" width="3" height="3"/><track id="0" label="car"></track>'
    write(labels, polygon("road", [(0, 0), (9, 0), (9, 9)]), more=other)
    reasons = " ".join(reason for _, reason in labels.convert().problems)
    assert "1 tracks of a video" in reasons
    assert "no image 'no.jpg'" in reasons


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<annotations><image ", "not readable as XML"),
        ('<?xml version="1.0" encoding="x"?><annotations/>', "not readable as XML"),
        ("<svg></svg>", "got <'svg'>, expected <annotations>"),
        (
            '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotations>&c;</annotations>',
            "has a document type",
        ),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>',
            "has a document type",
        ),
    ],
)
def test_files_that_are_refused(labels: Labels, text: str, problem: str) -> None:
    labels.picture("a.jpg")
    labels.text("annotations.xml", text)
    with pytest.raises(InputError, match=problem):
        labels.convert("annotations.xml", format="cvat")
