"""The native engine beside PyTorch on CamVid: how far the logits are, and how many pixels differ.

    python benchmarks/engine_masks.py CAMVID

The packaged model on the validation images, at their own resolution. For each code path: the
largest error of the logits in standard deviations of the exact ones, which PyTorch computes in
float64, the share of pixels whose class is PyTorch's in float32, and the mIoU.
"""

import argparse
import copy
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models import write_result
from topseg import _native
from topseg.data.dataset import open_dataset
from topseg.evaluation.run import evaluate
from topseg.inference.hub import open_model
from topseg.inference.predictor import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.models.normalize import Normalize
from topseg.recipe import read_data
from topseg.runtimes.native import NativeRuntime
from topseg.runtimes.torch import open_torch

MODEL = "topformer-tiny-camvid"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    dataset = open_dataset(read_data(parser.parse_args().data, ["layout=camvid"]), "val")
    bundle = open_model(MODEL)
    single = open_torch(bundle, device="cpu", threads=2)
    double, normalize = copy.deepcopy(single.model).double(), Normalize(bundle.metadata.input)
    native = {path: NativeRuntime(bundle, threads=2, path=path) for path in _native.model_paths()}

    def exact(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        with torch.inference_mode():
            found: NDArray[np.float64] = double(normalize(torch.from_numpy(images)).double())
            return np.asarray(found)

    error, different, pixels = dict.fromkeys(native, 0.0), dict.fromkeys(native, 0), 0
    for index in range(len(dataset)):
        image = dataset[index].image
        size = image.shape[:2]
        height, width = bundle.metadata.resize.network_size(size)
        batch = cv2.resize(image, (width, height))[None]
        right, expected = exact(batch), upsample_argmax(single(batch)[0], size)
        pixels += expected.size
        for path, runtime in native.items():
            logits = runtime(batch)
            error[path] = max(error[path], float(np.abs(logits - right).max() / right.std()))
            different[path] += int((upsample_argmax(logits[0], size) != expected).sum())

    torch_miou = 100 * evaluate(Predictor(single), dataset).miou
    rows = [
        "| code path | largest error, standard deviations | pixels as PyTorch's | mIoU |",
        "|---|---|---|---|",
    ]
    for path, runtime in native.items():
        rows.append(
            f"| {path} | {error[path]:.1e} | {1 - different[path] / pixels:.5%} "
            f"| {100 * evaluate(Predictor(runtime), dataset).miou:.4f} |"
        )
    note = f"{MODEL}, {len(dataset)} images, {pixels} pixels; PyTorch's mIoU {torch_miou:.4f}."
    write_result("engine_masks", "The native engine's masks", "\n".join([*rows, "", note]))


if __name__ == "__main__":
    main()
