"""Locks: a folder or a file belongs to one process at a time.

A lock is the operating system's, on a small hidden file: it ends with the process, however that
ends, and the file stays behind without meaning anything. Children that are forked do not keep it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from topseg.core.errors import InputError

_BUSY = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_held: set[int] = set()  # descriptors of this process's locks


@contextlib.contextmanager
def hold(path: Path, busy: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: The file to lock, such as ``RUN/.lock``; it is made, and its folder too.
        busy: What to do where another process holds it, put at the end of the message.
        warn: Told of a file system that has no locks; the block runs all the same.

    Raises:
        InputError: Another process holds it, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot write here ({error.strerror}); choose another folder"
        ) from None
    with file:
        if take(file, path.parent, busy, warn):
            with contextlib.suppress(OSError):  # a full disk does not matter here
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
        _held.add(file.fileno())
        try:
            yield
        finally:
            _held.discard(file.fileno())


@contextlib.contextmanager
def hold_folder(folder: Path, busy: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock on a folder itself while the block runs; arguments and errors as for ``hold``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if sys.platform == "win32":  # folders cannot be opened there
            yield
            return
        raise InputError(
            f"{folder}: cannot write here ({error.strerror}); choose another folder"
        ) from None
    try:
        take(descriptor, folder, busy, warn)
        yield
    finally:
        os.close(descriptor)


def take(file: IO[Any] | int, folder: Path, busy: str, warn: Callable[[str], None]) -> bool:
    """Lock an open file until it is closed.

    Args:
        file: The file, or its descriptor.
        folder: What is said to be in use.
        busy: What to do where another process holds it, put at the end of the message.
        warn: Told of a file system that has no locks.

    Returns:
        Whether the file system has locks.

    Raises:
        InputError: Another process holds it.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in _BUSY:
            raise InputError(f"{folder}: in use by {_owner(file)}; {busy}") from None
        warn(
            f"{folder}: this file system has no locks ({error.strerror}); see to it that only one "
            "process works here"
        )
        return False
    return True


def _owner(file: IO[Any] | int) -> str:
    """Return the words for the process that holds a lock."""
    if isinstance(file, int):
        return "another process"
    with contextlib.suppress(OSError, ValueError):  # Windows lets nobody read a locked file
        file.seek(0)
        return f"another process ({int(file.read(20))})"
    return "another process"


def _lock(file: IO[Any] | int) -> None:
    """Lock a file or raise OSError; closing it unlocks it."""
    if sys.platform == "win32":
        import msvcrt

        descriptor = file if isinstance(file, int) else file.fileno()
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget() -> None:
    """Close the locks in a forked child, which would outlive its parent with them."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
