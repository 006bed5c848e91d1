"""metadata.json: both schemas are read, and what is wrong in one is one clear line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topseg.bundle.bundle import read_bundle, read_metadata, write_metadata
from topseg.bundle.metadata import METADATA, SCHEMA_VERSION, Architecture, Metadata
from topseg.core.errors import InputError
from topseg.core.files import sha256

OLD = Path(__file__).with_name("schema1")
Tree = dict[str, Any]


@pytest.mark.parametrize(
    ("file", "options", "classes"),
    [
        ("topformer-tiny-camvid.json", {"pool": "adaptive"}, 11),
        ("checkpoint.json", {"pool": "fixed"}, 2),
    ],
)
def test_files_of_version_0_1_are_read_and_written_anew(
    tmp_path: Path, file: str, options: Tree, classes: int
) -> None:
    """The packaged model and a checkpoint, as version 0.1 wrote them."""
    shutil.copy(OLD / file, tmp_path / METADATA)
    before = json.loads((OLD / file).read_text())
    metadata = read_metadata(tmp_path)
    assert metadata.architecture == Architecture(
        name="topformer_tiny", num_classes=classes, in_channels=3, options=options
    )
    write_metadata(tmp_path, metadata)
    after = json.loads((tmp_path / METADATA).read_text())
    assert read_metadata(tmp_path).architecture == metadata.architecture
    assert after["schema_version"] == SCHEMA_VERSION == 2
    assert after["architecture"]["options"] == options
    assert set(before) - set(after) == {"model", "stride"}
    for key in set(before) & set(after) - {"schema_version", "files"}:
        assert after[key] == before[key], key


@pytest.mark.parametrize("old", [{"stride": 16}, {"model": 3}, {"model": {"name": 1}}])
def test_schema_1_is_checked_too(tmp_path: Path, old: Tree) -> None:
    tree = json.loads((OLD / "checkpoint.json").read_text()) | old
    (tmp_path / METADATA).write_text(json.dumps(tree))
    with pytest.raises(InputError, match=r"stride: got 16|model: got 3|architecture.name: got 1"):
        read_metadata(tmp_path)


@pytest.fixture
def change(tmp_path: Path) -> Callable[..., Path]:
    """Make a bundle whose metadata is changed: keys, or the whole text."""

    def change(changes: Tree | str) -> Path:
        folder = tmp_path / "bundle"
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"some weights")
        (folder / "model.onnx").write_bytes(b"a graph")
        network = Architecture(name="topformer_tiny", num_classes=2, in_channels=3)
        metadata = Metadata(
            architecture=network, classes=("a", "b"), palette=((0, 0, 0), (9, 9, 9))
        )
        write_metadata(folder, metadata)
        path = folder / METADATA
        if isinstance(changes, str):
            path.write_text(changes)
            return folder
        tree = json.loads(path.read_text())
        for dotted, value in changes.items():
            node = tree
            *way, last = dotted.split("/")
            for key in way:
                node = node[key]
            node[last] = value
        path.write_text(json.dumps(tree))
        return folder

    return change


def graph(file: str) -> Tree:
    return {"onnx": {"file": file}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["a"] * 5}, "classes: got 5, expected one for each of .*num_classes 2"),
        ({"palette": [[1, 2, 3]]}, "palette: got 1, expected one for each of"),
        ({"palette": [[300, 0, 0], [0, 0, 0]]}, "palette.0.0: got 300, expected a number less"),
        ({"palette": [[0, 0], [0, 0]]}, "palette.0.2: a value is required"),
        ({"classes": ["a"] * 10**6}, "classes: got 1000000, expected at most 65535"),
        ({"classes": [1] * 10**5}, "classes.0: got 1, expected text"),
        ({"classes": ["a", "b\x1b[2J"]}, r"classes.1: got 'b\\x1b\[2J', expected one line of"),
        ({"notice": "two\nlines"}, "notice: got .*expected one line of printable text"),
        ({"architecture/num_classes": 10**6}, "num_classes: got 1000000, expected a number less"),
        ({"architecture/in_channels": 4}, "input.mean: got 3, expected one for each of .* 4"),
        ({"architecture": []}, "architecture: got .*expected a section"),
        ({"resize/short_side": 10**9}, "short_side: got 1000000000, expected a number less"),
        ({"recipe": 10**40}, "not readable as JSON .a number of 41 digits"),
        ({"metrics": {"x": float("inf")}}, "not readable as JSON .Infinity is not a finite"),
        ({"weights": "../weights"}, "weights: got .*expected the plain name of a file below"),
        ({"weights": "/etc/passwd"}, "weights: got .*expected the plain name of a file below"),
        ({"weights": METADATA}, "weights: got .*expected the plain name of a file below"),
        ({"graphs": graph("a/../../b")}, "graphs.onnx.file: got .*expected the plain name"),
        ({"graphs": graph("C:\\a")}, "graphs.onnx.file: got .*expected the plain name"),
        ({"graphs": graph("a//b")}, "graphs.onnx.file: got .*expected the plain name"),
        ({"graphs": graph("a\0")}, "graphs.onnx.file: got .*expected the plain name"),
        ({"graphs": graph("n" * 300)}, "graphs.onnx.file: got .*expected the plain name"),
        ({"graphs": graph("none.onnx")}, "files: does not list 'none.onnx', which the bundle"),
        ({"graphs": graph("model.onnx"), "files": {}}, "files: does not list 'weights.safet"),
        ({"files/weights.safetensors": "0" * 63}, "files.weights.safetensors: got"),
        ({"files/weights.safetensors": "0" * 64}, "its bytes changed"),
        ({"schema_version": 99}, "schema_version: got 99, expected up to 2; upgrade topseg"),
        ({"schema_version": True}, "schema_version: got True, expected a whole number"),
        ({"schema_version": 0}, "schema_version: got 0, expected a whole number"),
        ("[]", "got a list, expected a mapping"),
        ('{"schema_version": 2, "a": ' + "[" * 10**5 + "]" * 10**5 + "}", "nested too deeply"),
        ('{"schema_version": 2, "a": ' + "[" * 99 + "]" * 99 + "}", "nested deeper than 32"),
        ('{"schema_version": 2' + "0" * 5000 + "}", "a number of 5001 digits"),
        ('{"schema_version": 2', "not readable as JSON"),
        ("\x00", "not readable as JSON"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    change: Callable[..., Path], changes: Tree | str, message: str
) -> None:
    folder = change(changes)
    with pytest.raises(InputError, match=message) as caught:
        read_bundle(folder)
    assert len(str(caught.value)) < 10_000
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def test_a_listed_file_stays_inside(change: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = change({})
    tree = json.loads((folder / METADATA).read_text())
    digest = sha256(tmp_path / "secret")
    (folder / METADATA).write_text(json.dumps({**tree, "files": {"../secret": digest}}))
    with pytest.raises(InputError, match="expected the plain name of a file below"):
        read_bundle(folder)
    (folder / "link").symlink_to(tmp_path / "secret")
    files = {**tree["files"], "link": digest}
    (folder / METADATA).write_text(json.dumps({**tree, "files": files}))
    with pytest.raises(InputError, match=r"leads out of the bundle's folder, to .*secret"):
        read_bundle(folder)


def test_every_part_of_a_graph_is_listed(change: Callable[..., Path]) -> None:
    folder = change({"graphs": {"openvino": {"file": "openvino.xml"}}})
    for name in ("openvino.xml", "openvino.bin"):
        (folder / name).write_bytes(b"x")
        with pytest.raises(InputError, match=f"files: does not list '{name}'"):
            read_bundle(folder)
        tree = json.loads((folder / METADATA).read_text())
        tree["files"][name] = sha256(folder / name)
        (folder / METADATA).write_text(json.dumps(tree))
    assert read_bundle(folder).metadata.graphs["openvino"].file == "openvino.xml"
    tree["graphs"] = {"coreml": {"file": "model.mlpackage"}}
    (folder / METADATA).write_text(json.dumps(tree))
    (folder / "model.mlpackage" / "Data").mkdir(parents=True)
    (folder / "model.mlpackage" / "Data" / "weight").write_bytes(b"x")
    with pytest.raises(InputError, match=r"files: does not list 'model.mlpackage/Data/weight'"):
        read_bundle(folder)
    write_metadata(folder, read_metadata(folder))
    assert "model.mlpackage/Data/weight" in read_bundle(folder).metadata.files


def test_a_folder_behind_a_link_is_fine(change: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(change({}), target_is_directory=True)
    assert read_bundle(tmp_path / "link").metadata.classes == ("a", "b")
