"""Files are written whole or not at all."""

import os
import sys
import threading
from pathlib import Path

import pytest

from topseg.core.errors import InputError
from topseg.core.files import atomic_path, find_images, read_json, sha256, write_json, write_text


def test_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as temporary:
        temporary.write_text("half \udc00")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_written_file_has_ordinary_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_folder_that_is_a_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write here"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_full_disk_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left"), atomic_path(tmp_path / "a"):
        raise OSError(28, os.strerror(28))


def test_json_and_hash(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2]}
    write_text(tmp_path / "abc", "abc")
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")
    write_text(tmp_path / "bad.json", "{")
    with pytest.raises(InputError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")


def test_images_are_found_in_order_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b.PNG", "sub/a.jpg", ".c.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)] == [
        "b.PNG",
        "sub/a.jpg",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_linked_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jfif").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "real")
    (tmp_path / "photos" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "broken.png").symlink_to(tmp_path / "gone.png")
    found = find_images(tmp_path / "photos")
    assert found == [tmp_path / "photos" / "linked" / "a.jfif"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_folders_that_link_to_each_other_are_entered_once_by_each_link(tmp_path: Path) -> None:
    for one, other in ("ab", "ba"):
        (tmp_path / one).mkdir()
        (tmp_path / one / "x.png").touch()
        (tmp_path / one / "on").symlink_to(tmp_path / other)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/on/x.png", "a/x.png", "b/on/x.png", "b/x.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_that_fork_at_every_step_are_not_all_combined(tmp_path: Path) -> None:
    for step in range(8):
        (tmp_path / str(step)).mkdir()
        for name in "lr":
            (tmp_path / str(step) / name).symlink_to(tmp_path / str(step + 1))
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "x.png").touch()
    first = tmp_path.joinpath("0", *"lllllll")
    assert find_images(tmp_path / "0") == [first / "l" / "x.png", first / "r" / "x.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_circle_of_links_far_away_is_not_walked_again(tmp_path: Path) -> None:
    for one, other in ("ab", "ba"):
        (tmp_path / "far" / one).mkdir(parents=True)
        (tmp_path / "far" / one / "x.png").touch()
        (tmp_path / "far" / one / "on").symlink_to(f"../{other}")
    (tmp_path / "photos").mkdir()
    for name in ("day", "night"):  # two names of one folder stay two
        (tmp_path / "photos" / name).symlink_to("../far/a")
    found = [
        path.relative_to(tmp_path / "photos").as_posix()
        for path in find_images(tmp_path / "photos")
    ]
    assert found == ["day/on/x.png", "day/x.png", "night/x.png"]


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.mov", "c.mov", "note", "out/d.png", "out/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    told: list[str] = []
    assert find_images(tmp_path, told.append, tmp_path / "out") == [tmp_path / "a.png"]
    assert told == [f"{tmp_path}: 3 other files passed over (2 of .mov, 1 of no suffix)"]


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    told: list[str] = []
    assert find_images(tmp_path, told.append) == []
    assert told == [f"{tmp_path / 'sub'}: cannot be read (Permission denied); passed over"]


def test_broken_links_and_pipes_are_told(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("a.tga", "b.apng", "c.J2K", *(f"x.{end}" for end in "abcdefghij")):
        (tmp_path / name).touch()
    said: list[str] = []
    found = find_images(tmp_path, said.append)
    assert [path.name for path in found] == ["a.tga", "b.apng", "c.J2K"]
    for name in ("broken.png", "pipe.jpg"):
        text = "cannot be read (a broken link, a device or a pipe); passed over"
        assert f"{tmp_path / name}: {text}" in said
    assert said[-1].startswith(f"{tmp_path}: 10 other files passed over (1 of .")
    assert said[-1].endswith(", and 2 more kinds)")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no umask")
def test_files_of_many_threads_have_the_rights_of_the_umask(tmp_path: Path) -> None:
    def write(thread: int) -> None:
        for number in range(300):
            write_text(tmp_path / f"{thread}_{number}", "x")

    before, interval = os.umask(0o027), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=write, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        assert os.umask(before) == 0o027
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
