"""Archives: what is read from one, and each hostile one by its own line."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from topseg.core import archives
from topseg.core.archives import open_archive, split
from topseg.core.errors import InputError


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return path


def tarred(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=kind) as file:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return path


def read_all(path: Path) -> dict[str, bytes]:
    archive = open_archive(str(path))
    return {name: archive.read(name) for name in archive.members}


FILES = {"images/a.jpg": b"a" * 1000, "images/deep/b.jpg": bytes(range(256)), "empty": b""}
LONG = "/".join(["a folder with a long name"] * 6) + "/ä.jpg"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "x.zip", {**FILES, LONG: b"1"}, method)
    assert read_all(path) == {**FILES, LONG: b"1"}
    assert {"", "images", "images/deep"} < open_archive(str(path)).folders


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar(tmp_path: Path, kind: int) -> None:
    names = {f"./{name}": data for name, data in FILES.items()}
    long = {} if kind == tarfile.USTAR_FORMAT else {LONG: b"1"}
    path = tarred(tmp_path / "x.tar", names | long, kind)
    assert read_all(path) == FILES | long
    assert {"", "images", "images/deep"} <= open_archive(str(path)).folders


def test_zip64(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file, file.open("a", "w", force_zip64=True) as member:
        member.write(b"wide")
    assert open_archive(str(path)).read("a") == b"wide"
    # The sizes and the place stand in the extra field of the directory, as beyond 4 GiB.
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    header = bytearray(data[at : at + 46])
    extra = struct.pack("<HHQQQ", 1, 24, 4, 4, 0)
    header[20:28], header[42:46] = b"\xff" * 8, b"\xff" * 4
    header[30:32] = struct.pack("<H", len(extra))
    directory = bytes(header) + b"a" + extra
    end64 = struct.pack(
        "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), at
    ) + struct.pack("<4sIQI", b"PK\6\7", 0, at + len(directory), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(data[:at] + directory + end64 + end)
    assert open_archive(str(path)).read("a") == b"wide"


def test_a_program_before_the_archive_moves_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert open_archive(str(path)).read("images/a.jpg") == FILES["images/a.jpg"]


def test_names_of_other_systems(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"images\\ä.jpg": b"1"})
    unmarked = path.read_bytes().replace(struct.pack("<H", 0x800), b"\0\0")
    path.write_bytes(unmarked)
    assert [*open_archive(str(path)).members] == ["images/ä.jpg"]


def test_the_index_is_made_once_and_again_after_a_change(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a": b"1"})
    first = open_archive(str(path))
    assert open_archive(str(path)) is first
    zipped(path, {"a": b"two"})
    with pytest.raises(InputError, match=r"x.zip: was changed while it was in use; start again"):
        first.read("a")
    assert open_archive(str(path)).read("a") == b"two"


def test_split(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.ZIP", FILES)
    assert split(path) == (str(path), "")
    assert split(path / "images/../images/a.jpg") == (str(path), "images/a.jpg")
    (tmp_path / "folder.zip").mkdir()
    assert split(tmp_path / "folder.zip/a.jpg") is None
    assert split(tmp_path / "no.tar/a.jpg") is None


def _bomb(path: Path) -> None:
    """A member that unpacks to more than both of its headers claim."""
    zipped(path, {"a.png": bytes(5000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 900)))


def _impossible(path: Path) -> None:
    zipped(path, {"a.png": bytes(5000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 2**31)))


def _overlap(path: Path) -> None:
    """Many entries of one kernel, as the bombs of Fifield."""
    zipped(path, {"a": bytes(range(256)) * 40}, zipfile.ZIP_STORED)
    data = path.read_bytes()
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    one = data[at:end]
    directory = b"".join(one[:46] + bytes([98 + i]) + one[47:] for i in range(9))
    count = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 9, 9, len(directory), at, 0)
    path.write_bytes(data[:at] + directory + count)


def _flag(path: Path) -> None:
    zipped(path, {"a.png": b"1"})
    data = path.read_bytes().replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0")
    path.write_bytes(data)


def _twice(path: Path) -> None:
    zipped(path, {"a": b"1", "b": b"2"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + data[len(data) // 2 :].replace(b"b", b"a"))


def _zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        entry = zipfile.ZipInfo("a.png")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")


def _tar_entry(**fields: object) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as file:
            entry = tarfile.TarInfo("a.png")
            for name, value in fields.items():
                setattr(entry, name, value)
            file.addfile(entry)

    return make


def _cut(path: Path) -> None:
    tarred(path, {"a": bytes(2000), "b": bytes(20000)})
    path.write_bytes(path.read_bytes()[:9000])


def _hole(path: Path) -> None:
    tarred(path, {"a": b"1", "b": b"2", "c": b"3"})
    data = bytearray(path.read_bytes())
    data[1024:1536] = b"x" * 512
    path.write_bytes(data)


def _size(path: Path) -> None:
    """A member that claims more than there is, with a valid checksum of its header."""
    _tar_entry()(path)
    data = bytearray(path.read_bytes())
    data[124:136] = b"77777777777\0"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)


def _damaged(path: Path) -> None:
    zipped(path, {"a.png": bytes(range(256)) * 9}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)


def _moved(path: Path) -> None:
    zipped(path, {"a.png": b"1"})
    path.write_bytes(path.read_bytes().replace(b"PK\3\4", b"PK\3\5"))


def _packing(method: int) -> Callable[[Path], object]:
    return lambda path: zipped(path, {"a": b"1" * 99}, method)


def _named(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (zipped if path.suffix == ".zip" else tarred)(path, dict.fromkeys(names, b"1"))

    return make


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb.zip": (_bomb, r"bomb.zip/a.png: unpacks to more than the 900 bytes it claims"),
    "impossible.zip": (_impossible, r"'a.png' claims 2147483648 bytes in \d+, more than its pack"),
    "overlap.zip": (_overlap, r"overlap.zip: its files overlap"),
    "locked.zip": (_flag, r"'a.png' is encrypted; unpack it with its password"),
    "twice.zip": (_twice, r"twice.zip: 'a' is in it twice; make the archive anew"),
    "link.zip": (_zip_link, r"'a.png' is a link; put the file itself in its place: zip without -y"),
    "up.zip": (_named("images/../../a"), r"the name 'images/../../a' leads out of it"),
    "up.tar": (_named("../a"), r"up.tar: the name '../a' leads out of it; make the archive anew"),
    "root.zip": (_named("/etc/passwd"), r"the name '/etc/passwd' is absolute"),
    "root.tar": (_named("/etc/passwd"), r"the name '/etc/passwd' is absolute"),
    "drive.zip": (_named("C:\\a"), r"the name 'C:/a' is absolute"),
    "deep.zip": (_named("a/" * 101 + "b"), r"has more than 100 parts"),
    "both.zip": (_named("a", "a/b"), r"'a' is a file and a folder"),
    "lzma.zip": (_packing(zipfile.ZIP_LZMA), r"packed by method 14, expected 8 \(deflate\) or 0"),
    "damaged.zip": (_damaged, r"damaged.zip/a.png: damaged \(its checksum is another one\)"),
    "moved.zip": (_moved, r"a.png: not where the archive's directory says"),
    "text.zip": (lambda path: path.write_text("no"), r"text.zip: not readable as a ZIP \("),
    "text.tar": (lambda path: path.write_text("no" * 999), r"text.tar: not readable as a TAR \("),
    "soft.tar": (_tar_entry(type=tarfile.SYMTYPE, linkname="/etc/passwd"), r"'a.png' is a link; "),
    "hard.tar": (_tar_entry(type=tarfile.LNKTYPE, linkname="b"), r"'a.png' is a link; .*tar -h"),
    "pipe.tar": (_tar_entry(type=tarfile.FIFOTYPE), r"'a.png' is no plain file; leave it out"),
    "cut.tar": (_cut, r"cut.tar: not readable as a TAR \(unexpected end of data\)"),
    "hole.tar": (_hole, r"hole.tar: damaged at byte 1024; get it again"),
    "size.tar": (_size, r"size.tar: (not readable as a TAR|ends within 'a.png')"),
    "x.tar.gz": (lambda path: path.write_text("x"), r"x.tar.gz: .*unpack it once \(gunzip\)"),
    "x.7z": (lambda path: path.write_text("x"), r"x.7z: .*unpack it once \(7z x\)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tmp_path: Path, name: str) -> None:
    make, text = HOSTILE[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=text) as caught:
        read_all(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_twice_in_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        for data in (b"1", b"2"):
            entry = tarfile.TarInfo("a")
            entry.size = 1
            file.addfile(entry, io.BytesIO(data))
    with pytest.raises(InputError, match=r"x.tar: 'a' is in it twice"):
        open_archive(str(tmp_path / "x.tar"))


def test_a_claim_beyond_the_bound_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(str(zipped(tmp_path / "x.zip", {"a": bytes(10_000)})))
    monkeypatch.setattr(archives, "MOST_BYTES", 9_999)
    monkeypatch.setattr(zlib, "decompressobj", None)
    with pytest.raises(InputError, match=r"x.zip/a: claims 10000 bytes, expected at most 9999"):
        archive.read("a")
