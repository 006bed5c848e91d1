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
from typing import IO

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
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _BUSY:
                raise InputError(f"{path.parent}: in use by {_owner(file)}; {busy}") from None
            warn(
                f"{path.parent}: this file system has no locks ({error.strerror}); see to it that "
                "only one process works here"
            )
        else:
            with contextlib.suppress(OSError):  # a full disk does not matter here
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
        _held.add(file.fileno())
        try:
            yield
        finally:
            _held.discard(file.fileno())


def _owner(file: IO[str]) -> str:
    """Return the words for the process that holds a lock."""
    with contextlib.suppress(OSError, ValueError):  # Windows lets nobody read a locked file
        file.seek(0)
        return f"another process ({int(file.read(20))})"
    return "another process"


def _lock(file: IO[str]) -> None:
    """Lock a file or raise OSError; closing it unlocks it."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 20)  # beyond the text, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
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
