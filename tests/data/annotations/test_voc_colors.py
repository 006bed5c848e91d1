"""Pascal VOC's colours, and CVAT's masks."""

import numpy as np
import PIL.Image
from labelled import Labels

from topseg.core.labels import standard_set

SIZE = (8, 12)


def test_palette_pictures_and_colors_are_the_same(labels: Labels) -> None:
    """VOC's own colours, by its rule: black is the background, the pale border no class."""
    palette = standard_set("voc")[0].palette
    assert palette[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    numbers = np.repeat(np.array([0, 5, 20, 255], np.uint8), 2 * SIZE[1]).reshape(SIZE)
    colors = np.zeros((256, 3), np.uint8)
    colors[:21], colors[255] = palette, (224, 224, 192)
    for stem in ("a", "b d", "e"):
        labels.picture(f"JPEGImages/{stem}.jpg", SIZE)
    picture = PIL.Image.fromarray(numbers)
    picture.putpalette(colors.tobytes())
    (labels.root / "SegmentationClass").mkdir()
    picture.save(labels.root / "SegmentationClass/a.png")
    labels.mask("SegmentationClass/b d.png", colors[numbers])
    labels.mask("SegmentationClass/e.png", colors[numbers])
    labels.mask("SegmentationClass/c.png", colors[numbers])
    labels.mask("SegmentationObject/a.png", colors[numbers])
    labels.text("ImageSets/Segmentation/train.txt", "a\n")
    labels.text("ImageSets/Segmentation/trainval.txt", "a\nb d\n")
    labels.text(
        "ImageSets/Segmentation/val.txt", "b d\n/JPEGImages/e.jpg /SegmentationClass/e.png\n"
    )
    summary = labels.convert()
    assert len(labels.classes) == 21
    for name in ("a.png", "b d.png", "e.png"):
        np.testing.assert_array_equal(labels.read(name), numbers)
    assert summary.images == {"train": 1, "val": 2}
    assert [reason for _, reason in summary.problems] == ["a mask without an image"]


def test_cvats_labelmap(labels: Labels) -> None:
    labels.text(
        "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:10,20,30::\nroad:1,1,1::\n",
    )
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[:4], pixels[4:6] = (10, 20, 30), (1, 1, 1)
    labels.picture("JPEGImages/x/a.jpg", SIZE)
    labels.mask("SegmentationClass/x/a.png", pixels)
    labels.text("ImageSets/Segmentation/default.txt", "x/a\n")
    labels.convert()
    assert labels.classes == ["background", "car", "road"]
    assert labels.read("x/a.png")[:, 0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
