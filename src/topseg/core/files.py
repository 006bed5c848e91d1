"""Files: written whole or not at all, found in a stable order, hashed.

A reader never sees half a file: data goes to a temporary name in the same folder, is fsynced and
then renamed over the target.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from topseg.core.errors import InputError

_LONGEST_NAME = 255  # bytes of a file's name, on every usual file system
_KNOWN = (
    ".jpg .jpeg .jpe .jfif .pjpeg .pjp .mpo .png .apng .bmp .dib .webp .tif .tiff .tga .gif "
    ".ppm .pgm .pbm .pnm .jp2 .j2k .j2c .jpc .jpx .jpf .avif .heic .heif .hif"
)
IMAGE_SUFFIXES = frozenset(_KNOWN.split(" "))
"""Suffixes of image files, of which folders are searched; a GIF stands for its first frame."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Return a temporary path that becomes ``path`` when the block ends without an error.

    Args:
        path: The file to write; its folder is made where it does not exist.

    Raises:
        InputError: The folder cannot be made or written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _make_temporary(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot write here ({error.strerror}); choose another folder"
        ) from None
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _make_temporary(path: Path) -> Path:
    """Make an empty file beside another, with the rights that any new file has.

    ``tempfile`` would give the owner alone rights, and to give more the process's umask would have
    to be known, which cannot be read without setting it for all threads.
    """
    while True:
        temporary = path.parent / f".{short_name(path.name)}.{secrets.token_hex(4)}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return temporary


def short_name(name: str) -> str:
    """Return a name that a temporary may begin with: the file's own where that is fit for it.

    A temporary's is 10 characters longer, and has to be UTF-8 for libraries that write it.
    """
    data = os.fsencode(name)
    if len(data) <= _LONGEST_NAME - 10 and name.isprintable():
        with contextlib.suppress(UnicodeEncodeError):
            name.encode()
            return name
    return hashlib.sha256(data).hexdigest()[:16]


def temporary_of(name: str) -> str | None:
    """Return the file whose temporary (of :func:`atomic_path`) a name is; None for others."""
    match = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", name)
    return match[1] if match else None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file, or leave the old one as it was."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # names need not be UTF-8


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read (indented, keys in the order given)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: The file is missing, is not JSON, holds a number that is not finite or a whole
            number of more than 20 digits, or is nested too deeply.
    """
    try:
        text = path.read_text(encoding="utf-8")
        hooks: dict[str, Any] = {}
        if _ODD_NUMBER.search(text):  # the hooks cost ten times the parser
            hooks = {"parse_int": _whole, "parse_float": _finite, "parse_constant": _finite}
        return json.loads(text, **hooks)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except RecursionError:
        raise InputError(f"{path}: not readable as JSON (nested too deeply)") from None
    except (OSError, ValueError) as error:  # of decoding and of the syntax among them
        raise InputError(f"{path}: not readable as JSON ({error})") from None


_ODD_NUMBER = re.compile(r"\d{21}|[eE]\+?\d{3}|Infinity|NaN")
"""What every number that is refused has in it; text may have it too."""


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable (where the platform can open folders)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_images(
    folder: Path, report: Callable[[str], None] | None = None, without: Path | None = None
) -> list[Path]:
    """List the images below a folder, sub-folders included, in a stable order.

    Args:
        folder: The folder.
        report: Told which files and sub-folders were passed over; None: nobody.
        without: A folder below it that is left out.
    """
    images, others = [], collections.Counter[str]()
    left_out = None if without is None else os.path.realpath(without)

    def pass_over(problem: str) -> None:
        if report is not None:
            report(f"{problem}; passed over")

    for path in walk(folder, pass_over):
        if left_out is not None and Path(os.path.realpath(path.parent)).is_relative_to(left_out):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    if others and report is not None:
        kinds = ", ".join(f"{count} of {suffix}" for suffix, count in others.most_common(8))
        kinds += f", and {len(others) - 8} more kinds" if len(others) > 8 else ""
        count = sum(others.values())
        report(f"{folder}: {count} other file{'s' if count > 1 else ''} passed over ({kinds})")
    return sorted(images)


def walk(folder: Path, report: Callable[[str], None]) -> Iterator[Path]:
    """Find the files below a folder, linked sub-folders too, but no hidden files.

    Args:
        folder: The folder.
        report: Told of each sub-folder that cannot be read.
    """

    def tell(error: OSError) -> None:
        report(f"{error.filename}: cannot be read ({error.strerror})")

    for place, files in _places(str(folder), tell):
        for name in files:
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.is_file():
                yield path
            else:
                report(f"{path}: cannot be read (a broken link, a device or a pipe)")


def _places(folder: str, tell: Callable[[OSError], None]) -> Iterator[tuple[str, list[str]]]:
    """Find the folders below a folder, itself included, and the names of the files in each.

    Linked folders come after all others, so a file is found by its own path first. Links may lead
    round in circles, or fork at every step: none is followed twice, nor to a folder that lies on
    the way to it.
    """
    followed: set[str] = set()
    tops: list[tuple[str, frozenset[str]]] = [(folder, frozenset())]
    for top, way in tops:  # grows
        for place, folders, files in os.walk(top, onerror=tell):
            yield place, files
            real = os.path.realpath(place)
            above = way | {real, *map(str, Path(real).parents)}
            for name in sorted(folders):
                link, own = os.path.join(place, name), os.path.join(real, name)
                if not os.path.islink(link) or own in followed or os.path.realpath(link) in above:
                    continue
                followed.add(own)
                tops.append((link, above))


def check_regular(path: Path) -> None:
    """Check that a path is a file with an end: no folder, device or pipe.

    Raises:
        InputError: It is something else, or there is nothing.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()  # a folder that may not be read is told as such
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError:  # a NUL in the name
        raise InputError(f"{str(path)!r}: not a name that a file can have") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise InputError(f"{path}: cannot be read as a file; it is {what}")
