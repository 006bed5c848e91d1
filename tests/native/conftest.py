"""What the tests of the program and the library share: builds, and an installed prefix."""

from pathlib import Path

import pytest
from builds import Build, cmake, make


@pytest.fixture(scope="session", params=["static", "aarch64"])
def build(request: pytest.FixtureRequest) -> Build:
    """The program without shared libraries, for this processor and for 64-bit ARM."""
    return make(request.param)


@pytest.fixture(scope="session")
def static() -> Build:
    """The program without shared libraries, for this processor."""
    return make("static")


@pytest.fixture(scope="session")
def install(static: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that the build was installed into."""
    prefix = tmp_path_factory.mktemp("prefix")
    done = cmake("--install", static.folder, "--prefix", prefix)
    assert done.returncode == 0, done.stderr
    return prefix


@pytest.fixture(scope="session")
def shared(static: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Link libtopseg as a shared library from the objects of the static one."""
    folder = tmp_path_factory.mktemp("shared")
    library = f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={folder}"
    done = cmake("-B", static.folder, "-DBUILD_SHARED_LIBS=ON", library)
    try:
        assert done.returncode == 0, done.stderr
        done = cmake("--build", static.folder, "--target", "topseg")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        cmake("-B", static.folder, "-DBUILD_SHARED_LIBS=OFF", "-UCMAKE_LIBRARY_OUTPUT_DIRECTORY")
    return folder / "libtopseg.so"
