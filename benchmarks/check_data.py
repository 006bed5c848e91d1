"""How long ``topseg check`` takes, and how much memory, on CamVid and on many generated pairs.

    python benchmarks/check_data.py CAMVID [--pairs 20000] [--work FOLDER]

CAMVID is a folder of CamVid, whose 367 + 101 pairs are read from the folder, from a ZIP of it and
from shards; its masks are spoiled in several ways to see what is found. The generated pairs are
JPEGs of 192x256 of random blots and masks of four classes, a fifth of them for validation; peak
memory of a process that checks all is set beside that of one that checks a tenth. Every time comes
from a process of its own. FOLDER keeps what was made for the next time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models import write_result
from topseg.data.alignment import STRANGE
from topseg.data.checking import SPLITS
from topseg.data.config import DataConfig
from topseg.data.contours import coarse_steps, fit_contours
from topseg.data.dataset import open_dataset
from topseg.data.sharding import write_shards

KINDS = ("shifted", "beside", "coarse")
_CHECK = """
import json, resource, sys, time
from pathlib import Path
from topseg.data.checking import check
from topseg.recipe import read_data
config, workers = read_data(Path(sys.argv[1]), json.loads(sys.argv[2])), int(sys.argv[3])
start = time.perf_counter()
report = check(config, workers=workers)
seconds, cpu = time.perf_counter() - start, time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = sum(split.images for split in report.splits.values())
print(json.dumps([images, seconds, cpu, peak / 1024, len(report.problems)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    heads = "threads | seconds | CPU seconds | pairs/s | peak memory, MB | findings"
    lines = [f"| pairs | from | {heads} |", "|---:|---|---:|---:|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        camvid = given.camvid.resolve()
        packed, shards = work / "camvid.zip", work / "shards"
        if not shards.exists():
            words = [sys.executable, "-m", "zipfile", "-c", packed, *camvid.iterdir()]
            subprocess.run(words, check=True)
            write_shards(DataConfig(layout="camvid", root=str(camvid)), shards)
        for name, place, keys in (
            ("CamVid", camvid, ["layout=camvid"]),
            ("CamVid, ZIP", packed, ["layout=camvid"]),
            ("CamVid, shards", shards, []),
        ):
            lines.append(measured(name, place, keys, cores))
        lines.append(measured("CamVid", camvid, ["layout=camvid"], 1))
        for count in (given.pairs // 10, given.pairs):
            place = work / f"pairs{count}"
            if not place.exists():
                write_pairs(place, count)
            lines.append(measured("generated", place, [], cores))
    lines += ["", *spoiled_masks(camvid)]
    write_result("check_data", "Checking data sets", "\n".join(lines))


def spoiled_masks(camvid: Path) -> Iterator[str]:
    """Spoil each of CamVid's masks in several ways; rows of how many are found."""
    rng, found = np.random.default_rng(0), Counter[tuple[str, str]]()
    config = DataConfig(layout="camvid", root=str(camvid))
    splits = [open_dataset(config, split) for split in SPLITS]
    for split in splits:
        for index in range(len(split)):
            image, mask = split[index].image, split[index].mask
            height, width = mask.shape
            # Somewhere 4 to 20 pixels away, with no class where it was not.
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(4, 20)
            way = np.array([[1, 0, round(far * np.cos(angle))], [0, 1, round(far * np.sin(angle))]])
            moved = cv2.warpAffine(
                mask, way.astype(np.float32), (width, height), flags=0, borderValue=255
            )
            other = split[(index + len(split) // 2) % len(split)].mask
            small = cv2.resize(mask, (width // 4, height // 4), interpolation=cv2.INTER_NEAREST)
            large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
            for name, spoiled in (
                ("as they are", mask),
                ("moved by 4 to 20 pixels", moved),
                ("mirrored", mask[:, ::-1]),
                ("of another image", other),
                ("enlarged four times", large),
            ):
                fit = fit_contours(image, np.ascontiguousarray(spoiled), 255)
                found[name, "shifted"] += fit is not None and fit.is_shifted
                found[name, "beside"] += fit is not None and fit.here < STRANGE
                found[name, "coarse"] += coarse_steps(spoiled) is not None
    total = sum(map(len, splits))
    yield f"| CamVid's {total} masks | shifted | beside their images | coarse |"
    yield "|---|---:|---:|---:|"
    for name in dict.fromkeys(name for name, _ in found):
        yield f"| {name} | {' | '.join(str(found[name, kind]) for kind in KINDS)} |"


def write_pairs(root: Path, count: int) -> None:
    """Write pictures of random blots with masks of their shapes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        split = "val" if index % 5 == 0 else "train"
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        blots = rng.integers(0, 256, (9, 12, 3), np.uint8)
        image = cv2.resize(blots, (256, 192), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "images" / split / f"{index:06d}.jpg"), image)
        cv2.imwrite(str(root / "masks" / split / f"{index:06d}.png"), image[..., 0] // 64)
    (root / "classes.txt").write_text("a\nb\nc\nd\n")


def measured(name: str, place: Path, keys: list[str], threads: int) -> str:
    """Check one data set in a process of its own; a row of the table."""
    words = [sys.executable, "-c", _CHECK, str(place), json.dumps(keys), str(threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: Any = json.loads(done.stdout)
    images, seconds, cpu, peak, problems = found
    speed = f"{seconds:.1f} | {cpu:.1f} | {images / seconds:,.0f}"
    row = f"{images:,} | {name} | {threads} | {speed}"
    return f"| {row} | {peak:.0f} | {problems} |"


if __name__ == "__main__":
    main()
