"""Installing: commands that install a part of this package, from where this one came from.

No index has a version before its release, nor the changes of a checkout: there the command names
the folder, the file or the repository instead.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topseg.core.errors import InputError

_OWN = re.compile(r"(?<=\s)'?topseg(\[[\w,-]+\])?'?(?=$|[\s,;])")


def need(module: str, extra: str, what: str = "this") -> None:
    """Check that a module of an extra is installed.

    Args:
        module: Its name.
        extra: Of topseg, that brings it.
        what: What needs it.

    Raises:
        InputError: It is not; how it is installed.
    """
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{what} needs {module}: {pip_install(f'topseg[{extra}]')}")


def pip_install(what: str) -> str:
    """Return the command that installs something, as it works on this machine.

    Args:
        what: Of pip's words, such as "onnxruntime" or "topseg[serve]".
    """
    word = what if re.fullmatch(r"[\w.-]+", what) else shlex.quote(what)
    return here(f"pip install {word}")


def here(command: str) -> str:
    """Return a command of pip with this package's name replaced by where it came from."""
    if not _OWN.search(command):
        return command
    before, after = _source()
    return _OWN.sub(
        lambda found: before + shlex.quote(after.replace("[]", found[1] or "")), command
    )


def _source() -> tuple[str, str]:
    """Return an option of pip and a requirement with [] where extras go."""
    import importlib.metadata  # which takes a while, and is wanted where something is missing

    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        return "-e ", _path(checkout)
    try:
        text = importlib.metadata.distribution("topseg").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    return "", origin(json.loads(text)) if text else "topseg[]"


def origin(direct: Mapping[str, Any]) -> str:
    """Return what pip takes to install the package from the same place again.

    Args:
        direct: What pip has noted (https://packaging.python.org/specifications/direct-url).

    Returns:
        A requirement with [] where extras go; the plain name where a folder or file is gone.
    """
    import urllib.parse
    import urllib.request

    url, vcs = str(direct["url"]), direct.get("vcs_info")
    if vcs:
        return f"topseg[] @ {vcs['vcs']}+{url}@{vcs.get('commit_id', 'HEAD')}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "file":
        return f"topseg[] @ {url}"
    path = Path(urllib.request.url2pathname(parts.path))
    return _path(path) if path.exists() else "topseg[]"


def _path(path: Path) -> str:
    return ".[]" if path == Path.cwd() else f"{path}[]"
