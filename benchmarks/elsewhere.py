"""The packaged model away from home: photographs of ADE20K, and a street drawn here.

    python benchmarks/elsewhere.py --ade ../data/ade20k_sample [--pictures DIR] [--model MODEL]

ADE20K's classes are read as CamVid's where they mean the same; other pixels (grass, mountains, an
escalator) have no right answer and are left out. The drawn street has flat surfaces and noise, in
four lights; its truth is drawn with it. ``--pictures`` keeps every image beside its mask.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import topseg
from models import write_result
from topseg.core.files import write_bytes
from topseg.core.labels import standard_set
from topseg.evaluation.images import PerImage
from topseg.media.drawing import colorize, picture_png
from topseg.media.images import read_image

IGNORED = 255
LABELS = standard_set("camvid")[0]
MEANS = {
    **dict.fromkeys(("building", "house", "skyscraper", "hovel"), "building"),
    **dict.fromkeys(("car", "bus", "truck", "van"), "car"),
    **dict.fromkeys(("tree", "palm"), "tree"),
    "sky": "sky",
    "road": "road",
    "sidewalk": "pavement",
    "pole": "pole",
    "signboard": "signsymbol",
    "fence": "fence",
    "person": "pedestrian",
    "bicycle": "bicyclist",
}
LIGHTS = {"by day": 1.0, "under clouds": 0.7, "at dusk": 0.4, "at night": 0.15}


def photographs(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, image and truth of ADE20K's images."""
    table = np.full(256, IGNORED, np.uint8)
    for index, name in enumerate(standard_set("ade20k")[0].names):
        if name in MEANS:
            table[index + 1] = LABELS.names.index(MEANS[name])  # 0 is "other"
    for path in sorted((folder / "images").glob("*.jpg")):
        mask = np.asarray(Image.open(folder / "annotations" / f"{path.stem}.png"))
        yield path.stem, read_image(path), table[mask]


def streets() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, image and truth of the drawn street, 360x480, in each light."""
    image = np.zeros((360, 480, 3), np.uint8)
    truth = np.full((360, 480), IGNORED, np.uint8)

    def draw(name: str, color: tuple[int, int, int], corners: list[tuple[int, int]]) -> None:
        for target, value in ((image, color), (truth, (LABELS.names.index(name),))):
            cv2.fillPoly(target, [np.array(corners, np.int32)], value)

    draw("sky", (198, 214, 232), [(0, 0), (480, 0), (480, 360), (0, 360)])
    draw("pavement", (150, 144, 140), [(0, 215), (480, 215), (480, 360), (0, 360)])
    draw("road", (92, 92, 96), [(225, 175), (255, 175), (430, 360), (50, 360)])
    draw("building", (150, 112, 92), [(0, 20), (150, 95), (150, 215), (0, 285)])
    draw("building", (172, 160, 140), [(480, 40), (330, 110), (330, 215), (480, 275)])
    for x in range(15, 140, 25):  # windows are of the building
        draw("building", (60, 66, 78), [(x, 110), (x + 10, 112), (x + 10, 150), (x, 150)])
    draw("tree", (64, 92, 48), [(268, 176), (276, 130), (300, 112), (326, 135), (330, 205)])
    draw(
        "car",
        (140, 30, 36),
        [(170, 232), (180, 205), (222, 205), (232, 232), (232, 258), (170, 258)],
    )
    draw("pedestrian", (40, 50, 90), [(388, 190), (400, 190), (404, 268), (384, 268)])
    draw("pole", (96, 98, 98), [(352, 60), (356, 60), (356, 262), (352, 262)])
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    for name, light in LIGHTS.items():
        yield f"drawn street, {name}", (image * light + noise).clip(0, 255).astype(np.uint8), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ade", required=True, type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--model", default="topformer-tiny-camvid")
    given = parser.parse_args()
    if not (given.ade / "annotations").is_dir():
        parser.error(f"--ade: no images/ and annotations/ in {given.ade}")
    predictor = topseg.load(given.model)
    rows = ["| image | right | IoU of what is in it, % |", "|---|---|---|"]
    for name, image, truth in (*photographs(given.ade), *streets()):
        mask = predictor(image).mask
        counted = PerImage(len(LABELS.names), IGNORED)
        counted.update(truth, mask)
        ((hits, predicted, there),) = counted.stacked()
        ratios = [
            f"{LABELS.names[k]} {100 * hits[k] / (predicted[k] + there[k] - hits[k]):.0f}"
            for k in np.flatnonzero(there)
        ]
        rows.append(f"| {name} | {100 * hits.sum() / there.sum():.0f} % | {', '.join(ratios)} |")
        if given.pictures:
            shown = np.hstack([image, colorize(mask, LABELS), colorize(truth, LABELS)])
            write_bytes(given.pictures / f"{name}.png", picture_png(shown))
    rows += ["", "Right: the share of the pixels that have a right answer."]
    write_result("elsewhere", f"{given.model} away from home", "\n".join(rows))


if __name__ == "__main__":
    main()
