"""From files to a training step: whether the loader or the step is the bottleneck.

    python benchmarks/loader.py PHOTO MASK CAMVID

PHOTO (a JPEG of 512x683, as most of ADE20K) and MASK (its ADE20K annotation) stand 64 times in a
folder of ADE20K's layout; CAMVID is a folder of CamVid. Both go through their recipe's loader with
one worker, as by ``topseg bench-data RECIPE``.
"""

import argparse
import tempfile
from pathlib import Path

import cv2

from models import write_result
from topseg.recipe import read_recipe
from topseg.training.trial import bench_data

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("camvid", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, source in (("images", given.photo), ("annotations", given.mask)):
            for split, count in (("training", 64), ("validation", 1)):
                place = Path(folder) / kind / split
                place.mkdir(parents=True)
                for index in range(count):
                    (place / f"{index:03d}{source.suffix}").symlink_to(source.resolve())
        changes = [f"data.root={folder}", "model.backbone_weights=null", "train.workers=1"]
        recipe = read_recipe(ROOT / "recipes" / "topformer_tiny_ade20k.yaml", changes)
        photos = bench_data(recipe, "cpu")
        changes = [f"data.root={given.camvid.resolve()}", "train.workers=1"]
        recipe = read_recipe(ROOT / "recipes" / "topformer_tiny_camvid.yaml", changes)
        camvid = bench_data(recipe, "cpu")
    height, width = cv2.imread(str(given.photo)).shape[:2]
    body = (
        f"JPEG of {height}x{width}, 150 classes, PaddleSeg's augmentation for ADE20K, Tiny:\n\n"
        f"```\n{photos}\n```\n\nCamVid, `recipes/topformer_tiny_camvid.yaml`:\n\n```\n{camvid}\n```"
    )
    write_result("loader", "From files to a training step", body)


if __name__ == "__main__":
    main()
