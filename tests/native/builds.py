"""Builds of native/ by CMake's presets, for the tests of the program and the library."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "native"


@dataclass(frozen=True)
class Build:
    """A preset of CMake that was built, and how its programs run here."""

    preset: str
    folder: Path
    emulator: tuple[str, ...]

    def run(self, program: str, *words: object, data: bytes = b"", code: int = 0) -> bytes:
        """Run one of its programs; return what it printed, check its exit code."""
        command = [*self.emulator, str(self.folder / program), *map(str, words)]
        done = subprocess.run(command, input=data, capture_output=True, timeout=300)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout


def cmake(*words: object) -> subprocess.CompletedProcess[str]:
    """Run CMake in native/."""
    command = ["cmake", *map(str, words)]
    return subprocess.run(command, cwd=NATIVE, capture_output=True, text=True, timeout=1200)


def compiler(variable: str) -> str:
    """Return the compiler of C (``CC``) or C++ (``CXX``), or skip."""
    found = os.environ.get(variable) or {"CC": "cc", "CXX": "c++"}[variable]
    if shutil.which(found) is None:
        pytest.skip(f"{found} is not installed")
    return found


@cache
def make(preset: str) -> Build:
    """Configure and build a preset, or skip and name what is missing."""
    if platform.system() != "Linux":
        pytest.skip("static programs are built on Linux")
    emulator: tuple[str, ...] = ()
    if preset == "aarch64" and platform.machine() != "aarch64":
        emulator = ("qemu-aarch64",)
    for tool in ("cmake", "aarch64-linux-gnu-g++" if emulator else compiler("CXX"), *emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    configured = cmake("--preset", preset, "-DTOPSEG_WERROR=ON", "-DBUILD_SHARED_LIBS=OFF")
    if missing := re.search(r"Could NOT find (\w+)", configured.stdout):
        pytest.skip(f"{missing[1]} is not installed as a static library for {preset}")
    assert configured.returncode == 0, configured.stderr
    built = cmake("--build", "--preset", preset, "--parallel", os.cpu_count() or 1)
    assert built.returncode == 0, built.stdout + built.stderr
    return Build(preset, ROOT / "build" / f"native-{preset}", emulator)
