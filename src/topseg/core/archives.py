"""Archives: the files inside a ZIP or TAR, found once and then read at their places.

Only the index is kept, and every read opens the archive anew: no handle is shared, so threads and
forked processes need no locks. Nothing is ever unpacked to disk. An index that could mislead (names
that lead out, a name twice, links) is refused as a whole; a member's content is checked when read.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from topseg.core.errors import InputError, shorten

MOST_BYTES: Final = 512 * 2**20
"""Largest file that is unpacked from an archive, in bytes."""

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_DEFLATE_LIMIT: Final = 1032  # bytes that one byte of deflate stands for at most
_MOST_PARTS: Final = 100  # of a name; each makes a folder
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")  # signature, length of name, length of extra
_TAR_BLOCK: Final = 512
_UNPACK: Final = {
    ".7z": "7z x",
    ".rar": "unrar x",
    ".gz": "gunzip",
    ".tgz": "gunzip",
    ".bz2": "bunzip2",
    ".tbz2": "bunzip2",
    ".xz": "unxz",
    ".txz": "unxz",
    ".zst": "unzstd",
}
"""Ending of what cannot be read at any place -> the program that mends that."""
_ENDINGS: Final = re.compile(
    r"\.(?:zip|tar(?:\.(?:gz|bz2|xz|zst))?|tgz|tbz2|txz|7z|rar)(?=[/\\]|$)", re.IGNORECASE
)


class Member(NamedTuple):
    """Where a file lies in its archive.

    Attributes:
        offset: Of its header in a ZIP, of its content in a TAR.
        size: Bytes of its content, as the index claims.
        packed: Bytes that it takes in the archive.
        method: How it is packed, by ZIP's numbers.
        crc: Its CRC-32; None in a TAR.
    """

    offset: int
    size: int
    packed: int
    method: int = _STORED
    crc: int | None = None


@dataclass(frozen=True, eq=False)
class Archive:
    """The index of one archive.

    Attributes:
        path: The archive.
        stamp: Its size in bytes and the time of its last change in ns, when it was indexed.
        members: Its files by name (parted by ``/``).
        folders: The names of its folders, without a ``/`` at the end; "" is the archive itself.
    """

    path: str
    stamp: tuple[int, int]
    members: dict[str, Member]
    folders: frozenset[str]

    def read(self, name: str) -> bytes:
        """Read one file.

        Raises:
            InputError: It is not what the index claims, or the archive has changed.
        """
        member, where = self.members[name], f"{self.path}/{name}"
        if member.size > MOST_BYTES:
            raise InputError(
                f"{where}: claims {member.size} bytes, expected at most {MOST_BYTES}; "
                "take it out of the archive"
            )
        try:
            with open(self.path, "rb") as file:
                if _stamp(os.fstat(file.fileno())) != self.stamp:
                    raise InputError(f"{self.path}: was changed while it was in use; start again")
                raw = _read_raw(file, member, where)
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None
        return _unpacked(raw, member, where)


def split(path: Path) -> tuple[str, str] | None:
    """Part a path into the archive that it leads through and the name inside ("": the archive).

    Returns:
        None where it leads through no archive.
    """
    text = str(path)
    for match in _ENDINGS.finditer(text):
        archive = text[: match.end()]
        if os.path.isfile(archive):
            inside = os.path.normpath(text[match.end() + 1 :]).replace(os.sep, "/")
            return archive, "" if inside == "." else inside
    return None


def open_archive(path: str) -> Archive:
    """Return the index of an archive; it is made once, and again after the archive has changed.

    Raises:
        InputError: It is damaged, has to be unpacked first, or its index could mislead.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return _index(path, *_stamp(found))


def _stamp(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


@functools.cache
def _index(path: str, size: int, changed: int) -> Archive:
    ending = os.path.splitext(path)[1].lower()
    if ending in _UNPACK:
        raise InputError(
            f"{path}: such a file cannot be read at any place; unpack it once ({_UNPACK[ending]}), "
            "or make a ZIP or a plain TAR of it"
        )
    find = _find_in_zip if ending == ".zip" else _find_in_tar
    members: dict[str, Member] = {}
    folders = {""}
    for name, member in find(path, size):
        clean = _clean(name, path)
        if member is None:
            folders.add(clean)
            continue
        if clean in members:
            raise InputError(f"{path}: '{clean}' is in it twice; make the archive anew")
        members[clean] = member
    for name in [*members, *folders]:
        while (name := name.rpartition("/")[0]) not in folders:
            folders.add(name)
    both = next((name for name in members if name in folders), None)
    if both is not None:
        raise InputError(f"{path}: '{both}' is a file and a folder; make the archive anew")
    return Archive(path, (size, changed), members, frozenset(folders))


def _clean(name: str, path: str) -> str:
    """Return a name without needless parts, or raise where it is not one below the archive."""
    name = name.replace("\\", "/")  # of old tools for Windows
    parts = [part for part in name.split("/") if part not in ("", ".")]
    wrong = "is absolute" if name.startswith("/") or re.match("[A-Za-z]:/", name) else None
    wrong = "leads out of it" if ".." in parts else wrong
    wrong = "has a NUL in it" if "\0" in name else wrong
    wrong = f"has more than {_MOST_PARTS} parts" if len(parts) > _MOST_PARTS else wrong
    if wrong:
        raise InputError(f"{path}: the name {shorten(name)} {wrong}; make the archive anew")
    return "/".join(parts)


def _find_in_zip(path: str, size: int) -> Iterator[tuple[str, Member | None]]:
    """Read the directory of a ZIP: each name with its place; None for folders."""
    try:
        with zipfile.ZipFile(path) as file:
            found = file.infolist()
    except Exception as error:  # a damaged directory may fail in many ways
        raise InputError(f"{path}: not readable as a ZIP ({error}); get it again") from None
    if sum(info.compress_size for info in found) > size:
        raise InputError(f"{path}: its files overlap, as those of a ZIP bomb do")
    for info in found:
        name = info.orig_filename
        if not info.flag_bits & _UTF8:  # CP437 by the rules, but often UTF-8 that is not marked
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode("utf-8")
        if info.is_dir():
            yield name, None
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            _refuse_kind(path, name, kind == stat.S_IFLNK, "zip without -y")
        if info.flag_bits & _ENCRYPTED:
            raise InputError(f"{path}: '{name}' is encrypted; unpack it with its password: unzip")
        if info.compress_type not in (_STORED, _DEFLATED):
            raise InputError(
                f"{path}: '{name}' is packed by method {info.compress_type}, expected 8 (deflate) "
                "or 0 (none); unpack it, and pack it by 'zip -r'"
            )
        packed = info.compress_size
        most = packed * _DEFLATE_LIMIT if info.compress_type == _DEFLATED else packed
        if info.file_size > most:
            raise InputError(
                f"{path}: '{name}' claims {info.file_size} bytes in {packed}, more than its "
                "packing can hold; get the archive again"
            )
        place = info.header_offset, info.file_size, packed
        yield name, Member(*place, info.compress_type, info.CRC)


def _find_in_tar(path: str, size: int) -> Iterator[tuple[str, Member | None]]:
    """Walk the headers of a TAR: each name with its place; None for folders."""
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as file:
            found = file.getmembers()
            end = file.offset
        with open(path, "rb") as raw:
            raw.seek(end)
            rest = raw.read(_TAR_BLOCK)
    except Exception as error:  # a damaged header may fail in many ways
        raise InputError(f"{path}: not readable as a TAR ({error}); get it again") from None
    if rest.strip(b"\0"):  # which the walk takes for the end
        raise InputError(f"{path}: damaged at byte {end}; get it again")
    for info in found:
        if info.isdir():
            yield info.name, None
            continue
        if not info.isreg() or info.issparse():
            links = info.issym() or info.islnk()
            _refuse_kind(path, info.name, links, "tar -h --hard-dereference")
        if info.offset_data + info.size > size:
            raise InputError(f"{path}: ends within '{info.name}'; get it again")
        yield info.name, Member(info.offset_data, info.size, info.size)


def _refuse_kind(path: str, name: str, link: bool, remedy: str) -> None:
    if link:
        raise InputError(f"{path}: '{name}' is a link; put the file itself in its place: {remedy}")
    raise InputError(f"{path}: '{name}' is no plain file; leave it out of the archive")


def _read_raw(file: BinaryIO, member: Member, where: str) -> bytes:
    """Read the bytes that a member takes in its archive."""
    start = member.offset
    if member.crc is not None:
        file.seek(start)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            raise InputError(f"{where}: not where the archive's directory says; get it again")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        start += _LOCAL_HEADER.size + name + extra
    file.seek(start)
    raw = file.read(member.packed)
    if len(raw) < member.packed:
        raise InputError(f"{where}: the archive ends within it; get it again")
    return raw


def _unpacked(raw: bytes, member: Member, where: str) -> bytes:
    """Unpack no more than the index claims, and compare it with the checksum."""
    if member.method == _DEFLATED:
        try:
            raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, member.size + 1)
        except zlib.error as error:
            raise InputError(f"{where}: damaged ({error}); get the archive again") from None
    if len(raw) != member.size:
        amount = f"more than the {member.size}" if len(raw) > member.size else f"{len(raw)} of the"
        claim = "bytes" if len(raw) > member.size else f"{member.size} bytes"
        raise InputError(f"{where}: unpacks to {amount} {claim} it claims; get the archive again")
    if member.crc is not None and zlib.crc32(raw) != member.crc:
        raise InputError(f"{where}: damaged (its checksum is another one); get the archive again")
    return raw


def below(names: Iterable[str], folder: str) -> Iterator[str]:
    """Select the names that lie below a folder of an archive."""
    prefix = f"{folder}/" if folder else ""
    return (name for name in names if name.startswith(prefix) and name != folder)
