"""Which pictures to label next: those that the model is least sure of, as a list of files.

python examples/label_next.py MODEL PHOTOS [COUNT] > next.txt
"""

import sys
from pathlib import Path

import topseg

predictor = topseg.load(sys.argv[1])
count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
unsure = []
for photo in sorted(Path(sys.argv[2]).rglob("*.jpg")):
    certainty = predictor(photo, keep_logits=True).probability()  # (H, W), of the winning class
    unsure.append((float((certainty < 0.7).mean()), photo))

for share, photo in sorted(unsure, reverse=True)[:count]:
    print(photo)
    print(f"{100 * share:5.1f} % unsure: {photo}", file=sys.stderr)
