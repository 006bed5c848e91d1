"""Mutated files of every kind that people are sent: bundles, weights, recipes, data sets, labels.

    python tests/fuzz/fuzz_files.py [--each 10000] [--seed 0] [--surface NAME]

Each file is mutated at bytes and, where it is a tree, at nodes, and read by what reads it in the
product. Every reading must succeed or raise InputError within five seconds, and the memory must
stay bounded. Every case follows from the seed and its number.
"""

import argparse
import faulthandler
import io
import json
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mutations import mutate, mutate_tree
from PIL import Image
from safetensors.numpy import save

from topseg.bundle.bundle import read_metadata
from topseg.core.errors import InputError
from topseg.data.annotations.converting import convert_data
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, open_dataset
from topseg.data.masks import MaskReader
from topseg.interop.weights import read_weights
from topseg.media.images import read_image, read_size
from topseg.recipe import read_data, read_recipe
from topseg.synthetic.scenes import LABELS

LIMIT_SECONDS = 5.0
LIMIT_MIB = 700  # more than at the start
LONGEST = 5000  # characters of a message

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Surface:
    """One way in.

    Attributes:
        name: What comes in.
        files: Path below a folder -> what is there; the folder is made anew for each case.
        mutations: Of these files one is changed, in one of these ways.
        read: Called with the folder and the changed file.
    """

    name: str
    files: Mapping[str, bytes]
    mutations: Mapping[str, tuple[Mutation, ...]]
    read: Callable[[Path, Path], object]


def plain(*words: bytes) -> Mutation:
    """Mutate bytes, and put in words of the format."""
    return lambda data, rng: mutate(data, rng, words)


def json_nodes(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(mutate_tree(json.loads(data), rng)).encode()


def yaml_nodes(data: bytes, rng: random.Random) -> bytes:
    return yaml.dump(mutate_tree(yaml.safe_load(data), rng), allow_unicode=True).encode(
        "utf-8", "surrogatepass"
    )


def header_nodes(data: bytes, rng: random.Random) -> bytes:
    """Mutate the tree at the head of a safetensors file, and let its length be right."""
    length = int.from_bytes(data[:8], "little")
    head = json_nodes(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(head)) + head + data[8 + length :]


def inner_pickle(data: bytes, rng: random.Random) -> bytes:
    """Mutate the pickle in a file of torch.save, and let the archive be whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, mutate(part, rng, PICKLE) if name.endswith("data.pkl") else part)
    return buffer.getvalue()


PICKLE = (b"cos\nsystem\n", b"R", b"b", b"2", b"(l", b"I999999999\n", b"r\xff\xff\xff\x7f", b".")
YAML = (b"&a ", b"*a", b"<<: *a\n", b"- ", b": ", b"!!python/name:os.system ", b"\t", b"{", b"'")
TEXT = (b"\0", b"\r", b"\n\n", b"\xff\xfe", b"\xef\xbb\xbf", b"../", b" ", b"\t", b"#")
JSON = (b"[[", b"{", b"1e999", b'"\\ud800"', b"-", b"null", b"NaN")
XML = (b"<!ENTITY a 'b'>", b"&a;", b"<x>", b"</image>", b"<![CDATA[")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def weight_files() -> dict[str, bytes]:
    """The same two tensors in every kind of file."""
    arrays = {
        "backbone.conv.weight": np.ones((4, 3, 3, 3), np.float32),
        "backbone.bn.bias": np.arange(4, dtype=np.float32),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({"meta": {"epoch": 1}, "state_dict": tensors}, new)
    torch.save(tensors, old, _use_new_zipfile_serialization=False)
    return {
        "w.safetensors": save(arrays),
        "w.pdparams": pickle.dumps({**arrays, "names": ["a", ("b", 1.5)]}, protocol=2),
        "w.pth": new.getvalue(),
        "old.pt": old.getvalue(),
    }


def label_files(image: bytes) -> dict[str, tuple[dict[str, bytes], tuple[Mutation, ...]]]:
    """By format: the source's files, of which the first is changed, and how."""
    ring = [2, 2, 20, 2, 20, 20, 2, 20]
    corners = [[2, 2], [20, 2], [20, 20]]
    trees: dict[str, tuple[str, Any]] = {
        "coco": (
            "annotations.json",
            {
                "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 32}],
                "categories": [{"id": 3, "name": "road"}],
                "annotations": [
                    {
                        "id": 1,
                        "image_id": 1,
                        "category_id": 3,
                        "segmentation": [ring],
                        "iscrowd": 0,
                    },
                    {
                        "id": 2,
                        "image_id": 1,
                        "category_id": 3,
                        "iscrowd": 1,
                        "segmentation": {"size": [32, 40], "counts": [100, 80, 1100]},
                    },
                    {
                        "id": 3,
                        "image_id": 1,
                        "category_id": 3,
                        "segmentation": {"size": [32, 40], "counts": "T2`0P6"},
                    },
                ],
            },
        ),
        "labelme": (
            "a.json",
            {
                "version": "5.0",
                "imagePath": "a.png",
                "imageHeight": 32,
                "imageWidth": 40,
                "shapes": [
                    {"label": "road", "points": corners, "shape_type": "polygon"},
                    {"label": "sky", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"},
                    {"label": "sun", "points": [[9, 9], [12, 9]], "shape_type": "circle"},
                ],
            },
        ),
        "labelstudio": (
            "export.json",
            [
                {
                    "id": 1,
                    "data": {"image": "/data/upload/a.png"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "type": "polygonlabels",
                                    "original_width": 40,
                                    "original_height": 32,
                                    "value": {"points": corners, "polygonlabels": ["road"]},
                                },
                                {
                                    "type": "brushlabels",
                                    "original_width": 40,
                                    "original_height": 32,
                                    "value": {
                                        "format": "rle",
                                        "rle": [0, 0, 20, 0, 7, 8, 9, 200],
                                        "brushlabels": ["sky"],
                                    },
                                },
                            ]
                        }
                    ],
                }
            ],
        ),
    }
    found: dict[str, tuple[dict[str, bytes], tuple[Mutation, ...]]] = {
        name: ({file: json.dumps(tree).encode(), "a.png": image}, (json_nodes, plain(*JSON)))
        for name, (file, tree) in trees.items()
    }
    cvat = (
        b'<annotations><version>1.1</version><image id="0" name="a.png" width="40" height="32">'
        b'<polygon label="road" points="2,2;20,2;20,20" z_order="0"></polygon>'
        b'<mask label="sky" rle="5, 3, 4" left="1" top="2" width="4" height="3"></mask>'
        b"</image></annotations>"
    )
    found["cvat"] = ({"annotations.xml": cvat, "a.png": image}, (plain(*XML),))
    found["yolo"] = (
        {"labels/a.txt": b"0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.9 0.2 0.9 0.9\n"}
        | {"images/a.png": image, "data.yaml": b"names: [road, sky]\n"},
        (plain(*TEXT, b"1e999", b"nan", b"-1"),),
    )
    return found


def convert(folder: Path, changed: Path, name: str) -> None:
    """Convert a source of labels."""
    out = folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    convert_data(folder, out, format=name, workers=1)


def read_set(folder: Path, changed: Path) -> None:
    """Read a data set and its first pair."""
    config = read_data(folder)
    for split in ("train", "val"):
        find_pairs(config, split)
    data = open_dataset(config, "train")
    if len(data):
        data[0]


def surfaces() -> list[Surface]:
    """Return all ways in."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (32, 40, 3), np.uint8))
    grey = Image.fromarray(rng.integers(0, 2, (32, 40), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (32, 40), np.uint16))
    shipped = Path(sys.modules["topseg"].__file__ or "").parent / "shipped"
    metadata = (shipped / "topformer-tiny-camvid/metadata.json").read_bytes()
    recipe = (shipped / "recipes/topformer_tiny_camvid.yaml").read_bytes()
    weights = weight_files()
    pictures = {
        "a.png": saved(noise, "PNG"),
        "b.png": saved(deep, "PNG"),
        "c.png": saved(noise.convert("P"), "PNG", transparency=3),
        "d.jpg": saved(noise, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        "e.bmp": saved(noise, "BMP"),
        "f.gif": saved(noise.convert("P"), "GIF"),
        "g.webp": saved(noise, "WEBP"),
        "h.ppm": saved(noise, "PPM"),
        "i.jp2": saved(noise, "JPEG2000"),
    }
    tiffs = {
        "a.tif": saved(noise, "TIFF"),
        "b.tif": saved(deep, "TIFF"),
        "c.tif": saved(noise.convert("P"), "TIFF", compression="tiff_adobe_deflate"),
        "d.tif": saved(noise.convert("1"), "TIFF"),
        "e.tif": saved(grey, "TIFF", compression="tiff_deflate"),
    }
    array = io.BytesIO()
    np.save(array, np.ones((32, 40), np.uint8))
    masks = {
        "a.png": saved(grey, "PNG"),
        "b.png": saved(grey.convert("P"), "PNG"),
        "c.png": saved(grey.convert("1"), "PNG"),
        "d.npy": array.getvalue(),
        "e.tif": tiffs["e.tif"],
        "f.pgm": saved(grey, "PPM"),
    }
    dataset = {
        "dataset.yaml": b"classes: classes.txt\ntrain: train.txt\nval: [val.txt]\n"
        b"layout: list\nignore_index: 255\nlabel_map: {0: 0, 1: 1}\n",
        "classes.txt": b"road\nsky\n",
        "train.txt": b"images/a.png masks/a.png\n",
        "val.txt": b"images/a.png masks/a.png\n",
        "images/a.png": saved(noise, "PNG"),
        "masks/a.png": masks["a.png"],
    }
    archive = {
        "d/images/train/a.png": dataset["images/a.png"],
        "d/masks/train/a.png": masks["a.png"],
        "d/classes.txt": b"road\nsky\n",
    }
    read_mask = MaskReader(LABELS)

    def look(folder: Path, changed: Path) -> None:
        read_size(changed)
        read_image(changed, scale=1 / 257 if changed.stem == "b" else None)  # b has 16 bits

    def zipped(folder: Path, changed: Path) -> None:
        config = DataConfig(root=str(changed))
        if len(data := open_dataset(config, "train")):
            data[0]

    bytes_only = (plain(),)
    found = [
        Surface(
            "metadata.json of a bundle",
            {"metadata.json": metadata},
            {"metadata.json": (json_nodes, plain(*JSON))},
            lambda folder, changed: read_metadata(folder),
        ),
        Surface(
            "weights: safetensors",
            weights,
            {"w.safetensors": (header_nodes, plain(*JSON))},
            lambda folder, changed: read_weights(changed),
        ),
        Surface(
            "weights: pickles",
            weights,
            {
                "w.pdparams": (plain(*PICKLE),),
                "w.pth": (inner_pickle, plain()),
                "old.pt": (plain(*PICKLE),),
            },
            lambda folder, changed: read_weights(changed),
        ),
        Surface(
            "recipes",
            {"recipe.yaml": recipe},
            {"recipe.yaml": (yaml_nodes, plain(*YAML))},
            lambda folder, changed: read_recipe(changed),
        ),
        Surface(
            "overrides of a recipe",
            {"assignment": b"train.crop=[256, 320]", "recipe.yaml": recipe},
            {"assignment": (plain(*YAML, b"data.", b"=", b"optim.lr", b"model.name"),)},
            lambda folder, changed: read_recipe(
                folder / "recipe.yaml", [changed.read_text("utf-8", "replace")]
            ),
        ),
        Surface(
            "data sets: dataset.yaml, lists, class names",
            dataset,
            {
                "dataset.yaml": (yaml_nodes, plain(*YAML)),
                "train.txt": (plain(*TEXT),),
                "classes.txt": (plain(*TEXT),),
            },
            read_set,
        ),
        Surface("images", pictures, dict.fromkeys(pictures, bytes_only), look),
        Surface("images: TIFF", tiffs, dict.fromkeys(tiffs, bytes_only), look),
        Surface(
            "masks",
            masks,
            dict.fromkeys(masks, bytes_only),
            lambda folder, changed: read_mask(changed),
        ),
        Surface("data sets in a ZIP", {"d.zip": packed(archive)}, {"d.zip": bytes_only}, zipped),
    ]
    for name, (files, mutations) in label_files(pictures["a.png"]).items():
        first = next(iter(files))

        def run(folder: Path, changed: Path, name: str = name) -> None:
            convert(folder, changed, name)

        found.append(Surface(f"labels: {name}", files, {first: mutations}, run))
    return found


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def hang(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS:.0f} s")


def fuzz(surface: Surface, count: int, seed: int) -> dict[str, Any]:
    """Try mutations of one kind.

    Returns:
        How many were "read" and "refused", the slowest in seconds, and by how many MiB the most
        memory that the process ever held has grown.

    Raises:
        AssertionError: What must not be, with the number of the case.
    """
    ends: Counter[str] = Counter()
    longest = 0
    slowest, before = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, hang)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place) / "in"
        for number in range(count):
            rng = random.Random(f"{seed} {surface.name} {number}")
            name = rng.choice(sorted(surface.mutations))
            data = rng.choice(surface.mutations[name])(surface.files[name], rng)
            write(folder, {**surface.files, name: data})
            start = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
            faulthandler.dump_traceback_later(4 * LIMIT_SECONDS, exit=True)
            try:
                surface.read(folder, folder / name)
                ends["read"] += 1
            except InputError as error:
                ends["refused"] += 1
                longest = max(longest, len(str(error)))
            except BaseException as error:
                kind = type(error).__name__
                raise AssertionError(f"{surface.name}, case {number}: {kind}: {error}") from error
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < LIMIT_MIB, f"{surface.name}: {grown:.0f} MiB more"
    assert longest < LONGEST, f"{surface.name}: a message of {longest} characters"
    return {**ends, "slowest": slowest, "grown": grown}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from models import write_result

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=10_000, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surface", help="only kinds whose name has this")
    options = parser.parse_args()
    rows = ["| mutated | how many | read | refused | slowest, s | memory grown, MiB |"]
    rows.append("|---|---:|---:|---:|---:|---:|")
    for surface in surfaces():
        if options.surface is None or options.surface in surface.name:
            found = fuzz(surface, options.each, options.seed)
            ends = f"{found.get('read', 0)} | {found.get('refused', 0)}"
            rows.append(
                f"| {surface.name} | {options.each} | {ends} | {found['slowest']:.2f} | "
                f"{found['grown']:.0f} |"
            )
            print(rows[-1], flush=True)
    if options.surface is None:
        text = (
            "\n\nEvery file was read or refused by one InputError within five seconds; "
            '"refused" files got a line that says what is wrong.'
        )
        write_result("files_fuzz", "Mutated files", "\n".join(rows) + text)


if __name__ == "__main__":
    main()
