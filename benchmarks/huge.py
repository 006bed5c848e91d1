"""An image of 20,000 x 20,000 pixels by tiles: memory, a kill, georeference; and what tiles change.

    python benchmarks/huge.py DATA [--side 20000] [--model topformer-tiny-camvid] [data.key=value]

A GeoTIFF is pasted together of DATA's val images (twice their size, mirrored at random, one corner
without data). ``topseg tile`` makes its mask in a process of its own, once at a stretch and once
killed (SIGKILL) and started again. Then masks by tiles are compared with those of the whole image
through the network at once, on images that fit in memory: val images side by side, and enlarged.
Needs torch and rasterio.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from models import write_result
from topseg.core.geometry import Size
from topseg.data.dataset import Dataset, open_dataset
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.scores import Scores
from topseg.inference.hub import load
from topseg.inference.predictor import Predictor
from topseg.inference.tiling import predict_tiles, ramps, tile_slide
from topseg.inference.tta import Logits
from topseg.inference.upsample import upsample_argmax
from topseg.media.drawing import picture_png
from topseg.recipe import read_data

TILES = (256, 384, 512, 768, 1024)
PLACE = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.1, 0.1)}


def write_mosaic(dataset: Dataset, path: Path, side: int) -> int:
    """Write a GeoTIFF of side x side pixels, row by row of images; return the hole's side."""
    rng = np.random.default_rng(0)
    hole = side // 10
    profile = {"height": side, "width": side, "count": 3, "dtype": "uint8", "nodata": 0}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "photometric": "rgb"}
    with rasterio.open(path, "w", driver="GTiff", bigtiff="if_safer", **profile, **PLACE) as file:
        top = 0
        while top < side:
            parts: list[NDArray[Any]] = []
            while sum(part.shape[1] for part in parts) < side:
                image = dataset[int(rng.integers(len(dataset)))].image.clip(1)
                large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).clip(1)
                parts.append(large[:, :: int(rng.choice((-1, 1)))])
            rows = np.hstack(parts)[: side - top, :side]
            rows[max(side - hole - top, 0) :, side - hole :] = 0
            file.write(np.moveaxis(rows, -1, 0), window=Window(0, top, side, len(rows)))
            top += len(rows)
    return hole


def run(words: Sequence[str], strips: Path | None = None, stop_at: int = 0) -> tuple[float, float]:
    """Run ``topseg``, killed when there are so many strips; return seconds and peak MiB (Linux).

    The peak is the kernel's own mark of the process's memory (VmHWM). What ``wait4`` gives would
    be no less than the peak of this script, from which the process was forked.
    """
    start, peak = time.perf_counter(), 0
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "topseg", *words], **quiet)
    while process.poll() is None:
        marks = Path(f"/proc/{process.pid}/status").read_text().split()
        if "VmHWM:" in marks:  # not while it ends
            peak = int(marks[marks.index("VmHWM:") + 1])
        if strips and len(list(strips.glob("strip_*"))) >= stop_at:
            process.kill()
        time.sleep(0.05)
    if process.returncode and not strips:
        raise SystemExit(f"topseg {' '.join(words)}: failed; try it by hand")
    return time.perf_counter() - start, peak / 1024


def measure_huge(dataset: Dataset, model: str, runtime: str, side: int, tile: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "huge.tif"
        hole = write_mosaic(dataset, image, side)
        words = ["tile", model, str(image), "--size", f"{tile}x{tile}", "--runtime", runtime]
        seconds, memory = run([*words, "--out", str(folder / "whole")])
        killed = [*words, "--out", str(folder / "killed")]
        height = len(tile_slide((tile, tile)).spans(-(-side // 64) * 64, 0))
        run(killed, folder / "killed" / ".huge.tif.part", height // 2)
        rest, _ = run(killed)
        context = run([*words[:-2], "--context", "image", "--out", str(folder / "context")])
        masks = [folder / part / "huge.tif" for part in ("whole", "killed")]
        same = masks[0].read_bytes() == masks[1].read_bytes()
        with rasterio.open(masks[0]) as file:
            placed = file.crs.to_epsg() == 32633 and file.transform == PLACE["transform"]
            corner = file.read(1, window=Window(side - hole, side - hole, hole, hole))
            edge = file.read(1, window=Window(0, side - hole - 1, side, 1))
            empty = bool((corner == 255).all()) and not (edge == 255).any()
            (block,) = file.block_shapes
            form = f"{file.shape}, {file.dtypes[0]}, {file.compression.value}, blocks {block}"
            size = (
                f"{image.stat().st_size / 1e6:.0f} MB in, {masks[0].stat().st_size / 1e6:.1f} out"
            )
    rows = {
        "peak memory of the process (all of it)": f"**{memory:.0f} MiB**",
        "time": f"{seconds:.0f} s, {1000 * seconds / height**2:.0f} ms per tile",
        "with `--context image` (torch)": f"{context[1]:.0f} MiB, {context[0]:.0f} s",
        "killed at half (SIGKILL), started again": f"the rest took {rest:.0f} s",
        "its file beside the one made at a stretch": "equal bit by bit" if same else "**differs**",
        "reference system and transform, read by rasterio": "kept" if placed else "**lost**",
        f"{hole} x {hole} pixels without data": "255, no others" if empty else "**wrong**",
        "mask": f"{form}; {size}",
    }
    count = f"{height**2} tiles of {tile} x {tile}"
    head = f"`topseg tile` on {side} x {side} pixels, {count}, {runtime}:"
    return [
        head,
        "",
        "| what | measured |",
        "|---|---|",
        *(f"| {k} | {v} |" for k, v in rows.items()),
    ]


@dataclass
class Tally:
    """Pixels equal and seen, all of them and outside the blend bands; and both masks' scores."""

    classes: int
    equal: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    scores: dict[str, ConfusionMatrix] = field(default_factory=dict)

    def count(self, name: str, same: NDArray[np.bool_], alone: NDArray[np.bool_]) -> None:
        now = [same.sum(), same.size, same[alone].sum(), alone.sum()]
        self.equal[name] = self.equal.get(name, np.zeros(4, np.int64)) + now

    def score(self, name: str, truth: NDArray[Any], mask: NDArray[Any]) -> None:
        self.scores.setdefault(name, ConfusionMatrix(self.classes, 255)).update(truth, mask)


def pad(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % 64), (0, -width % 64), (0, 0)), "symmetric")


def to_mask(logits: Logits, size: Size) -> NDArray[Any]:
    """One tail over all logits, and the image's own pixels of it."""
    return upsample_argmax(logits, (8 * logits.shape[1], 8 * logits.shape[2]))[: size[0], : size[1]]


def held(
    predictor: Predictor, image: NDArray[Any], tile: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The same tiles with all logits held in memory: the mask, and where a tile is alone."""
    pixels, slide = pad(image), tile_slide((tile, tile))
    height, width = pixels.shape[:2]
    logits = np.zeros((predictor.labels.num_classes, height // 8, width // 8), np.float32)
    times = np.zeros((height, width), np.uint8)
    downs, rights = slide.spans(height, 0), slide.spans(width, 1)
    for down, y in zip(downs, ramps(downs), strict=True):
        for right, x in zip(rights, ramps(rights), strict=True):
            found = predictor.runtime(np.ascontiguousarray(pixels[None, down, right]))[0]
            cells = [slice(side.start // 8, side.stop // 8) for side in (down, right)]
            logits[:, cells[0], cells[1]] += found * y[:, None] * x
            times[down, right] += 1
    rows, columns = image.shape[:2]
    return to_mask(logits, (rows, columns)), times[:rows, :columns] == 1


def side_by_side(dataset: Dataset, count: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Nine images each, and their truth."""
    for first in range(0, min(9 * count, len(dataset) - 8), 9):
        samples = [dataset[first + i] for i in range(9)]
        yield tuple(  # type: ignore[misc]
            np.vstack(
                [np.hstack([getattr(s, part) for s in samples[i : i + 3]]) for i in (0, 3, 6)]
            )
            for part in ("image", "mask")
        )


def enlarged(dataset: Dataset, count: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Images three times their size, and their truth."""
    for index in range(0, len(dataset), max(len(dataset) // count, 1)):
        sample = dataset[index]
        image = cv2.resize(sample.image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        yield image, cv2.resize(sample.mask, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)


def compare(
    predictor: Predictor, images: Iterator[tuple[NDArray[Any], NDArray[Any]]]
) -> dict[int, Tally]:
    tallies = {tile: Tally(predictor.labels.num_classes) for tile in TILES}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "image.png"
        for image, truth in images:
            size = (image.shape[0], image.shape[1])
            path.write_bytes(picture_png(image))
            whole = to_mask(predictor.runtime(pad(image)[None])[0], size)
            for tile, tally in tallies.items():
                masks = {}
                for context in ("tile", "image"):
                    predict_tiles([predictor], [path], Path(name), (tile, tile), context=context)
                    with rasterio.open(path.with_suffix(".tif")) as file:
                        masks[context] = file.read(1)
                streamed, shared = masks["tile"], masks["image"]
                mask, alone = held(predictor, image, tile)
                tally.count("held", streamed == mask, alone)
                tally.count("whole", streamed == whole, alone)
                tally.count("shared", shared == whole, alone)
                tally.score("tiles", truth, streamed)
                tally.score("whole", truth, whole)
    return tallies


def table(tallies: dict[int, Tally], names: tuple[str, ...]) -> list[str]:
    def share(counts: NDArray[np.int64]) -> str:
        outside = f"{counts[2] / counts[3]:.2%}" if counts[3] else "none"
        return f"{counts[0] / counts[1]:.2%} / {outside}"

    lines = [
        "| tile | all logits held | whole image, with `--context image` | whole image, without "
        "| mIoU by tiles | mIoU whole |",
        "|---|---|---|---|---|---|",
    ]
    for tile, tally in tallies.items():
        same = tally.equal["held"]
        first = "bit by bit" if same[0] == same[1] else f"**{same[0] / same[1]:.4%}**"
        miou = [f"{100 * Scores(names, tally.scores[n]).miou:.2f}" for n in ("tiles", "whole")]
        rest = [share(tally.equal["shared"]), share(tally.equal["whole"]), *miou]
        lines.append(f"| {tile} x {tile} | {first} | {' | '.join(rest)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--model", default="topformer-tiny-camvid")
    parser.add_argument("--runtime", default="onnx")
    parser.add_argument("--images", type=int, default=11, help="compared, of either kind")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    dataset = open_dataset(read_data(arguments.data, arguments.overrides), "val")
    body = measure_huge(dataset, arguments.model, arguments.runtime, arguments.side, arguments.tile)
    predictor = load(arguments.model, runtime="torch", threads=1)
    kinds = {
        "nine images side by side (1080 x 1440)": side_by_side(dataset, arguments.images),
        "one image three times its size (1080 x 1440)": enlarged(dataset, arguments.images),
    }
    body += [
        "",
        "Pixels that are the same in the mask by tiles and in another one (all / where a tile is "
        f"alone, outside the blend bands), over about {arguments.images} images of either kind:",
    ]
    for kind, images in kinds.items():
        body += ["", f"**{kind}**", "", *table(compare(predictor, images), predictor.labels.names)]
    body += [
        "",
        "*All logits held*: the same tiles blended in memory, one tail at the end. *Whole image*: "
        "through the network at once. With `--context image` the tiles' tokens attend to those of "
        "the whole image, so that nothing but the convolutions' borders differs; without, a tile "
        "sees its own surroundings and no more.",
    ]
    write_result("huge", "Huge images", "\n".join(body))


if __name__ == "__main__":
    main()
