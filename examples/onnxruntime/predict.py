"""A mask with ONNX Runtime alone: python predict.py BUNDLE photo.jpg mask.png."""

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
