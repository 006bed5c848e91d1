"""A bundle is checked whole before anything uses it."""

from pathlib import Path

import pytest

from topseg.bundle.bundle import read_bundle, write_metadata
from topseg.bundle.metadata import METADATA, Architecture, Metadata
from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json


def make(folder: Path) -> Path:
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"some weights")
    architecture = Architecture(
        name="topformer_tiny", num_classes=2, in_channels=3, options={"pool": "fixed"}
    )
    metadata = Metadata(
        architecture=architecture, classes=("a", "b"), palette=((0, 0, 0), (9, 9, 9))
    )
    write_metadata(folder, metadata)
    return folder


def test_round_trip(tmp_path: Path) -> None:
    bundle = read_bundle(make(tmp_path / "b"))
    assert bundle.metadata.labels.names == ("a", "b")
    assert bundle.weights.read_bytes() == b"some weights"
    assert set(bundle.metadata.files) == {"weights.safetensors"}


def test_changed_byte_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    (folder / "weights.safetensors").write_bytes(b"some weightz")
    with pytest.raises(InputError, match=r"weights\.safetensors: its bytes changed"):
        read_bundle(folder)


def test_missing_file_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors: missing"):
        read_bundle(folder)


def test_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    write_json(folder / METADATA, {**read_json(folder / METADATA), "schema_version": 99})
    with pytest.raises(InputError, match="upgrade topseg"):
        read_bundle(folder)


def test_folder_without_metadata(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a bundle: metadata\.json is missing"):
        read_bundle(tmp_path)


def test_unlisted_weights_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    write_json(folder / METADATA, {**read_json(folder / METADATA), "files": {}})
    with pytest.raises(InputError, match=r"does not list 'weights\.safetensors'"):
        read_bundle(folder)
