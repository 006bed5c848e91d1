"""Masks of a folder of pictures, and how much of them each class covers.

python examples/predict_folder.py MODEL PHOTOS OUT
"""

import sys
from collections import Counter
from pathlib import Path

import topseg

model, photos, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
predictor = topseg.load(model)
pixels: Counter[str] = Counter()
for photo in sorted(photos.rglob("*.jpg")):
    prediction = predictor(photo)
    prediction.save(out / photo.relative_to(photos).with_suffix(".png"))
    height, width = prediction.size
    for found in prediction.shares():
        pixels[found.name] += round(found.share * height * width)

for name, count in pixels.most_common():
    print(f"{100 * count / pixels.total():6.2f} %  {name}")
