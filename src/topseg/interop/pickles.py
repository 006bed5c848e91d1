"""Pickles: read as data, by an unpickler that can build arrays and plain containers, nothing else.

A pickle is a program that may call anything it can name. This reader resolves a name only to one
of the small classes below, which check what they are given and build NumPy arrays themselves; any
other name ends the reading before a single call is made on it. Its opcodes are walked first: a few
bytes may ask for gigabytes of memo, and a list that holds another twice, many times over, has no
end.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from topseg.core.errors import InputError

Array = NDArray[Any]
LoadStorage = Callable[[str, str, int], Array]
"""From a storage's type, key and length, its values."""


def read_pickle(file: BinaryIO, where: str, load_storage: LoadStorage | None = None) -> Any:
    """Read one pickle from a file, up to its end mark.

    Args:
        file: Open, at the start of the pickle.
        where: What to call it in messages.
        load_storage: Gives the values that a PyTorch pickle keeps outside of itself.

    Returns:
        Containers, scalars, text and arrays.

    Raises:
        InputError: The pickle asks for something that is no data; nothing was run.
        Exception: Anything, where the pickle is damaged.
    """
    start, data = file.tell(), file.read()
    length = _check_opcodes(data, where)
    tree = _plain(_Unpickler(io.BytesIO(data), where, load_storage).load(), {})
    file.seek(start + length)
    return tree


def _check_opcodes(data: bytes, where: str) -> int:
    """Check that no opcode asks for more than the file's own length holds.

    Returns:
        Length of the pickle in bytes.

    Raises:
        InputError: It does.
        ValueError: It is cut short or no pickle.
    """
    stream, nesting = io.BytesIO(data), _Nesting()
    for opcode, given, _ in pickletools.genops(stream):
        argument: Any = given  # None where the opcode has none
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > len(data):
            raise InputError(f"{where}: refused, its pickle asks for more memory than it has bytes")
        if opcode.name == "FRAME" and argument > len(data):
            raise pickle.UnpicklingError("cut short")
        if opcode.name in ("LONG", "LONG1", "LONG4") and argument.bit_length() > 128:
            raise InputError(f"{where}: refused, its pickle holds a number of more than 128 bits")
        if nesting.follow(opcode, argument) > NESTED:
            raise InputError(f"{where}: refused, its pickle nests more than {NESTED} tuples")
    return stream.tell()


NESTED = 100
"""Most tuples inside each other: the hash of a very deep one would run out of the C stack."""


class _Nesting:
    """How deeply tuples are nested, followed through a pickle's stack and memo.

    A list that grows after it was put in the memo counts as it was then; no list becomes a tuple
    again (see :class:`_Pair`).
    """

    _MARK = -1

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Carry out one opcode, and return the depth of what it leaves on top of the stack."""
        stack, memo, name = self._stack, self._memo, opcode.name
        if name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":  # the mark, where that is on top
            stack.pop()
        else:
            taken = [0]
            for kind in reversed(opcode.stack_before):
                if kind is pickletools.stackslice:
                    while stack[-1] != self._MARK:
                        taken.append(stack.pop())
                else:
                    taken.append(stack.pop())
            depth = max(taken) + name.startswith("TUPLE")
            marks = (kind is pickletools.markobject for kind in opcode.stack_after)
            stack += [self._MARK if mark else depth for mark in marks]
        return stack[-1] if stack else 0


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, where: str, load_storage: LoadStorage | None) -> None:
        super().__init__(file, encoding="latin1")  # as bytes of Python 2 are read
        self._where = where
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name, if it is one of data."""
        module = "builtins" if module == "__builtin__" else module  # as protocol 2 calls it
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and name in _STORAGES:
            return name
        raise InputError(
            f"{self._where}: refused, the pickle asks for '{module}.{name}', which is not data; "
            "nothing of it was run. Use the file only if you trust its source, by saving its "
            "weights as .safetensors there"
        )

    def persistent_load(self, pid: Any) -> Array:
        """Return a PyTorch storage: ("storage", type, key, device, length) and, rarely, a view."""
        if self._load_storage is None:
            raise pickle.UnpicklingError("values outside of the pickle")
        kind, type_, key, _, length = pid[:5]
        if kind != "storage" or type_ not in _STORAGES or any(pid[5:]):
            raise pickle.UnpicklingError(f"a storage of another kind: {pid}")
        return self._load_storage(_STORAGES[type_], str(key), int(length))


class _Stub:
    """What a name stands for. Its own state cannot be set: a pickle may try on the class."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f"a state for {type(self).__name__}")


class _Dtype(_Stub):
    """Stands for ``numpy.dtype``: numbers alone, no objects and no records."""

    __slots__ = ("value",)

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not re.fullmatch(r"[biuf]\d", code):
            raise pickle.UnpicklingError(f"values of the type {code!r}")
        self.value: np.dtype[Any] = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        byte_order = state[1]
        if byte_order in ("<", ">"):
            self.value = self.value.newbyteorder(byte_order)


class _Array(_Stub):
    """Stands for ``numpy._core.multiarray._reconstruct``; its state brings the values."""

    __slots__ = ("value",)

    def __init__(self, subtype: Any, shape: Any, code: Any) -> None:
        self.value: Array | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        if isinstance(raw, str):
            raw = raw.encode("latin1")
        self.value = _values(raw, dtype).reshape(shape, order="F" if is_fortran else "C")


class _ArrayType(_Stub):
    """Stands for ``numpy.ndarray``, which only names the type to rebuild."""

    __slots__ = ()


class _Scalar(_Stub):
    """Stands for ``numpy._core.multiarray.scalar``: the number itself."""

    __slots__ = ()

    def __new__(cls, dtype: _Dtype, raw: Any) -> Any:
        """Return the number."""
        return _values(raw.encode("latin1") if isinstance(raw, str) else raw, dtype).item()


class _Bytes(_Stub):
    """Stands for ``_codecs.encode`` and ``bytes``, by which protocol 2 writes bytes and none."""

    __slots__ = ()

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        """Return the bytes."""
        return text.encode("latin1")


class _Tensor(_Stub):
    """Stands for ``torch._utils._rebuild_tensor_v2``: a view of a storage."""

    __slots__ = ()

    def __new__(cls, storage: Array, offset: int, size: Any, stride: Any, *_: Any) -> Any:
        """Return the view, every index of which lies in the storage."""
        if storage.ndim != 1 or not storage.flags.c_contiguous:  # a view: its bytes lie elsewhere
            raise pickle.UnpicklingError("a tensor of a tensor")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        inside = last < len(storage) and math.prod(size) <= len(storage)
        if min(offset, 0, *size, *stride) < 0 or not (0 in size or inside):
            raise pickle.UnpicklingError("a tensor that reaches out of its storage")
        steps = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


class _Pair(_Stub):
    """Stands for ``builtins.tuple``, by which PaddlePaddle writes (name, array)."""

    __slots__ = ()

    def __new__(cls, items: Any) -> Any:
        """Return the pair; of a list it would be a tuple whose depth nobody has counted."""
        if not isinstance(items, tuple):
            raise pickle.UnpicklingError(f"a tuple of a {type(items).__name__}")
        return items


class _Parameter(_Stub):
    """Stands for ``torch._utils._rebuild_parameter``: its tensor."""

    __slots__ = ()

    def __new__(cls, data: Array, *_: Any) -> Any:
        """Return the tensor."""
        return data


_ALLOWED: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _ArrayType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # NumPy 1
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # NumPy 2
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("_codecs", "encode"): _Bytes,
    ("builtins", "bytes"): _Bytes,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "tuple"): _Pair,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
}

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}


def _values(raw: bytes, dtype: _Dtype) -> Array:
    """Bytes as writable numbers in this machine's order."""
    return np.frombuffer(raw, dtype.value).astype(dtype.value.newbyteorder("="))


def _plain(tree: Any, done: dict[int, Any]) -> Any:
    """Put arrays in place of what stands for them; what is shared is done once and stays shared."""
    if isinstance(tree, _Array):
        return tree.value
    if not isinstance(tree, dict | list | tuple):
        return tree
    if id(tree) in done:
        if done[id(tree)] is _PENDING:
            raise pickle.UnpicklingError("a container that holds itself")
        return done[id(tree)]
    done[id(tree)] = _PENDING
    if isinstance(tree, dict):
        plain: Any = {_plain(key, done): _plain(value, done) for key, value in tree.items()}
    else:
        plain = type(tree)(_plain(item, done) for item in tree)
    done[id(tree)] = plain
    return plain


_PENDING = object()
"""Stands for a container whose contents are being done."""
