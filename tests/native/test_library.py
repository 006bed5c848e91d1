"""The library as others find it: the headers, the install tree, and the C interface from Python."""

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("topseg._native", reason="the extension was not built")

from builds import NATIVE, ROOT, Build, compiler

from topseg.bundle.bundle import read_bundle
from topseg.inference.predictor import Predictor
from topseg.runtimes.native import NativeRuntime

SHIPPED = ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]


def run(*words: object, cwd: Path | None = None) -> str:
    """Run a command that must not fail; return what it printed."""
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("language", "standard", "header"),
    [
        ("c", "c99", "topseg.h"),
        ("c", "c11", "topseg.h"),
        ("c++", "c++17", "topseg.h"),
        ("c++", "c++17", "topseg.hpp"),
    ],
)
def test_headers_are_strict(language: str, standard: str, header: str, tmp_path: Path) -> None:
    source = tmp_path / "includes"
    source.write_text(f"#include <{header}>\nint main(void) {{ return TOPSEG_OK; }}\n")
    words = [f"-std={standard}", *STRICT, "-I", NATIVE / "include", "-x", language, source]
    run(compiler("CXX" if language == "c++" else "CC"), *words)


def test_the_usage_at_the_headers_head_compiles(tmp_path: Path) -> None:
    header = (NATIVE / "include" / "topseg.h").read_text()
    lines = re.findall(r"^ \*     (.*)$", header[: header.index("*/")], re.MULTILINE)
    assert lines[0] == "#include <topseg.h>"
    body = "\n".join(lines[1:])
    source = tmp_path / "usage.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <topseg.h>\n"
        f"int use(const uint8_t* pixels, int height, int width);\n"
        f"int use(const uint8_t* pixels, int height, int width) {{\n{body}\nreturn mask[0];\n}}\n"
    )
    run(compiler("CC"), "-std=c11", *STRICT, "-I", NATIVE / "include", source)


@pytest.fixture(scope="module")
def street() -> NDArray[np.uint8]:
    image = cv2.imread(str(NATIVE / "tests" / "street.png"))
    return np.asarray(image[..., ::-1], np.uint8)


@pytest.fixture(scope="module")
def mask(street: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask of the picture by the Predictor."""
    runtime = NativeRuntime(read_bundle(SHIPPED), threads=1)
    return np.asarray(Predictor(runtime)(street).mask, np.uint8)


def test_example_finds_the_installed_package(
    install: Path, street: NDArray[np.uint8], mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    source = ROOT / "examples" / "cpp"
    run("cmake", "-S", source, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={install}")
    run("cmake", "--build", tmp_path / "build")
    cv2.imwrite(str(tmp_path / "street.ppm"), street[..., ::-1])
    words = (SHIPPED, tmp_path / "street.ppm", tmp_path / "mask.pgm")
    said = run(tmp_path / "build" / "segment", *words)
    assert said.startswith("the pixel in the middle is ")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "mask.pgm")), mask)


def test_installed_program_needs_nothing_else(install: Path, tmp_path: Path) -> None:
    program = shutil.copy(install / "bin" / "topseg-cli", tmp_path / "topseg-cli")
    assert "11 classes" in run(program, "info", SHIPPED)


def test_three_commands_of_the_readme(
    static: Build, mask: NDArray[np.uint8], tmp_path: Path
) -> None:
    blocks = re.findall(r"```\n(cmake .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (commands,) = ([line for line in block.splitlines() if line] for block in blocks)
    assert len(commands) == 3
    for command in commands:
        shown = command.replace("street.jpg", "native/tests/street.png")
        run("sh", "-c", shown.replace("--out masks", f"--out {tmp_path}"), cwd=ROOT)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "street.png")), mask)
    assert (tmp_path / "street_overlay.jpg").is_file()


def test_pkg_config_builds_a_program_in_c(install: Path, tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    elsewhere = tmp_path / "moved"
    shutil.copytree(install, elsewhere)  # an install tree may be moved
    (package,) = elsewhere.rglob("topseg.pc")
    flags = run("pkg-config", "--static", "--cflags", "--libs", package).split()
    assert f"-I{elsewhere}/include" in " ".join(flags).replace("/lib/pkgconfig/../..", "")
    source = tmp_path / "version.c"
    source.write_text(
        "#include <topseg.h>\n#include <stdio.h>\nint main(void) {\n"
        '    topseg_model* model;\n    topseg_status status = topseg_open("none", NULL, &model);\n'
        '    printf("%s %d %s", topseg_version(), status, topseg_error());\n    return 0;\n}\n'
    )
    run(compiler("CC"), source, *flags, "-o", tmp_path / "version")
    said = run(tmp_path / "version")
    assert said == "0.1.0 2 none/metadata.json: no such file, or it cannot be read"
