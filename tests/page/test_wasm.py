"""The engine as WebAssembly in node: the checked-in modules, and their masks beside Python's."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scripts import NODE, node

from topseg import __version__
from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.published import SHIPPED
from topseg.inference.predictor import Predictor
from topseg.serve.page.files import FOLDER
from topseg.synthetic.scenes import draw_scene

NATIVE = Path(__file__).parents[2] / "native"
ENGINE = FOLDER / "engine"
MODULES = ("topseg.wasm", "topseg_relaxed.wasm", "topseg_threads.wasm")

in_node = pytest.mark.skipif(NODE is None, reason="node is not installed")

# The first data are the module, metadata.json and weights.safetensors.
OPEN = """
    const [wasm, metadata, weights, ...rest] = data.map((bytes) => new Uint8Array(bytes));
    const engine = await page.Engine.load(wasm);
    const model = engine.open(metadata, weights);
"""


def bytes_of(path: Path) -> NDArray[np.uint8]:
    return np.frombuffer(path.read_bytes(), np.uint8)


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return read_bundle(next(iter(SHIPPED.values())))


@pytest.fixture(scope="module")
def opened(shipped: Bundle) -> list[NDArray[np.uint8]]:
    """What OPEN takes."""
    metadata = shipped.folder / "metadata.json"
    return [bytes_of(ENGINE / "topseg.wasm"), bytes_of(metadata), bytes_of(shipped.weights)]


@pytest.fixture(scope="module")
def portable(shipped: Bundle) -> Predictor:
    """Python on the code path that computes as WebAssembly does: four lanes, nothing fused."""
    native = pytest.importorskip("topseg._native", reason="the extension was not built")
    if "portable" not in getattr(native, "model_paths", list)():
        pytest.skip("every code path of this processor fuses products and sums")
    from topseg.runtimes.native import NativeRuntime

    return Predictor(NativeRuntime(shipped, path="portable"))


def sums(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Of SHA256SUMS the toolchain, and the hash of each module."""
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    hashes = [line.split() for line in lines if not line.startswith("#")]
    return [line for line in lines if line.startswith("#")], {name: one for one, name in hashes}


def test_modules_are_those_of_the_list() -> None:
    listed = sums(ENGINE)[1]
    assert tuple(listed) == MODULES
    for name, digest in listed.items():
        assert hashlib.sha256((ENGINE / name).read_bytes()).hexdigest() == digest


@pytest.mark.skipif(shutil.which("clang++-19") is None, reason="clang++-19 is not installed")
def test_modules_are_what_the_sources_give(tmp_path: Path) -> None:
    build = [NATIVE / "wasm" / "build.sh", tmp_path]
    run = subprocess.run(build, capture_output=True, text=True, check=False, timeout=600)
    if run.returncode and "wasm32" in run.stderr:
        pytest.skip(f"no libraries for wasm32: {run.stderr.splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    (tools, built), (listed_tools, listed) = sums(tmp_path), sums(ENGINE)
    if tools != listed_tools:
        pytest.skip(f"another toolchain, which may give other bytes: {tools}")
    assert built == listed, "the sources have changed: run native/wasm/build.sh"


@in_node
def test_masks_of_fifty_images_are_those_of_python(
    opened: list[NDArray[np.uint8]], portable: Predictor
) -> None:
    rng = np.random.default_rng(0)
    images = []
    for index in range(50):
        scene = draw_scene(3, index).image
        height, width = rng.integers(64, [193, 257]).tolist()
        images.append(np.ascontiguousarray(scene[:height, :width]))
    code = f"""{OPEN}
        const sizes = {json.dumps([image.shape for image in images])};
        sizes.forEach(([height, width], i) => put(model.mask({{ data: rest[i], height, width }})));
    """
    found = np.frombuffer(node("engine/index.js", code, *opened, *images), np.uint8)
    expected = [portable(image).mask for image in images]
    assert len(np.unique(np.concatenate([mask.ravel() for mask in expected]))) > 5
    np.testing.assert_array_equal(found, np.concatenate([mask.ravel() for mask in expected]))


@in_node
def test_stages_of_one_image_are_those_of_python(
    opened: list[NDArray[np.uint8]], portable: Predictor
) -> None:
    image = draw_scene(3, 0).image
    rgba = np.dstack([image, np.full(image.shape[:2], 77, np.uint8)])  # as a canvas has it
    inputs = portable.prepare(image)
    logits = portable.run(inputs)
    code = f"""{OPEN}
        const image = {{ data: rest[0], height: {image.shape[0]}, width: {image.shape[1]} }};
        const own = model.networkSize([image.height, image.width]);
        const prepared = model.prepare(image);
        const logits = model.logits(prepared, own);
        const cells = own.map((side) => side / model.stride);
        put(prepared);
        put(new Uint8Array(logits.buffer));
        put(model.finish(logits, cells, [100, 70]));
        put(engine.resize(image, own));
        put(engine.upsampleArgmax(logits, [model.classes.length, ...cells], [100, 70]));
    """
    found = node("engine/index.js", code, *opened, rgba)
    mask = portable.finish(logits, (100, 70)).mask
    parts = [inputs.arrays[0], logits, mask, inputs.arrays[0], mask]
    assert found == b"".join(part.tobytes() for part in parts)


@in_node
def test_description_is_the_metadatas(opened: list[NDArray[np.uint8]], shipped: Bundle) -> None:
    code = f"""{OPEN}
        put(Buffer.from(JSON.stringify({{ ...model, version: engine.version }})));
        model.close();
    """
    about = json.loads(node("engine/index.js", code, *opened))
    metadata = shipped.metadata
    assert about["architecture"] == metadata.architecture.name
    assert [one["name"] for one in about["classes"]] == list(metadata.classes)
    assert [tuple(one["color"]) for one in about["classes"]] == list(metadata.palette)
    assert (about["channels"], about["stride"], about["ignoreIndex"]) == (3, 8, 255)


@in_node
def test_errors_have_a_text_and_the_engine_goes_on(
    opened: list[NDArray[np.uint8]], shipped: Bundle
) -> None:
    code = f"""{OPEN}
        const words = (work) => {{ try {{ work(); }} catch (error) {{ return error.message; }} }};
        const other = JSON.parse(new TextDecoder().decode(metadata));
        other.classes.push("one more");
        const found = [
          words(() => engine.open("[", weights)),
          words(() => engine.open(JSON.stringify(other), weights)),
          words(() => engine.open(metadata, weights.subarray(0, 100))),
          words(() => model.logits(new Uint8Array(33 * 32 * 3), [33, 32])),
          words(() => model.mask({{ data: new Uint8Array(5), height: 2, width: 2 }})),
        ];
        for (let i = 0; i < 100; i++) words(() => engine.open("[", weights));
        found.push(model.logits(new Uint8Array(32 * 32 * 3), [32, 32]).length);
        put(Buffer.from(JSON.stringify(found)));
    """
    found = json.loads(node("engine/index.js", code, *opened))
    assert "metadata.json: not valid JSON at byte 1" in found[0]
    assert "metadata.json: classes: got 12 items, expected 11" in found[1]
    assert "weights.safetensors: a wrong header length" in found[2]
    assert "got 1 of 33x32 (height x width), expected multiples of 32" in found[3]
    assert found[4] == "image: got 5 values, expected 2 x 2 x 3"
    assert found[5] == shipped.metadata.architecture.num_classes * 16


def test_package_is_complete() -> None:
    package = json.loads((ENGINE / "package.json").read_text())
    assert (package["name"], package["version"]) == ("topseg", __version__)
    there = {path.name for path in ENGINE.iterdir()}
    assert there == {*package["files"], "package.json", "SHA256SUMS"}


@in_node
def test_types_name_what_there_is(opened: list[NDArray[np.uint8]]) -> None:
    code = f"""{OPEN}
        const names = (one) => [
          ...Object.keys(one), ...Object.getOwnPropertyNames(Object.getPrototypeOf(one)),
        ];
        const statics = Object.getOwnPropertyNames(page.Engine).filter((name) => name !== "length");
        put(Buffer.from(JSON.stringify([...names(engine), ...statics, ...names(model)])));
    """
    there = set(json.loads(node("engine/index.js", code, *opened)))
    types = (ENGINE / "index.d.ts").read_text()
    declared = set(re.findall(r"^  (?:static )?(?:readonly )?(\w+)[(:]", types, re.MULTILINE))
    fields_of_arguments = {"data", "width", "height"}
    fields_of_arguments |= {"short_side", "max_long_side", "multiple", "round"} - there
    assert declared - fields_of_arguments == there - {"constructor", "name", "prototype"}
