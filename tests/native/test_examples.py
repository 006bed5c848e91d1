"""The examples with other engines: pre- and postprocessing by hand give nearly topseg's mask."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from builds import NATIVE, ROOT, compiler
from numpy.typing import NDArray
from PIL import Image

from topseg.bundle.bundle import read_bundle
from topseg.inference.predictor import Predictor
from topseg.runtimes.registry import open_runtime

EXAMPLES = ROOT / "examples"
SHIPPED = ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"
STREET = NATIVE / "tests" / "street.png"


@pytest.fixture(scope="module")
def mask() -> NDArray[np.uint8]:
    """The picture's mask by ONNX Runtime within topseg."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    runtime = open_runtime(read_bundle(SHIPPED), "onnx", device="cpu", threads=1)
    return np.asarray(Predictor(runtime)(STREET).mask, np.uint8)


def check(file: Path, mask: NDArray[np.uint8]) -> None:
    found = np.array(Image.open(file))
    assert found.shape == mask.shape
    assert (found == mask).mean() > 0.99


def configure(example: str, build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    compiler("CXX")
    command = ["cmake", "-S", str(EXAMPLES / example), "-B", str(build), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def build_and_run(build: Path) -> Path:
    """Build a configured example, run it on the picture, and return the mask's file."""
    done = subprocess.run(["cmake", "--build", str(build)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    picture, out = build / "street.ppm", build / "mask.pgm"
    cv2.imwrite(str(picture), cv2.imread(str(STREET)))
    words = [str(build / "segment"), str(SHIPPED), str(picture), str(out)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return out


def test_onnx_runtime_in_python(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    script, out = EXAMPLES / "onnxruntime" / "predict.py", tmp_path / "mask.png"
    subprocess.run([sys.executable, script, SHIPPED, STREET, out], check=True, timeout=300)
    check(out, mask)


def test_openvino_in_cpp(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        pytest.skip("openvino is not installed")
    folder = Path(found.origin).parent / "cmake"
    done = configure("openvino", tmp_path, f"-DOpenVINO_DIR={folder}")
    assert done.returncode == 0, done.stderr
    check(build_and_run(tmp_path), mask)


def test_onnx_runtime_in_cpp(mask: NDArray[np.uint8], tmp_path: Path) -> None:
    place = os.environ.get("ONNXRUNTIME", "")
    done = configure("onnxruntime", tmp_path, f"-DONNXRUNTIME={place}")
    if "Could not find ONNXRUNTIME_" in done.stderr:
        pytest.skip("ONNX Runtime's C++ headers are not installed (ONNXRUNTIME=folder names them)")
    assert done.returncode == 0, done.stderr
    check(build_and_run(tmp_path), mask)
