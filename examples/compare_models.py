"""Two models on the same images: scores, speed, and whether the difference is more than chance.

python examples/compare_models.py MODEL_A MODEL_B DATA
"""

import sys
from pathlib import Path

import numpy as np

import topseg
from topseg.evaluation.comparison import compare
from topseg.recipe import read_data

a, b = (topseg.load(name) for name in sys.argv[1:3])
found = compare(a, b, topseg.open_dataset(read_data(Path(sys.argv[3])), "val"))
for name, miou, seconds in zip(sys.argv[1:3], found.miou, found.seconds, strict=True):
    print(f"{name}: mIoU {100 * miou:.2f} %, {1000 * np.median(seconds):.1f} ms an image")
print(found.verdict())

# Where they differ most is where to look.
for index in np.argsort(-found.disagreement)[:3]:
    print(f"{found.images[index]}: {100 * found.disagreement[index]:.1f} % of the pixels differ")
