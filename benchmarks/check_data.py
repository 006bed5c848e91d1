"""How long ``topseg check`` takes, and how much memory, on CamVid and on many generated pairs.

    python benchmarks/check_data.py CAMVID [--pairs 20000] [--work FOLDER]

CAMVID is a folder of CamVid, whose 367 + 101 pairs are read from the folder, from a ZIP of it and
from shards. The generated pairs are JPEGs of 192x256 of random blots and masks of four classes, a
fifth of them for validation; peak memory of a process that checks all is set beside that of one
that checks a tenth. Every figure comes from a process of its own. FOLDER keeps what was made for
the next time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models import write_result
from topseg.data.config import DataConfig
from topseg.data.sharding import write_shards

_CHECK = """
import json, resource, sys, time
from pathlib import Path
from topseg.data.checking import check
from topseg.recipe import read_data
config, workers = read_data(Path(sys.argv[1]), json.loads(sys.argv[2])), int(sys.argv[3])
start = time.perf_counter()
report = check(config, workers=workers)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = sum(split.images for split in report.splits.values())
print(json.dumps([images, seconds, peak / 1024, len(report.problems)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    lines = ["| pairs | from | threads | seconds | pairs/s | peak memory, MB | findings |"]
    lines.append("|---:|---|---:|---:|---:|---:|---:|")
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
    write_result("check_data", "Checking data sets", "\n".join(lines))


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
    images, seconds, peak, problems = found
    row = f"{images:,} | {name} | {threads} | {seconds:.1f} | {images / seconds:,.0f}"
    return f"| {row} | {peak:.0f} | {problems} |"


if __name__ == "__main__":
    main()
