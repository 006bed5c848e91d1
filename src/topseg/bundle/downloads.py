"""Downloads: a file is fetched once, goes on where it broke off, and is checked ever after.

The authors publish no checksums, so the SHA-256 of the first complete download is kept beside the
file: what is used later is what was downloaded then. Proxies are taken from the environment
(``HTTPS_PROXY``), as every client does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from topseg.core.errors import InputError
from topseg.core.files import sha256, write_text
from topseg.core.locks import hold

if TYPE_CHECKING:
    import requests

TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 16
Progress = Callable[[int, int], None]


def cache_folder() -> Path:
    """The folder for downloads: ``TOPSEG_CACHE``, or the user's cache of this platform."""
    given = os.environ.get("TOPSEG_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("topseg"))


def fetch(url: str, path: Path, *, offline: bool = False, progress: Progress | None = None) -> Path:
    """Return the local copy of a file, downloading it where there is none yet.

    Args:
        url: Where it is published.
        path: Where the copy is kept; its hash stands beside it (``.sha256``).
        offline: Never use the network.
        progress: Called with (bytes so far, bytes in all; 0 where the server does not say).

    Returns:
        ``path``.

    Raises:
        InputError: There is no copy and ``offline`` is set, another process is downloading it, the
            server cannot be reached or refuses, the connection breaks (the next call goes on
            there), the disk is full, or the copy is not what was downloaded.
    """
    if path.is_file():
        return _check_copy(path)
    if offline:
        raise InputError(
            f"{url}: not downloaded yet, and downloads are off (--offline); run once without it, "
            f"or put the file at {path}"
        )
    import requests  # takes 0.1 s, and most files are there already

    partial = path.with_name(f"{path.name}.part")
    lock, warn = path.with_name(f".{path.name}.lock"), logging.getLogger("topseg").warning
    try:
        with hold(lock, "it is downloading this file: try again when it is done", warn):
            if path.is_file():  # another process was faster
                return _check_copy(path)
            _download(url, partial, progress)
            write_text(_digest_of(path), sha256(partial) + "\n")
            partial.replace(path)
    except requests.RequestException as error:
        raise InputError(
            f"{url}: cannot be downloaded ({_reason(error)}); check the connection and the proxy "
            f"(HTTPS_PROXY), or put the file at {path} yourself"
        ) from None
    except OSError as error:
        raise InputError(
            f"{partial}: cannot be written ({error.strerror}); free some space, or choose another "
            "cache folder with TOPSEG_CACHE"
        ) from None
    return path


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _check_copy(path: Path) -> Path:
    """Check a copy against the hash beside it, which is made where it is missing."""
    digest = _digest_of(path)
    if not digest.is_file():  # somebody put it there by hand
        write_text(digest, sha256(path) + "\n")
    elif sha256(path) != digest.read_text().strip():
        raise InputError(
            f"{path}: its bytes changed since it was downloaded; delete it to download it again"
        )
    return path


def forget(path: Path) -> None:
    """Remove a copy that turned out to be something else, so that it is downloaded again."""
    path.unlink(missing_ok=True)
    _digest_of(path).unlink(missing_ok=True)


def _download(url: str, partial: Path, progress: Progress | None) -> None:
    """Append to ``partial`` until it is whole."""
    import requests

    have = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.headers.get("Content-Range") == f"bytes */{have}":
            return  # the last attempt got every byte and broke off after it
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink(missing_ok=True)  # the file there has become shorter than this part
            raise requests.ConnectionError(
                f"the server has fewer than {have} bytes now; the next try starts over"
            )
        if not answer.ok:
            raise requests.HTTPError(f"the server answered {answer.status_code} {answer.reason}")
        total = _length_of(answer.headers.get("Content-Length"))
        if answer.status_code != requests.codes.partial_content:
            have = 0  # this server starts over
        else:
            total = total and have + total
            start, whole = _range_of(answer.headers.get("Content-Range"), have, total)
            if start != have or (total and whole != total):
                # Bytes of another place would be put behind those that are there.
                partial.unlink(missing_ok=True)
                raise requests.ConnectionError(
                    f"the server sent bytes from {start} of {whole}, expected from {have} of "
                    f"{total or 'any'}; the next try starts over"
                )
            total = whole
        with partial.open("ab" if have else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
            file.flush()
            os.fsync(file.fileno())
    if total and have != total:
        raise requests.ConnectionError(f"it broke off after {have} of {total} bytes")


def _range_of(content_range: str | None, start: int, total: int) -> tuple[int, int]:
    """Return the first byte's place and the file's length (0: not said) by a Content-Range.

    Args:
        content_range: The header; a server that leaves it out is taken to do as it was asked.
        start: The first byte that was asked for.
        total: The length that follows from the Content-Length.
    """
    if content_range is None:
        return start, total
    match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", content_range, re.ASCII)
    if match is None:
        return -1, total
    return int(match[1]), total if match[2] == "*" else int(match[2])


def _length_of(content_length: str | None) -> int:
    """Return how many bytes an answer has; 0 where the server does not say.

    Raises:
        requests.RequestException: The header holds no number.
    """
    import requests

    if content_length is None:
        return 0
    if not re.fullmatch(r"\d{1,18}", content_length, re.ASCII):
        raise requests.ConnectionError(f"the server named a length of {content_length[:40]!r}")
    return int(content_length)


def _reason(error: requests.RequestException) -> str:
    """The innermost cause, which is the one that says something."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return str(getattr(cause, "reason", "") or cause or type(error).__name__)
