"""Tests of packages that are not installed skip.

A file of tests, or a folder's conftest, that imports an absent package of one of the extras is
skipped as a whole. `tests/conftest.py` registers this module: hooks of a conftest itself do not see
a folder below it fail.
"""

import importlib.util
import re
from collections.abc import Generator

import pytest

EXTRAS = {
    *("MNN", "ai_edge_litert", "av", "coremltools", "executorch", "fastapi", "google", "grpc"),
    *("imagecodecs", "litert_torch", "ncnn", "nncf", "onnx", "onnxruntime", "onnxscript"),
    *("cv2", "openvino", "pnnx"),
    *("prometheus_client", "rasterio", "ray", "starlette", "tensorboard", "torch", "uvicorn"),
}
"""Modules that come with an extra of pyproject.toml (the core's own never skip a test)."""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    missing = re.search(r"No module named '(\w+)", str(report.longrepr)) if report.failed else None
    if missing and missing[1] in EXTRAS and importlib.util.find_spec(missing[1]) is None:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"Skipped: {missing[1]} is not installed")
    return report
