"""One bad image never ends a run: its line says why, and all the others are done."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topseg.core.errors import InputError, UnreadableError
from topseg.inference.bulk import Shard, Threads, predict_files
from topseg.inference.bulk.jobs import WHOLE
from topseg.inference.bulk.manifest import Manifest
from topseg.inference.predictor import Predictor


def _draw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(path)
    return path


def _npy(shape: str) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117)
    return b"\x93NUMPY\x01\x00" + (len(head) + 1).to_bytes(2, "little") + head + b"\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices have no names here")
def test_what_is_no_image_is_one_line(predictor: Predictor, tmp_path: Path) -> None:
    for name in ("first.png", "last.png"):
        _draw(tmp_path / name)
    (tmp_path / "huge.npy").write_bytes(_npy("(1000000000, 1000000000, 3)"))
    (tmp_path / "odd.npy").write_bytes(_npy("'x'"))
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    names = ["first.png", "a\0b.png", "/dev/zero", "pipe.png", "huge.npy", "odd.npy", "folder.png"]
    (tmp_path / "list.txt").write_text("\n".join([*names, "last.png"]))
    with pytest.raises(UnreadableError, match="6 of 8 images") as caught:
        predict_files(Threads([predictor]), [tmp_path / "list.txt"], tmp_path / "out")
    assert "/dev/zero: cannot be read as a file" in str(caught.value)
    assert "huge.npy: not readable as a NumPy array" in str(caught.value)
    masks = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert masks == ["first.png", "last.png"]


def test_any_exception_is_its_images(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    count = 0

    def fail_once(blocks: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise MemoryError("no more")
        return np.moveaxis(blocks, 2, 0)

    for index in range(3):
        _draw(tmp_path / "in" / f"{index}.png")
    one = Threads([Predictor(make_runtime(logits=fail_once))])
    with pytest.raises(UnreadableError, match=r"in/1\.png': MemoryError: no more"):
        predict_files(one, [tmp_path / "in"], tmp_path / "out")
    assert predict_files(one, [tmp_path / "in"], tmp_path / "out").before == 2  # once more: well


def test_long_names(predictor: Predictor, tmp_path: Path) -> None:
    """The mask of a 255-byte name has 255 bytes too; its overlay's name would have more."""
    names = ["n" * 251 + ".png", "é" * 120 + ".png", "short.png"]
    for name in names:
        _draw(tmp_path / "in" / name)
    predict_files(Threads([predictor]), [tmp_path / "in"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == sorted(names)
    with pytest.raises(UnreadableError, match="1 of 3 images"):
        predict_files(Threads([predictor]), [tmp_path / "in"], tmp_path / "more", overlay=True)
    assert len(list((tmp_path / "more").glob("*_overlay.jpg"))) == 2


FOREIGN = [
    "[]",
    '{"output": [1]}',
    '{"output": "a", "written": 3}',
    '{"output": "a", "written": {".png": 1}, "pixels": {"0": "many"}}',
    '{"output": "a", "written": {".png": 1}, "pixels": {"red": 1}}',
    "[" * 100_000,
    "9" * 5000,
]


@pytest.mark.parametrize("line", FOREIGN, ids=lambda line: line[:40])
def test_foreign_line_means_once_more(predictor: Predictor, tmp_path: Path, line: str) -> None:
    _draw(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.jsonl").write_text(line + "\n")
    found = predict_files(Threads([predictor]), [tmp_path / "a.png"], tmp_path / "out")
    assert (found.images, found.before) == (1, 0)
    assert predict_files(Threads([predictor]), [tmp_path / "a.png"], tmp_path / "out").before == 1


def test_output_folder_belongs_to_one_process(predictor: Predictor, tmp_path: Path) -> None:
    """A lock of another open file is another process's, as far as the system knows."""
    image, out = _draw(tmp_path / "a.png"), tmp_path / "out"
    out.mkdir()
    with Manifest(out, WHOLE):
        with pytest.raises(InputError, match=r"manifest\.jsonl: in use by another process"):
            predict_files(Threads([predictor]), [image], out)
        assert not (out / "a.png").exists()
        predict_files(Threads([predictor]), [image], out, shard=Shard(1, 2))  # another's
    predict_files(Threads([predictor]), [image], out)
    assert (out / "a.png").is_file()
