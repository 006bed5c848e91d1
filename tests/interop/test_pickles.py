"""Pickles build arrays and nothing else, whatever they ask for."""

import builtins
import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from topseg.core.errors import InputError
from topseg.interop.pickles import read_pickle
from topseg.interop.weights import read_weights

STEM = "backbone.tpm.stem.0.c.weight"


class Attack:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(mark: Path) -> dict[str, Attack]:
    """Calls that would leave a file behind, and the name that each would have to resolve."""
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w')"
    return {
        "posix.system": Attack(os.system, touch),
        "builtins.eval": Attack(builtins.eval, code),
        "builtins.exec": Attack(builtins.exec, code),
        "shutil.move": Attack(shutil.move, __file__, mark),
        "numpy.load": Attack(np.load, mark),
        "torch.serialization.load": Attack(torch.load, mark),
    }


NAMES = list(attacks(Path()))


def write_pickle(path: Path, tree: Any, protocol: int) -> None:
    path.write_bytes(pickle.dumps(tree, protocol))


def write_zip(path: Path, tree: Any, protocol: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any/", b"")
        archive.writestr("any/model.pdparams", pickle.dumps(tree, protocol))


def write_torch(path: Path, tree: Any, protocol: int) -> None:
    torch.save(tree, path, pickle_protocol=protocol)


def write_legacy(path: Path, tree: Any, protocol: int) -> None:
    torch.save(tree, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


WRITERS = [
    ("evil.pdparams", write_pickle),
    ("evil.zip", write_zip),
    ("evil.pth", write_torch),
    ("evil.pt", write_legacy),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("file", "write"), WRITERS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_call_is_refused_by_name_and_never_made(
    tmp_path: Path, name: str, file: str, write: Callable[..., None], protocol: int
) -> None:
    mark, path = tmp_path / "ran", tmp_path / file
    attack = attacks(mark)[name]
    for tree in (attack, {STEM: np.zeros(3), "nested": {"deeper": [(attack,)]}}):
        write(path, tree, protocol)
        with pytest.raises(InputError, match="refused") as caught:
            read_weights(path)
        assert file in str(caught.value)
        assert f"'{name}'" in str(caught.value)
        assert not mark.exists()


def opcodes(*parts: bytes) -> io.BytesIO:
    return io.BytesIO(b"\x80\x02" + b"".join(parts) + b".")


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n",  # a name alone, never called
        b"cbuiltins\n__import__\n(X\x02\x00\x00\x00ostR",
        b"cnumpy\ncore.multiarray.os.system\n",  # a dotted path
        b"(X\x04\x00\x00\x00exitios\nsystem\n",  # INST
    ],
)
def test_hand_written_programs_are_refused(program: bytes) -> None:
    with pytest.raises(InputError, match="refused, the pickle asks for"):
        read_pickle(opcodes(program), "hand")


@pytest.mark.parametrize(
    "name", ["numpy dtype", "numpy ndarray", "_codecs encode", "collections OrderedDict"]
)
def test_allowed_names_cannot_be_changed(name: str) -> None:
    """BUILD with slot state sets attributes of whatever it is applied to, classes too."""
    target = b"c" + name.replace(" ", "\n").encode() + b"\n"
    state = b"N}X\x08\x00\x00\x00__init__Ns\x86"  # (None, {"__init__": None})
    with pytest.raises(Exception, match=r".") as caught:
        read_pickle(opcodes(target, state, b"b"), "hand")
    assert isinstance(caught.value, TypeError | AttributeError | pickle.UnpicklingError)
    test_arrays_come_back(2)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_come_back(protocol: int) -> None:
    rng = np.random.default_rng(0)
    tree = {
        "plain": rng.normal(size=(2, 3)).astype(np.float32),
        "fortran": np.asfortranarray(rng.normal(size=(2, 3))),
        "big endian": np.arange(4, dtype=">i4"),
        "empty": np.zeros((0, 3), np.float16),
        "scalar array": np.array(5),
        "scalar": np.float64(0.5),
        "ordered": OrderedDict(flag=np.array([True, False])),
        "list": [1, 2.5, None, "text", (np.uint8(7), b"bytes")],
    }
    data = pickle.dumps(tree, protocol)
    if protocol == 5:  # the arrays of protocol 5 have a builder that is not allowed
        with pytest.raises(InputError, match="_frombuffer"):
            read_pickle(io.BytesIO(data), "five")
        return
    read = read_pickle(io.BytesIO(data), "file")
    for name in ("plain", "fortran", "big endian", "empty", "scalar array"):
        np.testing.assert_array_equal(read[name], tree[name])
        assert read[name].flags.writeable
        assert read[name].dtype.isnative
    assert read["scalar"] == 0.5
    assert read["ordered"]["flag"].tolist() == [True, False]
    assert read["list"] == [1, 2.5, None, "text", (7, b"bytes")]


def test_both_spellings_of_numpy_are_read() -> None:
    data = pickle.dumps(np.arange(3), 2)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    for spelling in (new, old):
        file = io.BytesIO(data.replace(new, spelling).replace(old, spelling))
        np.testing.assert_array_equal(read_pickle(file, "file"), [0, 1, 2])


@pytest.mark.parametrize(
    "tree",
    [np.array([{}], object), np.array(["text"]), np.zeros(2, [("a", "f4")]), np.complex64(1)],
)
def test_values_that_are_no_numbers_are_refused(tree: Any, tmp_path: Path) -> None:
    (tmp_path / "odd.pdparams").write_bytes(pickle.dumps({STEM: tree}, 2))
    with pytest.raises(InputError, match=r"odd.pdparams: damaged, .*values of the type"):
        read_weights(tmp_path / "odd.pdparams")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "asks for more memory than it has bytes"),
        (b"\x80\x02)" + b"\x85" * 10**5 + b".", "nests more than 100 tuples"),
        # A key of so many tuples, each put in the memo, taken from it, or put after a list.
        (b"\x80\x04})" + b"\x85\x94" * 10**5 + b"K\x01s.", "nests more than 100 tuples"),
        (b"\x80\x02})" + b"q\0" + b"0h\0\x85q\0" * 10**5 + b"K\x01s.", "nests more than 100"),
        (b"\x80\x02})" + b"]0(t\x86" * 10**5 + b"K\x01s.", "nests more than 100 tuples"),
        (b"\x80\x02\x8a\x14" + b"\x01" * 20 + b".", "more than 128 bits"),
    ],
)
def test_a_few_bytes_cannot_ask_for_much(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pickle(io.BytesIO(data), "file")


def test_shared_lists_are_read_once() -> None:
    tree: list[object] = []
    for _ in range(200):
        tree = [tree, tree]
    found = read_pickle(io.BytesIO(pickle.dumps(tree)), "file")
    assert found[0] is found[1]


def test_a_list_that_holds_itself_is_damaged() -> None:
    tree: list[object] = []
    tree.append(tree)
    with pytest.raises(pickle.UnpicklingError, match="holds itself"):
        read_pickle(io.BytesIO(pickle.dumps(tree)), "file")


def test_tuples_in_containers_are_as_deep_as_they_are() -> None:
    tree: Any = ()
    for _ in range(45):
        tree = [{"a": (tree,)}]
    assert read_pickle(io.BytesIO(pickle.dumps(tree)), "file") == tree


def test_a_list_does_not_become_a_tuple() -> None:
    with pytest.raises(pickle.UnpicklingError, match="a tuple of a list"):
        read_pickle(io.BytesIO(b"\x80\x02cbuiltins\ntuple\n]\x85R."), "file")


def test_a_tensor_of_a_tensor_is_refused() -> None:
    """One element 64 times is as long as its storage, and does not lie in as many bytes."""

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little")

    def view(storage: bytes, offset: int, stride: int) -> bytes:
        sides = b"(" + number(64) + b"t(" + number(stride) + b"t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sides + b"tR"

    storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" + number(64) + b"tQ"
    data = b"\x80\x02" + view(view(storage, 63, 0), 0, 1) + b"."
    with pytest.raises(pickle.UnpicklingError, match="a tensor of a tensor"):
        read_pickle(io.BytesIO(data), "file", lambda *_: np.zeros(64, np.float32))
