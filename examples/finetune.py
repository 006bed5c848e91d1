"""The packaged model fine-tuned on a folder of your own images and masks, and what it learned.

python examples/finetune.py PHOTOS RUN [key=value ...]

PHOTOS has images/{train,val}, masks/{train,val} and classes.txt or dataset.yaml.
"""

import sys

import topseg

photos, run, *changes = sys.argv[1:]
report = topseg.check(photos)
if report.errors:
    sys.exit(str(report))

topseg.train("finetune", run, [f"data.root={photos}", *changes])
scores = topseg.evaluate(run)
print(scores)
worst = sorted(zip(scores.iou, scores.names, strict=True))[:3]
print("look at these first:", ", ".join(f"{name} {100 * iou:.1f} %" for iou, name in worst))
