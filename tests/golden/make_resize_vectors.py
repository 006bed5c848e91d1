"""Write resize_vectors.json, the table that Python, C++ and JavaScript are all held to.

Run it as ``python tests/golden/make_resize_vectors.py`` (needs torch). It does not use topseg:

* ``network_sizes``: (height, width) of an image -> of the network's input, by PaddleSeg's rule
  ``Resize(target_size=[2048, short], keep_ratio=True, size_divisor=32)``.
* ``axes``: for every pixel of a resized axis the lower sample and the weight of the next one, read
  off ``torch.nn.functional.interpolate`` (``bilinear``, ``align_corners=False``).
* ``masks``: float32 logits (classes, height, width), flat, and the argmax of their interpolation.
  ``null`` is NaN, 1e39 is infinity in float32; both have their answer in native/topseg/tail.hpp.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

AXES = [(1, 1), (1, 5), (4, 4), (4, 9), (5, 40), (9, 4), (16, 3), (7, 23), (17, 129)]
SHAPES = [  # classes, height, width, mask height, mask width
    (1, 2, 3, 4, 5),
    (2, 1, 1, 3, 2),
    (3, 4, 5, 32, 40),
    (5, 6, 4, 11, 19),
    (7, 9, 8, 4, 3),
    (4, 5, 5, 5, 5),
    (6, 3, 7, 40, 2),
    (260, 3, 2, 9, 7),
]


def network_size(height: int, width: int, short: int = 512, longest: int = 2048) -> list[int]:
    scale = min(longest / max(height, width), short / min(height, width))
    return [-(-round(side * scale) // 32) * 32 for side in (height, width)]


def number(value: np.float32) -> float | None:
    """Return the shortest decimal that rounds to the float32; see above for NaN and infinity."""
    if np.isnan(value):
        return None
    return float(str(value)) if np.isfinite(value) else float(np.sign(value)) * 1e39


def axis(samples: int, pixels: int) -> dict[str, Any]:
    one_hot = torch.eye(samples)[None, :, None, :]
    weights = interpolate(one_hot, size=(1, pixels), mode="bilinear")[0, :, 0].numpy()
    low = (weights > 0).argmax(axis=0)
    high = np.minimum(low + 1, samples - 1)
    weight = np.where(high > low, weights[high, np.arange(pixels)], 0)
    return {
        "samples": samples,
        "pixels": pixels,
        "low": low.tolist(),
        "weight": [number(value) for value in weight],
    }


def mask(logits: np.ndarray, size: tuple[int, int], note: str) -> dict[str, Any]:
    finite = np.nan_to_num(logits.astype(np.float64), nan=-1e38, posinf=1e38, neginf=-1e38)
    values = interpolate(torch.from_numpy(finite)[None], size=size, mode="bilinear")[0]
    return {
        "note": note,
        "shape": list(logits.shape),
        "logits": [number(value) for value in logits.ravel()],
        "size": list(size),
        "mask": values.argmax(dim=0).flatten().tolist(),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    masks = []
    for classes, height, width, *size in SHAPES:
        # Multiples of 1/1000 keep the table short; no two classes come near each other by chance.
        logits = rng.normal(0, 3, (classes, height, width)).round(3).astype(np.float32)
        masks.append(mask(logits, (size[0], size[1]), "random"))
    masks.append(mask(np.ones((3, 2, 2), np.float32), (5, 6), "equal classes: the lowest"))
    broken = rng.normal(0, 3, (4, 3, 3)).round(3).astype(np.float32)
    broken[1, 1, 1], broken[2, 0, 0], broken[3, 2, 2] = np.nan, np.inf, -np.inf
    masks.append(mask(broken, (3, 3), "NaN and infinity, at the samples"))
    masks.append(mask(np.full((2, 1, 2), np.nan, np.float32), (2, 3), "all NaN: class 0"))
    images = [(512, 683), (375, 500), (683, 512), (480, 640), (256, 256), (1200, 300), (2000, 700)]
    table = {
        "network_sizes": [
            {
                "rule": {"short_side": 512, "max_long_side": 2048, "multiple": 32, "round": "up"},
                "size": list(size),
                "network": network_size(*size),
            }
            for size in images
        ],
        "axes": [axis(*pair) for pair in AXES],
        "masks": masks,
    }
    lines = [
        f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for key, rows in table.items()
    ]
    path = Path(__file__).with_name("resize_vectors.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
