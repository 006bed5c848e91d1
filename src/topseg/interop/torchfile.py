"""Torchfile: what ``torch.save`` wrote, read without PyTorch and without running anything.

Two formats: since PyTorch 1.6 a ZIP archive with one pickle and a file for each storage; before
(and on request after, as OpenMMLab publishes weights) five pickles and then the storages in a row.
Layouts: https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from topseg.core.errors import InputError
from topseg.interop.pickles import Array, read_pickle

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def read_torch(path: Path) -> Any:
    """Read a ``.pth`` or ``.pt`` file.

    Returns:
        What was saved, tensors as arrays.

    Raises:
        InputError: The pickle in it asks for something that is no data; nothing was run.
        Exception: Anything, where the file is damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _read_zip(archive, str(path))
    with path.open("rb") as file:
        return _read_legacy(file, str(path))


def check_archive(archive: zipfile.ZipFile, where: str) -> None:
    """Check that an archive unpacks to no more than weights would: they hardly shrink.

    Raises:
        InputError: It would take far more memory than it has bytes.
    """
    packed = sum(member.compress_size for member in archive.infolist())
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > 8 * packed + 2**24:
        raise InputError(
            f"{where}: refused, {packed} bytes would unpack to {unpacked}, which no weights do"
        )


def _read_zip(archive: zipfile.ZipFile, where: str) -> Any:
    check_archive(archive, where)
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"{where}: an archive that torch.save did not write (no data.pkl in it)")
    folder = pickles[0].removesuffix("data.pkl")
    big = f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big"
    storages: dict[str, Array] = {}

    def load_storage(dtype: str, key: str, length: int) -> Array:
        if key not in storages:
            raw = archive.read(f"{folder}data/{key}")
            order = ">" if big else "<"
            storages[key] = np.frombuffer(raw, order + dtype, length).astype(dtype)
        return storages[key]

    with archive.open(pickles[0]) as file:
        return read_pickle(file, where, load_storage)  # type: ignore[arg-type]


def _read_legacy(file: BinaryIO, where: str) -> Any:
    if read_pickle(file, where) != LEGACY_MAGIC:
        raise InputError(f"{where}: a pickle that torch.save did not write")
    read_pickle(file, where)  # version of the format
    read_pickle(file, where)  # byte order and word sizes of the machine, little-endian everywhere
    storages: dict[str, Array] = {}
    size = os.fstat(file.fileno()).st_size

    def load_storage(dtype: str, key: str, length: int) -> Array:
        if length * np.dtype(dtype).itemsize > size:
            raise InputError(f"{where}: damaged, a tensor is larger than the file")
        return storages.setdefault(key, np.zeros(length, dtype))  # filled below

    tree = read_pickle(file, where, load_storage)
    for key in read_pickle(file, where):
        length = int.from_bytes(file.read(8), "little")
        storage = storages.get(key)
        if storage is None or len(storage) != length:
            raise InputError(f"{where}: damaged, its storages do not fit its tensors")
        raw = file.read(storage.nbytes)
        if len(raw) != storage.nbytes:
            raise InputError(f"{where}: cut short; get the file again")
        storage[:] = np.frombuffer(raw, storage.dtype.newbyteorder("<"))
    return tree
