"""topseg-cli as one static file, for this processor and for 64-bit ARM (there under qemu-user)."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

_native = pytest.importorskip("topseg._native", reason="the extension was not built")

from builds import NATIVE, Build  # noqa: E402

from topseg.bundle.bundle import Bundle, read_bundle, write_metadata  # noqa: E402
from topseg.bundle.metadata import WEIGHTS, Architecture, InputConfig, Metadata  # noqa: E402
from topseg.cli import main  # noqa: E402
from topseg.core.geometry import ResizeRule  # noqa: E402
from topseg.core.labels import default_palette  # noqa: E402
from topseg.inference.predictor import Predictor  # noqa: E402
from topseg.runtimes.native import NativeRuntime  # noqa: E402
from topseg.synthetic.scenes import draw_scene  # noqa: E402

TESTS = Path(__file__).parents[1]
SHIPPED = TESTS.parent / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"
MAX_BYTES = 3_000_000
SCENES = 50


def paths(build: Build) -> list[str]:
    """The code paths of a build that run here."""
    return ["neon"] if build.emulator else list(_native.model_paths())


def test_program_is_small_and_needs_no_library(build: Build) -> None:
    program = (build.folder / "topseg-cli").read_bytes()
    assert len(program) < MAX_BYTES
    # ELF's program headers: 2 and 3 name libraries and the loader that finds them.
    start, (size, count) = (
        *struct.unpack_from("<Q", program, 32),
        struct.unpack_from("<HH", program, 54),
    )
    kinds = {struct.unpack_from("<I", program, start + i * size)[0] for i in range(count)}
    assert 1 in kinds
    assert not kinds & {2, 3}


def test_own_tests_of_cmake(build: Build) -> None:
    command = ["ctest", "--preset", build.preset]
    command += ["--exclude-regex", "bench"] if build.emulator else []  # minutes under qemu
    done = subprocess.run(command, cwd=NATIVE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed, 0 tests failed" in done.stdout


def test_tail_gives_the_table_of_masks(build: Build) -> None:
    table = json.loads((TESTS / "golden" / "resize_vectors.json").read_text())
    lines = []
    for row in table["masks"]:
        logits = ["nan" if value is None else value for value in row["logits"]]
        lines.append(" ".join(map(str, [*row["shape"], *row["size"], *logits, *row["mask"]])))
    said = build.run("tests/tail", data="\n".join(lines).encode()).decode()
    assert said == f"{len(lines)} rows of the table\nok\n"


@pytest.fixture(scope="module", params=["topformer_tiny", "topformer_base"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with the golden weights, whose input is normalised already."""
    pytest.importorskip("torch", reason="torch is not installed")
    from safetensors.torch import save_file

    from golden.fill import golden_model

    folder = tmp_path_factory.mktemp(request.param)
    save_file(golden_model(request.param).state_dict(), folder / WEIGHTS)
    classes = 150
    metadata = Metadata(
        architecture=Architecture(
            name=request.param,
            num_classes=classes,
            in_channels=3,
            options={"pool": "fixed"},
        ),
        classes=tuple(f"class {k}" for k in range(classes)),
        palette=tuple(default_palette(classes)),
        input=InputConfig(mean=(0.0,) * 3, std=(1 / 255,) * 3),
        resize=ResizeRule(),
    )
    return write_metadata(folder, metadata)


@pytest.mark.parametrize("shape", ["1x3x256x384", "2x3x64x64", "1x3x512x512"])
def test_logits_agree_with_the_reference(build: Build, golden: Bundle, shape: str) -> None:
    from golden.fill import INPUTS, make_input

    numbers = np.load(TESTS / "golden" / f"{golden.metadata.architecture.name}.npz")
    steps = tuple(slice(None, None, int(step)) for step in numbers[f"{shape}/lowres_strides"])
    expected = numbers[f"{shape}/lowres_sample"]
    images = np.ascontiguousarray(make_input(INPUTS[shape]).numpy().transpose(0, 2, 3, 1))
    batch, height, width, _ = images.shape
    portable = NativeRuntime(golden, path=_native.model_paths()[-1], threads=2)(images)
    for path in paths(build):
        words = (golden.folder, path, batch, height, width)
        printed = build.run("tests/logits", *words, data=images.tobytes())
        logits = np.frombuffer(printed, np.float32).reshape(portable.shape)
        assert np.abs(logits[steps] - expected).max() < 2e-5
        assert np.abs(logits - portable).max() < 5e-5 * portable.std()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The packaged model for images at their own size."""
    folder = tmp_path_factory.mktemp("own") / "bundle"
    shutil.copytree(SHIPPED, folder)
    rule = ResizeRule(short_side=None, multiple=32)
    return write_metadata(folder, replace(read_bundle(SHIPPED).metadata, resize=rule, graphs={}))


def test_bench_of_the_program_stands_in_one_table(
    static: Build, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, measured = NATIVE / "tests" / "street.png", tmp_path / "phone.json"
    words = ["bench", bundle.folder, photo, "--seconds", "0", "--json-file", measured]
    static.run("topseg-cli", *words)
    tree = json.loads(measured.read_text())
    tree["measurements"][0]["machine"] = "a phone"
    measured.write_text(json.dumps(tree))
    words = ["bench", bundle.folder, "--image", photo, "--runtimes", "native", "--seconds", "0"]
    words += ["--size", "64x64", "--import", measured, "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    printed = capsys.readouterr().out
    assert "2. a phone\n" in printed
    assert "| 2 | topseg-cli " in printed
    here, there = json.loads((tmp_path / "out" / "bench.json").read_text())["measurements"]
    assert list(here) == list(there)
    assert (here["runtime"], there["runtime"]) == ("native", "topseg-cli")
    assert there["repeats"] == 10
    assert there["total"]["minimum"] >= sum(t["minimum"] for t in there["stages"].values())


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fifty drawn scenes as PNG, and one with the same as JPEG."""
    folder = tmp_path_factory.mktemp("scenes")
    for kind in ("png", "jpg"):
        (folder / kind).mkdir()
    for i in range(SCENES):
        size = (96 + 16 * (i % 3), 64 + 16 * (i % 5))
        scene = cv2.resize(draw_scene(0, i).image, size, interpolation=cv2.INTER_AREA)
        for kind in ("png", "jpg"):
            cv2.imwrite(str(folder / kind / f"{i:02}.{kind}"), scene[..., ::-1])
    return folder


def masks_of_python(bundle: Bundle, images: Path, path: str) -> list[NDArray[np.uint8]]:
    predictor = Predictor(NativeRuntime(bundle, path=path, threads=1))
    return [predictor(file).mask.astype(np.uint8) for file in sorted(images.iterdir())]


def masks_of_program(
    build: Build, bundle: Bundle, images: Path, path: str, out: Path
) -> list[NDArray[np.uint8]]:
    build.run("topseg-cli", "predict", bundle.folder, images, "--out", out, "--code-path", path)
    return [np.array(Image.open(file)) for file in sorted(out.iterdir())]


def agreement(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]]) -> float:
    """The share of all pixels that have one class in both."""
    assert [mask.shape for mask in a] == [mask.shape for mask in b]
    equal = sum(int((x == y).sum()) for x, y in zip(a, b, strict=True))
    return equal / sum(mask.size for mask in a)


def test_masks_are_those_of_python(
    build: Build, bundle: Bundle, scenes: Path, tmp_path: Path
) -> None:
    images = scenes / "png"
    for path in paths(build):
        expected = masks_of_python(bundle, images, "" if path == "neon" else path)
        assert len(expected) == SCENES
        assert len(np.unique(np.concatenate([mask.ravel() for mask in expected]))) > 4
        share = agreement(masks_of_program(build, bundle, images, path, tmp_path / path), expected)
        assert share >= 0.9999 if build.emulator else share == 1


def test_masks_of_jpeg_differ_where_decoders_do(
    static: Build, bundle: Bundle, scenes: Path, tmp_path: Path
) -> None:
    images, path = scenes / "jpg", _native.model_paths()[0]
    found = masks_of_program(static, bundle, images, path, tmp_path / "out")
    # Both decoders are libjpeg-turbo: with the versions seen so far no pixel differs.
    assert agreement(found, masks_of_python(bundle, images, path)) > 0.99


def test_no_image_is_overwritten(static: Build, bundle: Bundle, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.jpg", "b_overlay.jpg"):
        Image.fromarray(draw_scene(0, 0).image).save(photos / name)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    predict = ("topseg-cli", "predict", bundle.folder)
    static.run(*predict, photos, "--out", photos, code=2)
    (tmp_path / "link").symlink_to(photos)
    static.run(*predict, photos / "a.png", "--out", tmp_path / "link", code=2)
    both = (photos / "b.jpg", photos / "b_overlay.jpg")
    static.run(*predict, *both, "--overlay", "--out", photos, code=2)
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before
    for _ in range(2):  # the masks of the first time are no images of the second
        static.run(*predict, photos, "--out", photos / "masks")
    assert sorted(path.name for path in photos.rglob("*.png")) == [
        *("a.png", "a.png", "b.png", "b_overlay.png")
    ]
