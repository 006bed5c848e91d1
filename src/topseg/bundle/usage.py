"""Usage: the lines on a bundle's card that bring its masks into other programs.

The script for ONNX Runtime is `examples/onnxruntime/predict.py`, word by word, but for masks of 16
bits above 255 classes.
"""

from __future__ import annotations

from collections.abc import Iterator

from topseg.bundle.metadata import Metadata

PYTHON = """import topseg
mask = topseg.load("{name}")("photo.jpg").mask   # (H, W), the photo's own size"""

CPP = """#include <topseg.hpp>
const topseg::Model model("{name}");
const topseg::Mask mask = model.mask({{pixels, height, width, 0}});   // rows of RGB bytes in
const int index = mask.at(y, x);                                     // a class's index out"""

ONNXRUNTIME = '''"""A mask with ONNX Runtime alone: python predict.py BUNDLE photo.jpg mask.png."""

import json
import sys

import cv2
import numpy as np
import onnxruntime

bundle, photo, target = sys.argv[1:]
with open(f"{bundle}/metadata.json", encoding="utf-8") as file:
    rule = json.load(file)["resize"]
session = onnxruntime.InferenceSession(f"{bundle}/model.onnx")

image = cv2.cvtColor(cv2.imread(photo), cv2.COLOR_BGR2RGB)  # (H, W, 3) bytes
height, width = image.shape[:2]
short = rule["short_side"] or min(height, width)
scale = min(rule["max_long_side"] / max(height, width), short / min(height, width))
m = rule["multiple"]  # sides become multiples of it; "up": rounded up
shift = m - 1 if rule["round"] == "up" else m // 2
h, w = (max(1, (round(side * scale) + shift) // m) * m for side in (height, width))
batch = cv2.resize(image, (w, h))[None]  # bytes: normalisation is part of the graph
logits = session.run(None, {"images": batch})[0][0]  # (K, h / 8, w / 8)
full = [cv2.resize(plane, (width, height)) for plane in logits]  # topseg's tail: 100 times faster
cv2.imwrite(target, np.argmax(full, axis=0).astype(np.uint8))
'''


def usage_lines(name: str, metadata: Metadata) -> Iterator[str]:
    """Yield the card's code: Python, a shell and C++ without Python, ONNX Runtime alone.

    Args:
        name: The bundle's folder.
        metadata: What the bundle is; without an ONNX graph of RGB bytes the last one is left out.
    """
    yield from _code("python", PYTHON.format(name=name))
    yield "Without Python, for the networks that topseg's own engine knows (all of TopFormer's):"
    yield ""
    yield from _code("", f"topseg-cli predict {name} photo.jpg --out masks")
    yield from _code("cpp", CPP.format(name=name))
    bytes_in = metadata.input_dtype == "uint8" and metadata.architecture.in_channels == 3
    if "onnx" in metadata.graphs and bytes_in:
        script = ONNXRUNTIME.rstrip()
        if metadata.architecture.num_classes > 255:
            script = script.replace("uint8", "uint16")
        yield "Without topseg:"
        yield ""
        yield from _code("python", script)


def _code(language: str, code: str) -> Iterator[str]:
    yield f"```{language}"
    yield from code.splitlines()
    yield from ("```", "")
