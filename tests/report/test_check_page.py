"""The page about a data set: every kind of problem with its pictures, classes, objects, sizes."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.problem import Evidence, Problem
from topseg.data.report import Report
from topseg.report.checking import write_check
from topseg.report.findings import Pictures
from topseg.synthetic.scenes import LABELS, draw_scene


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve scenes to train on, two to validate on, without a problem but absent classes."""
    for index in range(14):
        scene, split = draw_scene(0, index), "train" if index < 12 else "val"
        save(tmp_path / f"set/images/{split}/{index}.png", scene.image)
        save(tmp_path / f"set/masks/{split}/{index}.png", scene.mask)
    return tmp_path / "set"


def page(root: Path, *commands: str) -> tuple[str, Report, Pictures]:
    config = DataConfig(root=str(root), classes=LABELS.names, palette=LABELS.palette)
    report = check(config)
    pictures = Pictures.of(config, report.labels)
    out = root.parent / "page.html"
    write_check(out, "my <set>", report, pictures, commands)
    return out.read_text(encoding="utf-8"), report, pictures


def shown(figure: str) -> list[Any]:
    """The pictures of a figure as arrays."""
    data = re.findall(r"base64,([^\"]+)", figure)
    return [np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(one)))) for one in data]


def test_a_page_of_a_good_data_set(root: Path) -> None:
    text, report, _ = page(root, "topseg train x", "'loss=[a]'  # b")
    assert not report.errors
    assert "<h1>my &lt;set&gt;</h1>" in text
    assert "topseg train x\n&#x27;loss=[a]&#x27;  # b" in text
    assert "<script" not in text
    assert "http" not in re.sub(r"base64,[^\"]+", "", text).replace("http-equiv", "")
    train = report.splits["train"]
    assert f"<td>{train.images_with[0]:,}</td>" in text
    assert '<th scope="row">256 x 192</th>' in text
    assert "small objects" in text
    assert f"by {train.fit:.1f} standard" in text


def test_each_kind_of_problem_has_its_pictures(root: Path) -> None:
    masks = root / "masks/train"
    spoiled = np.array(PIL.Image.open(masks / "0.png"))
    spoiled[100, 130:150] = 77
    save(masks / "0.png", spoiled)
    save(masks / "1.png", np.roll(np.array(PIL.Image.open(masks / "1.png")), 8, axis=0))
    save(masks / "2.png", np.array(PIL.Image.open(masks / "2.png"))[:100])
    (masks / "3.png").unlink()
    save(masks / "alone.png", spoiled)
    (root / "images/train/4.png").write_bytes(b"no picture")
    save(root / "images/val/12.png", draw_scene(0, 5).image)
    text, report, pictures = page(root)
    kinds: dict[str, Problem] = {p.kind: p for p in report.problems}
    assert f"{len(report.errors)} errors and {len(report.warnings)} warnings." in text
    for kind, problem in kinds.items():
        assert f"<h3>{kind} <small>" in text
        assert problem.text in text

    image, mask = shown(pictures.figure(kinds["mask"]))
    assert image.shape == mask.shape == (384, 384, 3)  # 96 pixels, each four times as large
    red = (np.abs(mask.astype(int) - (255, 45, 85)) < 60).all(axis=2)
    assert red[192:196, 192:270].mean() > 0.9  # around the first wrong pixel, in the middle
    assert red.mean() < 0.1

    drawn = shown(pictures.figure(kinds["shifted mask"]))[1]
    assert (np.abs(drawn.astype(int) - (86, 180, 233)) < 60).all(axis=2).mean() > 0.005
    assert [one.shape[:2] for one in shown(pictures.figure(kinds["size"]))] == [
        (192, 256),
        (100, 256),
    ]
    assert len(shown(pictures.figure(kinds["missing mask"]))) == 1
    assert len(shown(pictures.figure(kinds["mask without an image"]))) == 1
    assert shown(pictures.figure(kinds["unreadable image"])) == []
    pair = shown(pictures.figure(kinds["picture in both splits"]))
    assert np.array_equal(*pair)


def test_many_problems_of_a_kind(root: Path) -> None:
    for index in range(9):
        (root / f"masks/train/{index}.png").unlink()
    text, _, _ = page(root)
    assert text.count('alt="image of') == 6
    assert "<summary>3 more</summary>" in text
    assert "masks/train/8.png: no such file" in text


def test_evidence_that_is_gone(root: Path) -> None:
    _, _, pictures = page(root)
    gone = Problem("mask", "a <b>", evidence=Evidence(root / "none.png", root / "none.png"))
    assert pictures.figure(gone) == (
        '<figure class="example"><figcaption>a &lt;b&gt;</figcaption></figure>'
    )


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    text, report, pictures = page(tmp_path / "set")
    assert len(report.errors) == 2
    assert pictures.readers == ()
    assert "2 errors and 0 warnings" in text
