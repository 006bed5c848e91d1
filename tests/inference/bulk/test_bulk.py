"""Masks of files, folders, patterns and lists, several images at a time."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette
from topseg.inference.bulk import Threads, predict_files
from topseg.inference.predictor import Predictor

Bytes = NDArray[np.uint8]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images, 0.png to 19.png, and one that is none."""
    rng = np.random.default_rng(0)
    for index in range(20):
        _write(tmp_path / "in" / f"{index:02d}.png", rng.integers(0, 256, (32, 64, 3), np.uint8))
    (tmp_path / "in" / "07.png").write_bytes(b"no image")
    return tmp_path / "in"


def _write(path: Path, image: Bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def _read(path: Path) -> Bytes:
    return np.asarray(Image.open(path))


def test_masks_and_order_do_not_depend_on_the_workers(
    make_runtime: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    def run(workers: int) -> tuple[str, dict[str, bytes]]:
        out = tmp_path / f"out{workers}"
        predictors = [Predictor(make_runtime()) for _ in range(workers)]
        steps: list[tuple[int, int]] = []
        with pytest.raises(InputError, match="1 of 20 images") as caught:
            predict_files(
                Threads(predictors), [folder], out, progress=lambda *step: steps.append(step)
            )
        assert steps == [(done, 20) for done in range(1, 21)]
        return str(caught.value), {path.name: path.read_bytes() for path in out.glob("*.png")}

    message, masks = run(workers=1)
    assert len(masks) == 19
    assert run(workers=3) == (message, masks)


def test_images_are_worked_on_at_the_same_time(
    make_runtime: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    """Every engine waits until the other is at work too; one after the other would time out."""
    (folder / "07.png").unlink()
    _write(folder / "07.png", np.zeros((32, 64, 3), np.uint8))
    meeting = threading.Barrier(2, timeout=10)

    def meet(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        meeting.wait()
        return np.moveaxis(blocks, 2, 0)

    predictors = [Predictor(make_runtime(logits=meet)) for _ in range(2)]
    predict_files(Threads(predictors), [folder], tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 20


def test_interruption_ends_what_is_begun_and_no_more(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        predict_files(Threads([predictor]), [folder], tmp_path / "out", progress=interrupt)
    assert threading.active_count() == before
    written = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert written == [f"{index:02d}.png" for index in range(len(written))]
    assert 3 <= len(written) <= 6  # three, and at most what was handed on meanwhile


def test_more_than_256_classes(
    make_runtime: Callable[..., Any], flag: Bytes, tmp_path: Path
) -> None:
    flags = (255, 0, 0), (0, 0, 255)
    others = [color for color in default_palette(300) if color not in flags]
    many = LabelSet(tuple(map(str, range(300))), (*others[:298], *flags))
    _write(tmp_path / "flag.png", flag)
    predictor = Predictor(make_runtime(labels=many))
    predict_files(Threads([predictor]), [tmp_path / "flag.png"], tmp_path / "out", color=True)
    mask = _read(tmp_path / "out/flag.png")
    assert mask.dtype == np.uint16
    assert set(np.unique(mask[[0, -1]])) == {298, 299}
    np.testing.assert_array_equal(_read(tmp_path / "out/flag_color.png")[0], flag[0])


def test_folders_are_mirrored(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    _write(tmp_path / "in" / "a.png", flag)
    _write(tmp_path / "in" / "sub" / "a.jpg", flag[:40])
    _write(tmp_path / "in" / "sub" / "b.c.png", flag[:, :50])
    found = predict_files(
        Threads([predictor]),
        [tmp_path / "in"],
        tmp_path / "out",
        overlay=True,
        color=True,
        probability=True,
        probabilities=True,
    )
    assert [item.name for item in found.shares] == ["red", "blue"]
    suffixes = (".png", "_overlay.jpg", "_color.png", "_probability.png", "_probabilities.npz")
    written = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    stems = ("a", "sub/a", "sub/b.c")
    assert written - {"manifest.jsonl"} == {s + suffix for s in stems for suffix in suffixes}
    assert _read(tmp_path / "out/sub/a.png").shape == (40, 96)
    assert _read(tmp_path / "out/sub/b.c_overlay.jpg").shape == (64, 50, 3)
    np.testing.assert_array_equal(_read(tmp_path / "out/a_color.png")[:30], flag[:30])
    every = np.load(tmp_path / "out/a_probabilities.npz")["probabilities"]
    assert (every.dtype, every.shape) == (np.float16, (3, 64, 96))
    winner = _read(tmp_path / "out/a_probability.png")
    np.testing.assert_allclose(winner, every.max(axis=0).astype(np.float32) * 255, atol=1)


def test_patterns_and_lists(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    for name in ("x/one.png", "y/one.png", "y/two.png"):
        _write(tmp_path / name, flag)
    (tmp_path / "list.txt").write_text("y/two.png\n\nx/one.png\n")
    out = tmp_path / "out"
    predict_files(Threads([predictor]), [str(tmp_path / "*" / "one.png")], out / "pattern")
    predict_files(Threads([predictor]), [str(tmp_path / "list.txt")], out / "list")
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*.png"))
    assert written == ["list/x/one.png", "list/y/two.png", "pattern/x/one.png", "pattern/y/one.png"]


def test_a_file_given_twice_is_done_once(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.png", flag)
    steps: list[tuple[int, int]] = []
    predict_files(
        Threads([predictor]),
        [path, str(path)],
        tmp_path / "out",
        progress=lambda *step: steps.append(step),
    )
    assert steps == [(1, 1)]


def test_masks_of_yesterday_are_not_images(
    predictor: Predictor, flag: Bytes, tmp_path: Path
) -> None:
    _write(tmp_path / "a.jpg", flag)
    for _ in range(2):
        predict_files(Threads([predictor]), [tmp_path], tmp_path / "masks", color=True)
    names = sorted(p.name for p in (tmp_path / "masks").rglob("*"))
    assert names == ["a.png", "a_color.png", "manifest.jsonl"]


@pytest.mark.parametrize(
    ("names", "color"), [(("a.jpg", "a.png"), False), (("a.jpg", "a_color.jpg"), True)]
)
def test_two_outputs_of_one_name_are_refused_before_any(
    predictor: Predictor, flag: Bytes, tmp_path: Path, names: tuple[str, str], color: bool
) -> None:
    paths = [_write(tmp_path / "in" / name, flag) for name in names]
    with pytest.raises(InputError) as caught:
        predict_files(Threads([predictor]), [tmp_path / "in"], tmp_path / "out", color=color)
    assert all(str(path) in str(caught.value) for path in paths)
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_overwritten(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    _write(tmp_path / "a.png", flag)
    with pytest.raises(InputError, match="would overwrite an image"):
        predict_files(Threads([predictor]), [tmp_path / "a.png"], tmp_path)
    np.testing.assert_array_equal(_read(tmp_path / "a.png"), flag)


def test_bad_images_are_told_at_the_end_and_the_good_are_done(
    predictor: Predictor, flag: Bytes, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_broken.jpg").write_bytes(b"no image")
    _write(tmp_path / "in" / "b_good.png", flag)
    _write(tmp_path / "in" / "c_whole.jpg", flag)
    data = (tmp_path / "in" / "c_whole.jpg").read_bytes()
    (tmp_path / "in" / "c_cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as caught:
        predict_files(Threads([predictor]), [tmp_path / "in"], tmp_path / "out")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("2 of 4 images could not be read")
    assert ["a_broken.jpg" in lines[0], "c_cut.jpg" in lines[1], len(lines)] == [True, True, 2]
    written = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert written == ["b_good.png", "c_whole.png"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "none given"),
        (["missing.png"], "missing.png: no such file or folder"),
        (["*.png"], "no file matches this pattern"),
        (["empty"], "no images in this folder"),
        (["empty.txt"], "this list is empty"),
        (["binary.txt"], "cannot be read as a list"),
    ],
)
def test_nothing_to_do(
    predictor: Predictor, tmp_path: Path, given: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=message):
        predict_files(Threads([predictor]), [tmp_path / name for name in given], tmp_path / "out")


def test_output_folder_that_cannot_be_written(
    predictor: Predictor, flag: Bytes, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.png", flag)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write here"):
        predict_files(Threads([predictor]), [path], tmp_path / "file" / "out")


def test_overlays_are_for_colour_images(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    predictor = Predictor(make_runtime(channels=1, logits=lambda blocks: np.moveaxis(blocks, 2, 0)))
    with pytest.raises(InputError, match="three channels"):
        predict_files(Threads([predictor]), ["a.png"], tmp_path, overlay=True)


def test_regions_beside_the_mask(predictor: Predictor, flag: Bytes, tmp_path: Path) -> None:
    _write(tmp_path / "in" / "a.png", flag)
    predict_files(Threads([predictor]), [tmp_path / "in"], tmp_path / "out", json=True)
    found = json.loads((tmp_path / "out" / "a.json").read_text())
    assert found["size"] == list(flag.shape[:2])
    mask = _read(tmp_path / "out" / "a.png")
    areas = {one["index"]: one["area"] for one in found["classes"]}
    assert areas == dict(zip(*np.unique(mask, return_counts=True), strict=True))
    assert {"rle", "polygons"} < set(found["classes"][0])
