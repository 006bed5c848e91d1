"""Weights go out to other projects' files and come back equal."""

import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden.fill import golden_model, paddle_name
from topseg.core.errors import InputError
from topseg.interop import read_weights, write_weights
from topseg.interop.weights import Weights

TESTS = Path(__file__).parents[1]
KEYS = json.loads((TESTS / "golden" / "state_dict_keys.json").read_text())
PADDLE = TESTS.parents[1] / "shared" / "golden" / "pdparams"
STEM = "backbone.tpm.stem.0.c.weight"


@pytest.fixture(scope="module", params=["tiny", "base"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def state(size: str) -> dict[str, torch.Tensor]:
    return golden_model(f"topformer_{size}").state_dict()


@pytest.fixture
def weights(state: dict[str, torch.Tensor]) -> Weights:
    return {name: tensor.numpy() for name, tensor in state.items()}


def without_counters(weights: Weights) -> Weights:
    return {n: w for n, w in weights.items() if not n.endswith("num_batches_tracked")}


def assert_equal(found: Weights, expected: Weights) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("suffix", [".pdparams", ".pth", ".safetensors"])
def test_what_is_written_reads_back_equal(tmp_path: Path, weights: Weights, suffix: str) -> None:
    write_weights(weights, tmp_path / f"out{suffix}")
    found = read_weights(tmp_path / f"out{suffix}")
    assert_equal(found, without_counters(weights) if suffix == ".pdparams" else weights)


def test_a_pdparams_has_exactly_the_references_entries(
    tmp_path: Path, weights: Weights, size: str
) -> None:
    write_weights(dict(sorted(weights.items())), tmp_path / "out.pdparams")
    tree = pickle.loads((tmp_path / "out.pdparams").read_bytes())
    table = tree.pop("StructuredToParameterName@@")
    assert [(n, list(w.shape)) for n, w in tree.items()] == list(KEYS[size]["entries"].items())
    assert all(type(array) is np.ndarray for array in tree.values())
    assert {str(array.dtype) for array in tree.values()} == {"float32"}
    assert list(table) == list(tree)
    assert len(set(table.values())) == len(table)
    assert table["backbone.tpm.layer1.conv.0.bn._variance"] == "batch_norm2d_1.w_2"


def test_a_pdparams_names_numpy_as_every_numpy_can_read(tmp_path: Path, weights: Weights) -> None:
    write_weights(weights, tmp_path / "out.pdparams")
    data = (tmp_path / "out.pdparams").read_bytes()
    assert b"numpy._core" not in data
    assert data.count(b"cnumpy.core.multiarray\n_reconstruct\n") == 1


def test_a_pth_is_a_checkpoint_of_the_official_code(
    tmp_path: Path, state: dict[str, torch.Tensor], size: str
) -> None:
    paddle = without_counters({name: tensor.numpy() for name, tensor in state.items()})
    write_weights(paddle, tmp_path / "out.pth")
    checkpoint = torch.load(tmp_path / "out.pth", weights_only=True)
    assert set(checkpoint) == {"meta", "state_dict"}
    golden_model(f"topformer_{size}").load_state_dict(checkpoint["state_dict"])  # strict


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("wrapper", ["state_dict", "state_dict_ema", "model", None])
def test_checkpoints_of_pytorch_are_read(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str | None, legacy: bool
) -> None:
    ordered: Any = OrderedDict(
        (f"module.{n}", torch.nn.Parameter(t, False)) for n, t in state.items()
    )
    ordered._metadata = {"": {"version": 1}}
    notes = {"epoch": np.int64(3), "CLASSES": ["wall"], "best_score": np.float64(0.3)}
    tree = ordered if wrapper is None else {"meta": notes, wrapper: ordered, "optimizer": None}
    path = tmp_path / "model.pth"
    torch.save(tree, path, _use_new_zipfile_serialization=not legacy)
    assert_equal(read_weights(path), {name: tensor.numpy() for name, tensor in state.items()})


@pytest.mark.parametrize("legacy", [True, False])
def test_tensors_may_be_views_of_a_storage(tmp_path: Path, legacy: bool) -> None:
    storage = torch.arange(24.0)
    views = {
        "turned": storage[4:16].view(3, 4).T,
        "stepped": storage[::5],
        "half": torch.tensor([[1.5, -2]]).half(),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor(7),
    }
    tree = {f"backbone.tpm.{name}": view for name, view in views.items()}
    torch.save(tree, tmp_path / "views.pt", _use_new_zipfile_serialization=not legacy)
    found = read_weights(tmp_path / "views.pt")
    for name, view in views.items():
        np.testing.assert_array_equal(found[f"backbone.tpm.{name}"], view.numpy())


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (2, (3,), (1,)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (9999, 9999), (0, 0)),
    ],
)
def test_a_tensor_cannot_reach_out_of_its_storage(
    tmp_path: Path, legacy: bool, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    class Reach:
        def __reduce__(self) -> Any:
            typed = torch.zeros(4).storage()
            return torch._utils._rebuild_tensor_v2, (typed, offset, size, stride, False, {})

    path = tmp_path / "reach.pth"
    with warnings.catch_warnings(action="ignore"):  # of typed storages, once in a process
        torch.save({STEM: Reach()}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="reaches out of its storage"):
        read_weights(path)


def paddle_tree(weights: Weights, prefix: str = "") -> dict[str, Any]:
    named = {
        paddle_name(n): w for n, w in without_counters(weights).items() if n.startswith(prefix)
    }
    return {n.removeprefix(prefix): w for n, w in named.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pdparams_of_every_protocol_are_read(
    tmp_path: Path, weights: Weights, protocol: int
) -> None:
    tree = paddle_tree(weights) | {"StructuredToParameterName@@": {STEM: "conv2d_0.w_0"}}
    (tmp_path / "model.pdparams").write_bytes(pickle.dumps(tree, protocol))
    assert_equal(read_weights(tmp_path / "model.pdparams"), without_counters(weights))


def test_safetensors_of_every_type_are_read(tmp_path: Path) -> None:
    numbers = torch.tensor([[-1.5, 0.0, 3e38], [1e-40, 2.0, 7.0]])
    kinds = (torch.bfloat16, torch.float16, torch.float64, torch.int32, torch.uint8, torch.bool)
    tree = {str(kind): numbers.abs().to(kind) for kind in kinds}
    save_file(tree, tmp_path / "all.safetensors")
    found = read_weights(tmp_path / "all.safetensors")
    for kind in kinds:
        expected = tree[str(kind)]
        expected = expected.float() if kind is torch.bfloat16 else expected
        np.testing.assert_array_equal(found[str(kind)], expected.numpy())
        assert found[str(kind)].dtype == expected.numpy().dtype
    save_file({"a": numbers.to(torch.float8_e5m2)}, tmp_path / "eight.safetensors")
    with pytest.raises(InputError, match="'a' is of the type F8_E5M2; save it as float32"):
        read_weights(tmp_path / "eight.safetensors")


def test_named_and_cut_arrays_are_read(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tree = {
        STEM: ("conv2d_0.w_0", np.ones(2, np.float32)),
        "big@@.0": whole.ravel()[:20],
        "big@@.1": whole.ravel()[20:],
        "UnpackBigParamInfor@@": {
            "big": {"OriginShape": (2, 3, 4), "slices": ["big@@.0", "big@@.1"]}
        },
    }
    (tmp_path / "model.pdparams").write_bytes(pickle.dumps(tree, 2))
    assert_equal(
        read_weights(tmp_path / "model.pdparams"), {STEM: np.ones(2, np.float32), "big": whole}
    )


def test_a_backbone_in_a_zip_is_read(tmp_path: Path, weights: Weights) -> None:
    data = pickle.dumps(paddle_tree(weights, "backbone."))
    with zipfile.ZipFile(tmp_path / "backbone.zip", "w") as archive:
        archive.writestr("pretrained/", b"")
        archive.writestr("pretrained/model.pdparams", data)
    found = read_weights(tmp_path / "backbone.zip")
    assert_equal(
        found, {n: w for n, w in without_counters(weights).items() if n.startswith("backbone.")}
    )


def test_pytorch_is_not_needed_to_read(tmp_path: Path, weights: Weights) -> None:
    write_weights(weights, tmp_path / "out.pth")
    code = (
        "import sys, pathlib; from topseg.interop import read_weights; "
        f"read_weights(pathlib.Path({str(tmp_path / 'out.pth')!r})); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cut.pdparams", pickle.dumps({STEM: np.zeros(99)})[:-200], "damaged"),
        ("text.pdparams", b"<html>404</html>", "damaged"),
        ("empty.pth", b"", "damaged"),
        ("pickle.pth", pickle.dumps(1), "torch.save did not write"),
        ("text.zip", b"not an archive", "damaged"),
        ("text.safetensors", b"not tensors", "damaged"),
        ("other.pdparams", pickle.dumps({"fc.weight": [1]}), "holds no named tensors"),
        ("number.pdparams", pickle.dumps(5), "holds no named tensors"),
        ("model.onnx", b"", r"not a kind of weight file known here \(.pdparams, .zip"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        read_weights(tmp_path / name)


def test_a_cut_legacy_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    torch.save({STEM: torch.zeros(99)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-8])
    with pytest.raises(InputError, match=r"b.pth: cut short"):
        read_weights(tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"c.pth: no such weight file"):
        read_weights(tmp_path / "c.pth")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out.onnx: cannot write this kind of file, only .pdpar"):
        write_weights({}, tmp_path / "out.onnx")
    with pytest.raises(InputError, match=r"cannot write 'fc.weight'"):
        write_weights({"fc.weight": np.zeros(1)}, tmp_path / "out.pdparams")


@pytest.mark.skipif(not PADDLE.is_dir(), reason="needs PaddleSeg's own files, ../shared/golden")
def test_files_that_paddle_wrote_are_read_and_written_back_the_same(tmp_path: Path) -> None:
    original = PADDLE / "topformer_tiny_random.pdparams"
    weights = read_weights(original)
    assert_equal(read_weights(PADDLE / "topformer_tiny_random_proto2.pdparams"), weights)
    backbone = read_weights(PADDLE / "toptransformer_tiny_backbone_random.pdparams")
    assert set(backbone) == {name for name in weights if name.startswith("backbone.")}
    write_weights(weights, tmp_path / "out.pdparams")
    theirs, ours = (pickle.loads(p.read_bytes()) for p in (original, tmp_path / "out.pdparams"))
    table = "StructuredToParameterName@@"
    assert ours.pop(table) == theirs.pop(table)
    assert_equal(ours, theirs)
