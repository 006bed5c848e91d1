"""Storage: a folder and an archive of it answer alike."""

import os
import shutil
from pathlib import Path

import pytest

from topseg.core import storage
from topseg.core.errors import InputError

KINDS = ("folder", "zip", "tar")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same files in a folder, a ZIP or a TAR."""
    source = tmp_path / "source"
    for name in ("images/a.jpg", "images/deep/b.jpg", "images/.hidden", "list.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "empty").mkdir()
    if request.param == "folder":
        return source
    return Path(shutil.make_archive(str(tmp_path / "packed"), request.param, source))


def test_alike(place: Path) -> None:
    assert storage.is_dir(place)
    assert storage.is_dir(place / "images/deep")
    assert storage.is_dir(place / "empty")
    assert not storage.is_dir(place / "list.txt")
    assert storage.is_file(place / "list.txt")
    assert not storage.is_file(place / "images")
    assert not storage.is_file(place / "no.txt")
    assert storage.exists(place)
    assert storage.exists(place / "images")
    assert storage.exists(place / "list.txt")
    assert not storage.exists(place / "no.txt")
    assert storage.subfolders(place) == ["empty", "images"]
    assert storage.subfolders(place / "images") == ["deep"]
    found = sorted(storage.walk(place, pytest.fail))
    assert found == [place / name for name in ("images/a.jpg", "images/deep/b.jpg", "list.txt")]
    assert [*storage.walk(place / "images/deep", pytest.fail)] == [place / "images/deep/b.jpg"]
    assert storage.read_bytes(place / "images/a.jpg") == b"images/a.jpg"
    with pytest.raises(InputError, match=r"no.txt: no such file"):
        storage.read_bytes(place / "no.txt")
    with pytest.raises(InputError, match=r"images: cannot be read as a file; it is a folder"):
        storage.read_bytes(place / "images")


def test_stamp_changes_with_the_file(place: Path) -> None:
    first = storage.stamp(place / "list.txt")
    assert storage.stamp(place / "list.txt") == first
    changed = place if place.is_file() else place / "list.txt"
    os.utime(changed, ns=(0, 12345))
    assert storage.stamp(place / "list.txt") != first
    with pytest.raises(InputError, match=r"no.txt: "):
        storage.stamp(place / "no.txt")


def test_home_is_the_one_folder_that_holds_all(tmp_path: Path) -> None:
    for name in ("top/inner/images/a", "top/inner/masks/a", "__MACOSX/top/._a", ".DS_Store"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).touch()
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "s"))
    assert storage.home(packed) == packed / "top/inner"
    assert storage.home(packed / "top/inner/images") == packed / "top/inner/images"
    assert storage.home(tmp_path) == tmp_path
    (tmp_path / "s/top/read.me").touch()
    packed = Path(shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path / "s"))
    assert storage.home(packed) == packed / "top"


def test_a_name_that_is_too_long_is_no_file() -> None:
    long = Path("a" * 5000)
    assert not storage.is_file(long)
    assert not storage.is_dir(long)
    assert not storage.exists(long)
