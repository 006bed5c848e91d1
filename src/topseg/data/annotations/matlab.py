"""MATLAB: a ``.mat`` file for each image, with one array of whole numbers.

The numbers are the names (``--rename 1=road 2=sky 0=ignore``), or lines of ``classes.txt``, the
first of which is 1 (0 is no label). The Semantic Boundaries Dataset keeps its array in a structure,
``GTcls.Segmentation``, and its numbers are VOC's classes. SciPy reads the files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.files import check_regular
from topseg.core.installing import pip_install
from topseg.core.labels import standard_set
from topseg.data.annotations.bitmaps import MAX_PIXELS
from topseg.data.annotations.files import Glimpse
from topseg.data.annotations.masked import find_masked, mask_item
from topseg.data.annotations.source import (
    IGNORED,
    MAX_NAMES,
    UNPAINTED,
    Options,
    Source,
    SourceFormat,
)

CLASSES: Final = "classes.txt"

_HDF5: Final = b"MATLAB 7.3"
"""How a file begins that SciPy does not read."""


def recognize(seen: Glimpse) -> bool:
    """Recognize a folder with files of MATLAB."""
    return seen.source.is_dir() and bool(seen.some(".mat"))


def open_source(source: Path, options: Options) -> Source:
    """Find the pairs of images and files, and read the names.

    Raises:
        InputError: There are no pairs, or SciPy is not installed.
    """
    pairs, problems = find_masked(source, options.images, {".mat"})
    structured = read_mat(pairs[0].mask)[1]
    names: tuple[str, ...]
    if structured:
        names = standard_set("voc")[0].names
        table = {value: value for value in range(len(names))} | {255: IGNORED}
    elif (source / CLASSES).is_file():
        lines = (source / CLASSES).read_text("utf-8-sig", errors="replace").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        table = {value + 1: value for value in range(len(names))} | {0: UNPAINTED}
    else:
        values: set[int] = set()
        for done, pair in enumerate(pairs, 1):
            with contextlib.suppress(InputError):  # which is told when its turn has come
                values.update(np.unique(read_mat(pair.mask)[0]).tolist())
            options.progress(done, len(pairs))
        if len(values) > MAX_NAMES:
            raise InputError(f"{source}: {len(values)} numbers; these are no masks of classes")
        names = tuple(map(str, sorted(values)))
        table = {int(name): number for number, name in enumerate(names)}

    def read(path: Path) -> tuple[NDArray[np.uint16], dict[str, int]]:
        found, inverse = np.unique(read_mat(path)[0], return_inverse=True)
        unknown = next((value for value in found.tolist() if value not in table), None)
        if unknown is not None:
            raise InputError(f"{path}: got number {unknown}, expected one of {len(names)} names")
        numbers = np.array([table[value] for value in found.tolist()], np.uint16)
        return numbers[inverse], {}

    items = tuple(mask_item(pair, read) for pair in pairs)
    return Source(names, items, problems=tuple(problems))


def read_mat(path: Path) -> tuple[NDArray[Any], bool]:
    """Read the one array of whole numbers in a file.

    Returns:
        (H, W), and whether it stood in the structure of the Semantic Boundaries Dataset.

    Raises:
        InputError: There is none, or several, or the file cannot be read.
    """
    try:
        import scipy.io
    except ImportError:
        command = pip_install("topseg[matlab]")
        raise InputError(f"MATLAB's files need SciPy: {command}") from None
    check_regular(path)
    try:
        with path.open("rb") as file:
            if file.read(len(_HDF5)) == _HDF5:
                raise InputError(
                    f"{path}: a file of version 7.3; in MATLAB: save(NAME, 'mask', '-v7')"
                )
        listed = scipy.io.whosmat(path)
        planes = [name for name, shape, kind in listed if _is_plane(shape, kind)]
        structured = any(name == "GTcls" for name, _, _ in listed)
        wanted = ["GTcls"] if structured else planes
        if len(wanted) != 1:
            raise InputError(
                f"{path}: got {len(planes)} arrays of numbers ({', '.join(planes[:5])}), expected "
                "one; save the mask alone"
            )
        array = scipy.io.loadmat(path, variable_names=wanted)[wanted[0]]
        if structured:
            array = array["Segmentation"][0, 0]
    except InputError:
        raise
    except Exception as error:  # of a damaged file SciPy raises nearly anything
        raise InputError(f"{path}: not readable as a file of MATLAB ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "biuf" or array.size > MAX_PIXELS:
        raise InputError(f"{path}: got {array.dtype} of shape {array.shape}, expected (H, W)")
    with np.errstate(invalid="ignore"):  # what is not a number is no whole one
        whole = array.astype(np.int64)
    if array.dtype.kind == "f" and not (whole == array).all():
        raise InputError(f"{path}: got fractions, expected whole numbers")
    return whole, structured


def _is_plane(shape: tuple[int, ...], kind: str) -> bool:
    numbers = kind.startswith(("int", "uint", "double", "single", "logical"))
    return numbers and len(shape) == 2 and min(shape) > 1 and shape[0] * shape[1] <= MAX_PIXELS


FORMAT: Final = SourceFormat(
    name="matlab",
    title="MATLAB",
    files="images and `.mat` by name; `classes.txt`",
    rest="ignore",
    notes="the numbers are the names where there is no `classes.txt` (its first line is 1, and 0 "
    "is no label); needs `topseg[matlab]`",
    recognize=recognize,
    open=open_source,
)
