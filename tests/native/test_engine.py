"""The compiled network: every code path gives torch's logits, for any shape and any threads."""

import copy
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")
_native = pytest.importorskip("topseg._native", reason="the extension was not built")
if not hasattr(_native, "open_model"):
    pytest.skip("the extension has no network on this system", allow_module_level=True)

from safetensors.torch import save  # noqa: E402

from golden.fill import INPUTS, golden_model, make_input  # noqa: E402
from topseg.bundle.metadata import InputConfig  # noqa: E402
from topseg.models import create_model  # noqa: E402
from topseg.models.normalize import Normalize  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
PATHS = _native.model_paths()
TOLERANCE = 5e-5  # of the logits' standard deviation


def metadata(name: str, classes: int, channels: int, pool: str, **changes: Any) -> str:
    """A metadata.json of schema 2 for one network."""
    tree = {
        "schema_version": 2,
        "architecture": {
            "name": name,
            "num_classes": classes,
            "in_channels": channels,
            "options": {"pool": pool},
        },
        "classes": [f"class {k}" for k in range(classes)],
        "palette": [[k % 256, 0, 0] for k in range(classes)],
        "input": {"mean": [0.4] * channels, "std": [0.2] * channels},
    }
    return json.dumps(tree | changes)


def lively(name: str, classes: int, channels: int, pool: str) -> Any:
    """A network with random weights whose statistics are those of its own maps."""
    torch.manual_seed(0)
    model = create_model(name, classes, in_channels=channels, pool=pool)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.6, 1.2)
            torch.nn.init.normal_(module.bias, std=0.3)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=0.1)
    with torch.no_grad():
        for _ in range(10):
            model.train()(torch.randn(2, channels, 128, 128))
    return model.eval()


def weights_of(model: Any, dtype: Any = None) -> bytes:
    """The model's weights as a safetensors file."""
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if dtype is not None:
        state = {k: v.to(dtype) if v.dtype == torch.float32 else v for k, v in state.items()}
    return bytes(save(state))


def run(model: object, images: NDArray[Any], classes: int, threads: int = 1) -> NDArray[np.float32]:
    batch, height, width, _ = images.shape
    logits = np.empty((batch, classes, height // 8, width // 8), np.float32)
    floats = images.dtype == np.float32
    _native.model_logits(model, images, (batch, height, width), floats, logits, threads, None)
    return logits


CASES = [
    ("topformer_tiny", 150, 3, "adaptive"),
    ("topformer_small", 19, 1, "adaptive"),
    ("topformer_base", 7, 5, "fixed"),
]
SIZES = [(1, 192, 160), (2, 64, 96), (1, 32, 32), (1, 32, 544), (3, 96, 64)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0])
def case(request: pytest.FixtureRequest) -> tuple[Any, tuple[str, int, int, str]]:
    return lively(*request.param), request.param


@pytest.mark.parametrize("path", PATHS)
def test_logits_are_those_of_float64(case: Any, path: str) -> None:
    model, (name, classes, channels, pool) = case
    config = InputConfig(mean=(0.4,) * channels, std=(0.2,) * channels)
    exact = torch.nn.Sequential(Normalize(config), copy.deepcopy(model)).double()
    native = _native.open_model(
        metadata(name, classes, channels, pool), weights_of(model), "weights", path
    )
    rng = np.random.default_rng(0)
    for batch, height, width in SIZES:
        images = rng.integers(0, 256, (batch, height, width, channels), np.uint8)
        with torch.no_grad():
            normal = Normalize(config)(torch.from_numpy(images)).double()
            expected = exact[1](normal).numpy()
        found = run(native, images, classes)
        assert np.abs(found - expected).max() < TOLERANCE * expected.std(), (height, width)
        for threads in (2, 3, 7):
            np.testing.assert_array_equal(run(native, images, classes, threads), found)
        as_floats = run(native, images.astype(np.float32), classes)
        np.testing.assert_array_equal(as_floats, found)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_logits_agree_with_the_reference(size: str, path: str) -> None:
    golden = np.load(GOLDEN / f"topformer_{size}.npz")
    name = f"topformer_{size}"
    plain = {"mean": [0.0] * 3, "std": [1 / 255] * 3}  # the golden inputs are normalised
    native = _native.open_model(
        metadata(name, 150, 3, "fixed", input=plain),
        weights_of(golden_model(name)),
        "weights",
        path,
    )
    for shape in ("1x3x256x384", "2x3x64x64", "1x3x512x512"):
        images = make_input(INPUTS[shape]).numpy().transpose(0, 2, 3, 1)
        logits = run(native, np.ascontiguousarray(images), 150)
        steps = tuple(slice(None, None, int(step)) for step in golden[f"{shape}/lowres_strides"])
        assert np.abs(logits[steps] - golden[f"{shape}/lowres_sample"]).max() < 2e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_half_precision_are_read(dtype: str) -> None:
    model = lively("topformer_tiny", 5, 3, "adaptive")
    text = metadata("topformer_tiny", 5, 3, "adaptive")
    native = _native.open_model(text, weights_of(model, getattr(torch, dtype)), "weights", "")
    rounded = copy.deepcopy(model)
    for tensor in rounded.state_dict().values():
        if tensor.dtype == torch.float32:
            tensor.copy_(tensor.to(getattr(torch, dtype)).float())
    same = _native.open_model(text, weights_of(rounded), "weights", "")
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(run(native, images, 5), run(same, images, 5))


def test_schema_1_is_read_too() -> None:
    model = lively("topformer_tiny", 5, 3, "adaptive")
    old = {"name": "topformer_tiny", "num_classes": 5, "in_channels": 3, "pool": "adaptive"}
    text = metadata("x", 5, 3, "x", schema_version=1, model=old, architecture=None)
    images = np.zeros((1, 64, 64, 3), np.uint8)
    first = _native.open_model(text, weights_of(model), "weights", "")
    second = _native.open_model(
        metadata("topformer_tiny", 5, 3, "adaptive"), weights_of(model), "weights", ""
    )
    np.testing.assert_array_equal(run(first, images, 5), run(second, images, 5))


def test_several_callers_at_once_get_their_own_answers() -> None:
    model = lively("topformer_tiny", 5, 3, "adaptive")
    native = _native.open_model(
        metadata("topformer_tiny", 5, 3, "adaptive"), weights_of(model), "weights", ""
    )
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, 64, 32 * (1 + i % 3), 3), np.uint8) for i in range(6)]
    expected = [run(native, image, 5) for image in images]
    found: dict[int, list[bool]] = {}

    def work(number: int) -> None:
        found[number] = [
            bool((run(native, images[number], 5, 2) == expected[number]).all()) for _ in range(20)
        ]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(all(found[i]) for i in range(len(images)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_threads_of_its_own(tmp_path: Path) -> None:
    model = lively("topformer_tiny", 5, 3, "adaptive")
    (tmp_path / "metadata.json").write_text(metadata("topformer_tiny", 5, 3, "adaptive"))
    (tmp_path / "weights").write_bytes(weights_of(model))
    script = """
import os, sys
import numpy as np
from topseg import _native
model = _native.open_model(open("metadata.json").read(), open("weights", "rb").read(), "w", "")
images, logits = np.zeros((1, 64, 96, 3), np.uint8), np.empty((2, 1, 5, 8, 12), np.float32)
_native.model_logits(model, images, (1, 64, 96), False, logits[0], 3, None)
if os.fork() == 0:
    del model  # frees it without waiting for threads that are not here
    os._exit(0)
os.wait()
child = os.fork()
_native.model_logits(model, images, (1, 64, 96), False, logits[1], 3, None)
if child == 0:
    os._exit(0 if (logits[0] == logits[1]).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


def test_wrong_files_are_named() -> None:
    model = lively("topformer_tiny", 5, 3, "adaptive")
    text, good = metadata("topformer_tiny", 5, 3, "adaptive"), weights_of(model)
    for changed, problem in [
        (text.replace("topformer_tiny", "resnet"), "architecture 'resnet' is not known"),
        (text.replace('"schema_version": 2', '"schema_version": 9'), "upgrade topseg"),
        (text[:-1], "not valid JSON at byte"),
        ("[" * 100, "nested too deeply"),
        (metadata("topformer_tiny", 6, 3, "adaptive"), r"conv_seg.weight: got shape \[5"),
    ]:
        with pytest.raises(ValueError, match=problem):
            _native.open_model(changed, good, "w.safetensors", "")
    for broken in (good[:4], good[:-100], b"\xff" * 8 + good[8:]):
        with pytest.raises(ValueError, match=r"w\.safetensors"):
            _native.open_model(text, broken, "w.safetensors", "")
    with pytest.raises(ValueError, match="code path 'sse9' is not to be had"):
        _native.open_model(text, good, "w.safetensors", "sse9")
    native = _native.open_model(text, good, "w.safetensors", "")
    with pytest.raises(TypeError, match="got None"):
        _native.model_logits(native, None, (1, 32, 32), False, None, 1, None)
    with pytest.raises(ValueError, match="expected multiples of 32"):
        run(native, np.zeros((1, 40, 64, 3), np.uint8), 5)
