"""Jobs: which images there are to do, what their outputs are called, and which shard does them.

An image's output has one name, whichever run or shard asks for it. The shard follows from that name
alone: a file that is added, or a list that another machine sorts otherwise, moves no other image,
so that none is left out and none is done twice.
"""

from __future__ import annotations

import codecs
import functools
import glob
import logging
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from topseg.core.errors import InputError
from topseg.core.files import find_images


class Job(NamedTuple):
    """One image to do: strings, for there may be millions.

    Attributes:
        image: The image's path.
        output: Its outputs' path below the output folder, without a suffix.
    """

    image: str
    output: str


@dataclass(frozen=True)
class Shard:
    """One part of several that a run is divided into.

    Attributes:
        index: Which part, from 1.
        count: How many there are.
    """

    index: int = 1
    count: int = 1

    def holds(self, output: str) -> bool:
        """Return whether an output is of this part; about as many are of each."""
        name = os.fsencode(output.replace(os.sep, "/"))
        return zlib.crc32(name) % self.count == self.index - 1


WHOLE = Shard()
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_shard(text: str) -> Shard:
    """Read a part such as "2/8", the second of eight.

    Raises:
        InputError: Not i/n with 1 <= i <= n.
    """
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return Shard(int(index), int(count))
    raise InputError(f"shard: got '{text}', expected i/n with 1 <= i <= n, such as 2/8")


def find_jobs(
    inputs: Sequence[str | Path], out: Path, kinds: Sequence[str], shard: Shard = WHOLE
) -> list[Job]:
    """Find all images, see that no output falls on another or on an image, and take a shard.

    Args:
        inputs: As for :func:`topseg.inference.bulk.predict_files`.
        out: Folder for the outputs.
        kinds: Suffixes of the outputs.
        shard: The part to do; the check is on all.

    Returns:
        The shard's jobs, in the order of the inputs.

    Raises:
        InputError: There is nothing to do, an input does not exist, or outputs would collide.
    """
    images: dict[str, str] = {}
    paths = [Path(os.path.expanduser(one)) for one in inputs]
    for image, output in (job for path in paths for job in _expand(path, out)):
        other = images.setdefault(output, image)
        if other != image:
            raise _collision(out / f"{output}{kinds[0]}", other, image)
    if not images:
        raise InputError("images: none given; give files, folders, patterns or .txt lists")
    _refuse_collisions(images, out, kinds)
    return [Job(image, output) for output, image in images.items() if shard.holds(output)]


def _expand(given: Path, out: Path) -> Iterator[Job]:
    """Turn one input into the images it stands for."""
    if str(given) == "-":
        yield from _listed(sys.stdin.buffer, "", "standard input")
    elif given.is_dir():
        # Yesterday's masks are not today's images.
        without = None if out.resolve() == given.resolve() else out
        images = find_images(given, logging.getLogger("topseg").warning, without)
        if not images:
            raise InputError(f"{given}: no images in this folder")
        yield from (_job(image, image.relative_to(given)) for image in images)
    elif glob.has_magic(str(given)) and not given.exists():
        plain = next(i for i, part in enumerate(given.parts) if glob.has_magic(part))
        root = Path(*given.parts[:plain])
        files = sorted(Path(p) for p in glob.glob(str(given), recursive=True) if Path(p).is_file())
        if not files:
            raise InputError(f"{given}: no file matches this pattern")
        yield from (_job(file, file.relative_to(root)) for file in files)
    elif not given.exists():
        raise InputError(f"{given}: no such file or folder")
    elif given.suffix == ".txt":
        try:
            with given.open("rb") as lines:
                yield from _listed(lines, os.path.dirname(given), str(given))
        except OSError as error:
            raise InputError(f"{given}: cannot be read as a list of files ({error})") from None
    else:
        yield _job(given, given.name)


def _listed(lines: Iterable[bytes], folder: str, name: str) -> Iterator[Job]:
    """Read a list of images: one path per line, relative to a folder."""
    count = 0
    for number, line in enumerate(lines):
        # UTF-16, or no text at all; a NUL later on is one wrong name.
        if number == 0 and (b"\0" in line or line.startswith(_UTF16)):
            raise InputError(f"{name}: cannot be read as a list of files; expected UTF-8 text")
        # A name need not be UTF-8, and a list may begin with a byte order mark.
        path = os.path.expanduser(os.fsdecode(line.removeprefix(codecs.BOM_UTF8).strip()))
        if path:
            count += 1
            image = os.path.join(folder, path)
            mirrored = os.path.normpath(path)
            if os.path.isabs(mirrored) or mirrored.startswith(".."):
                # From the root, for every folder may have a 0001.jpg.
                whole = Path(os.path.abspath(image))
                mirrored = str(whole.relative_to(whole.anchor))
            yield _job(image, mirrored)
    if not count:
        raise InputError(f"{name}: this list is empty; write one image path per line")


def _job(image: str | Path, mirrored: str | Path) -> Job:
    return Job(str(image), os.path.splitext(mirrored)[0])


def _refuse_collisions(images: dict[str, str], out: Path, kinds: Sequence[str]) -> None:
    """Check that no output falls on one of another kind, nor on an image.

    A suffix that ends in another (``_color.png`` in ``.png``) makes two names meet. Names are built
    and looked up, not collected: a table of millions is enough.
    """
    extra = [
        (long, short, long.removesuffix(short))
        for long in kinds
        for short in kinds
        if long != short and long.endswith(short)
    ]
    real = functools.lru_cache(_real_path)  # many images share a folder
    folders = {real(out / folder): folder for folder in {os.path.dirname(o) for o in images}}
    for output, image in images.items():
        for long, _, middle in extra:
            if output + middle in images:
                raise _collision(out / f"{output}{long}", image, images[output + middle])
        parent, name = os.path.split(_real_path(image) if os.path.islink(image) else image)
        folder = real(parent)
        if folder in folders:
            for kind in kinds:
                stem = os.path.join(folders[folder], name.removesuffix(kind))
                if name.endswith(kind) and stem in images:
                    raise InputError(
                        f"{out / stem}{kind}: would overwrite an image that was given; choose "
                        "another --out"
                    )


def _real_path(path: str | Path) -> str:
    """Resolve links; a path that no file can have (with a NUL in it) stays as it is."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return os.fspath(path)


def _collision(target: Path, one: str, other: str) -> InputError:
    return InputError(
        f"{target}: would be written for both {one} and {other}; rename one, or predict them into "
        "different folders"
    )
