"""Weights: tensors in the files of other projects, read and written.

In memory they are a dict from published name (PyTorch's spelling) to array, whatever the file was.
Convolutions are laid out alike everywhere, so nothing is transposed; only two leaf names differ
(``running_mean`` is ``_mean`` in PaddleSeg). Names that a family has of its own are its record's.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import deserialize
from safetensors.numpy import save

from topseg.bundle.bundle import read_bundle
from topseg.bundle.metadata import METADATA
from topseg.core.errors import InputError
from topseg.core.files import write_bytes
from topseg.core.installing import pip_install
from topseg.interop.pickles import Array, read_pickle
from topseg.interop.torchfile import check_archive, read_torch
from topseg.models import families
from topseg.models.family import recognize

Weights = dict[str, Array]

NAME_TABLE = "StructuredToParameterName@@"
"""Entry of a ``.pdparams`` that maps structured names to PaddlePaddle's internal ones."""
SLICE_TABLE = "UnpackBigParamInfor@@"
"""Entry of a ``.pdparams`` that tells how arrays above 1 GB were cut (protocol 2)."""
WRAPPERS = ("state_dict_ema", "state_dict", "model")
"""Entries under which a training checkpoint keeps its weights, as the official code tries them."""
COUNTER = "num_batches_tracked"
"""A batch norm's step count: PyTorch keeps it, PaddlePaddle does not, inference ignores it."""


def read_weights(path: Path) -> Weights:
    """Read weights, running nothing that a file may carry.

    Args:
        path: A ``.pdparams`` (PaddleSeg), a ``.zip`` with one in it (PaddleSeg's ImageNet
            backbones), a ``.pth`` or ``.pt`` (official code), a ``.safetensors``, or a bundle.

    Raises:
        InputError: No such file, another kind of file, a damaged or malicious one, or no weights
            in it.
    """
    if (path / METADATA).is_file():
        path = read_bundle(path).weights
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: not a kind of weight file known here ({', '.join(_READERS)}); "
            "save the weights as .safetensors"
        )
    try:
        weights = _published(reader(path))
    except InputError:
        raise
    except Exception as error:  # a damaged file can make its reader raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: damaged, or not what it is called ({reason})") from None
    if not weights:
        raise InputError(f"{path}: holds no named tensors, so no weights of a network")
    return weights


def write_weights(weights: Mapping[str, Array], path: Path) -> None:
    """Write weights for another project.

    Args:
        weights: By published name.
        path: ``.pdparams`` loads into PaddleSeg, ``.pth`` into the official code, with every key
            matched; ``.safetensors`` into anything.

    Raises:
        InputError: Another suffix, no PyTorch for a ``.pth``, or the file cannot be written.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: cannot write this kind of file, only {', '.join(_WRITERS)}")
    names = list(weights)
    family = recognize(families(), weights)
    if family is not None and family.files is not None:
        names.sort(key=family.files.place)
        strange = [name for name in names if not name.startswith(family.files.prefixes)]
    else:  # other projects have no such network; a .safetensors is anybody's
        strange = names if path.suffix.lower() != ".safetensors" else []
    if strange:
        raise InputError(
            f"{path}: cannot write '{strange[0]}', which is no tensor of a network that other "
            "projects have; save it as .safetensors"
        )
    write_bytes(path, writer({name: weights[name] for name in names}))


def _published(tree: Any) -> Weights:
    """Pick the tensors out of what a file held, by their published names."""
    for wrapper in WRAPPERS:
        if isinstance(tree, dict) and isinstance(tree.get(wrapper), dict):
            tree = tree[wrapper]
    weights: Weights = {}
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if isinstance(value, tuple) and len(value) == 2:  # PaddlePaddle's (internal name, array)
            value = value[1]
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            continue
        name = name.removeprefix("module.")  # of a distributed wrapper
        name = name.replace("._mean", ".running_mean").replace("._variance", ".running_var")
        weights[name] = value
    family = recognize(families(), weights)
    if family is None or family.files is None:
        return weights
    return {family.files.rename(name): value for name, value in weights.items()}


def read_safetensors(path: Path) -> Weights:
    """Read a ``.safetensors``; bfloat16, which NumPy has not, becomes float32 without a loss.

    Raises:
        InputError: A tensor of another type that NumPy has not, such as float8.
        Exception: Anything, where the file is damaged.
    """
    weights: Weights = {}
    for name, tensor in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
        kind, raw = tensor["dtype"], tensor["data"]
        if kind == "BF16":  # the upper half of a float32
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind == "BOOL":
            values = np.frombuffer(raw, np.bool_)
        elif re.fullmatch(r"[FIU]\d+", kind):
            values = np.frombuffer(raw, f"<{kind[0].lower()}{int(kind[1:]) // 8}")
        else:
            raise InputError(f"{path}: '{name}' is of the type {kind}; save it as float32")
        weights[name] = values.reshape(tensor["shape"])
    return weights


def _read_pdparams(path: Path) -> Any:
    with path.open("rb") as file:
        return _join_slices(read_pickle(file, str(path)))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, str(path))
        members = [name for name in archive.namelist() if name.endswith(".pdparams")]
        if len(members) != 1:
            raise InputError(f"{path}: expected one .pdparams in it, found {len(members)}")
        with archive.open(members[0]) as file:
            return _join_slices(read_pickle(file, f"{path}/{members[0]}"))  # type: ignore[arg-type]


def _join_slices(tree: Any) -> Any:
    """Put arrays together that PaddlePaddle cut for pickle protocol 2."""
    if isinstance(tree, dict):
        for name, cut in tree.pop(SLICE_TABLE, {}).items():
            parts = [tree.pop(part).ravel() for part in cut["slices"]]
            tree[name] = np.concatenate(parts).reshape(cut["OriginShape"])
    return tree


def _to_pdparams(weights: Weights) -> bytes:
    """Pickle as ``paddle.save(model.state_dict())`` does, with the table of internal names."""
    named, internal = Weights(), dict[str, str]()
    layer, count = "", {"conv2d": 0, "batch_norm2d": 0}
    for name, array in weights.items():
        stem, _, leaf = name.rpartition(".")
        if leaf == COUNTER:
            continue
        if leaf == "weight":
            kind = "conv2d" if array.ndim == 4 else "batch_norm2d"
            layer = f"{kind}_{count[kind]}"
            count[kind] += 1
        if leaf not in _PADDLE_LEAVES:
            raise InputError(
                f"cannot write '{name}' as .pdparams, which has no such kind of tensor"
            )
        leaf, slot = _PADDLE_LEAVES[leaf]
        named[f"{stem}.{leaf}"] = np.asarray(array, np.float32)
        internal[f"{stem}.{leaf}"] = f"{layer}.{slot}"
    data = pickle.dumps({**named, NAME_TABLE: internal}, protocol=3)
    # Protocol 3 names NumPy's function in a line of text. NumPy 1 does not know NumPy 2's name for
    # it, both know the old one; the line comes once, before any value, and is referred to later.
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def _to_pth(weights: Weights) -> bytes:
    """Save as OpenMMLab's checkpoints are: ``{"meta": ..., "state_dict": ...}``."""
    try:
        import torch
    except ModuleNotFoundError:
        raise InputError(
            f"a .pth needs PyTorch to be written; {pip_install('topseg[train]')}"
        ) from None
    state = {}
    for name, array in weights.items():
        state[name] = torch.tensor(array)
        if name.endswith(".running_var"):
            counter = name.replace("running_var", COUNTER)
            state[counter] = torch.tensor(np.asarray(weights.get(counter, 0), np.int64))
    buffer = io.BytesIO()
    torch.save({"meta": {}, "state_dict": state}, buffer)
    return buffer.getvalue()


_PADDLE_LEAVES = {
    "weight": ("weight", "w_0"),
    "bias": ("bias", "b_0"),
    "running_mean": ("_mean", "w_1"),
    "running_var": ("_variance", "w_2"),
}
"""PyTorch's name of a tensor in its layer -> PaddlePaddle's, and the end of its internal name."""

_READERS: dict[str, Callable[[Path], Any]] = {
    ".pdparams": _read_pdparams,
    ".zip": _read_zip,
    ".pth": read_torch,
    ".pt": read_torch,
    ".safetensors": read_safetensors,
}
SUFFIXES = tuple(_READERS)
"""Of the files that are read."""
_WRITERS: dict[str, Callable[[Weights], bytes]] = {
    ".pdparams": _to_pdparams,
    ".pth": _to_pth,
    ".safetensors": save,
}
