"""Storage: folders and archives alike, by ordinary paths.

``photos.zip/images/a.jpg`` is the file ``images/a.jpg`` inside ``photos.zip``. So paths stay plain,
may be sent to other processes, and read well in messages; whoever looks at files that may lie in an
archive asks these functions instead of the path itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from topseg.core import files
from topseg.core.archives import below, open_archive, split
from topseg.core.errors import InputError

_ADDED: Final = "__MACOSX"
"""Folder that macOS adds to the archives that it makes."""


def _is(path: Path, question: Callable[[], bool]) -> bool:
    """Ask about a path; a name that no file can have is no file's."""
    try:
        return question()
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except OSError:  # longer than a name may be
        return False


def is_file(path: Path) -> bool:
    """Return whether there is such a file."""
    place = split(path)
    if place is None:
        return _is(path, path.is_file)
    return place[1] in open_archive(place[0]).members


def is_dir(path: Path) -> bool:
    """Return whether there is such a folder; an archive is one."""
    place = split(path)
    if place is None:
        return _is(path, path.is_dir)
    return place[1] in open_archive(place[0]).folders


def exists(path: Path) -> bool:
    """Return whether there is such a file or folder."""
    return _is(path, path.exists) or (split(path) is not None and (is_file(path) or is_dir(path)))


def subfolders(path: Path) -> list[str]:
    """Return the names of a folder's sub-folders, sorted."""
    place = split(path)
    if place is None:
        return sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    archive, inside = open_archive(place[0]), place[1]
    inner = (PurePosixPath(name) for name in below(archive.folders, inside))
    return sorted(name.name for name in inner if name.parent == PurePosixPath(inside))


def walk(folder: Path, report: Callable[[str], None]) -> Iterator[Path]:
    """Find the files below a folder, linked sub-folders too, but no hidden files.

    Args:
        folder: The folder.
        report: Told of each sub-folder that cannot be read.
    """
    place = split(folder)
    if place is None:
        yield from files.walk(folder, report)
        return
    top = Path(place[0])
    for name in below(open_archive(place[0]).members, place[1]):
        if not name.rpartition("/")[2].startswith("."):
            yield top / name


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        InputError: It is missing, no file, not readable, or not what its archive claims.
    """
    place = split(path)
    if place is None:
        files.check_regular(path)
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    archive, inside = open_archive(place[0]), place[1]
    if inside in archive.folders:
        raise InputError(f"{path}: cannot be read as a file; it is a folder")
    if inside not in archive.members:
        raise InputError(f"{path}: no such file")
    return archive.read(inside)


def stamp(path: Path) -> tuple[str, int, int]:
    """Return what changes when a file does: its path, size in bytes, time of last change in ns.

    Raises:
        InputError: There is no such file.
    """
    place = split(path)
    try:
        found = (path if place is None else Path(place[0])).stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if place is None:
        return str(path.resolve()), found.st_size, found.st_mtime_ns
    member = open_archive(place[0]).members.get(place[1])
    if member is None:
        raise InputError(f"{path}: no such file")
    return str(Path(place[0]).resolve() / place[1]), member.size, found.st_mtime_ns


def home(root: Path) -> Path:
    """Return where the files of a data set begin: in an archive the one folder that holds all."""
    place = split(root)
    while place is not None:
        archive, inside = open_archive(place[0]), place[1]
        inner = [name for name in subfolders(root) if name != _ADDED]
        own = (name.removeprefix(f"{inside}/") for name in below(archive.members, inside))
        if len(inner) != 1 or any("/" not in name and not name.startswith(".") for name in own):
            return root
        root = root / inner[0]
        place = split(root)
    return root
