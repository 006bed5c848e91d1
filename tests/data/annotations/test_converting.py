"""A conversion as a whole: written once, continued, and the same bytes again."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from labelled import Labels

from topseg.cli import main
from topseg.core.errors import InputError
from topseg.data.annotations import FORMATS, converting, format_table, rules_table
from topseg.data.checking import check
from topseg.recipe import read_data

SIZE = (20, 30)


def write(labels: Labels, *names: str, side: int = 9) -> None:
    for name in names:
        labels.picture(f"{name}.jpg", SIZE)
        shape = {"label": "thing", "points": [[0, 0], [side, side]], "shape_type": "rectangle"}
        tree = {"shapes": [shape], "imagePath": Path(f"{name}.jpg").name}
        labels.json(f"{name}.json", tree)


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_result_is_a_data_set_without_errors(labels: Labels) -> None:
    write(labels, "train/a", "train/b", "val/a", "test/c")
    summary = labels.convert()
    assert summary.images == {"test": 1, "train": 2, "val": 1}
    report = check(read_data(labels.out))
    assert not report.errors
    assert report.seen.tolist() == [3 * 500, 3 * 100]
    with PIL.Image.open(labels.out / "masks/val/a.png") as mask:
        assert mask.mode == "P"


def test_a_second_run_changes_nothing(labels: Labels) -> None:
    write(labels, "a", "b")
    labels.convert()
    before = state(labels.out)
    labels.convert()
    after = state(labels.out)
    assert {name: data for name, (data, _) in after.items()} == {
        name: data for name, (data, _) in before.items()
    }
    assert all(after[name] == before[name] for name in before if name.endswith(".png"))


def test_only_what_changed_is_redone(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    write(labels, "a", "b", "c")
    first = labels.convert()
    write(labels, "b", side=4)
    painted = spy(monkeypatch)
    second = labels.convert()
    assert painted == ["b.jpg"]
    assert second.pixels.tolist() == [first.pixels[0] + 75, first.pixels[1] - 75]
    (labels.out / "masks/c.png").unlink()
    painted.clear()
    labels.convert()
    assert painted == ["c.jpg"]
    painted.clear()
    labels.convert(rest="ignore")  # another rule: everything
    assert painted == ["a.jpg", "b.jpg", "c.jpg"]


def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which images are painted."""
    painted: list[str] = []
    own = converting._mask

    def noting(item: Any, *rest: Any) -> Any:
        painted.append(item.name)
        return own(item, *rest)

    monkeypatch.setattr(converting, "_mask", noting)
    return painted


def test_goes_on_where_it_was_stopped(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    write(labels, *"abcd")
    own, count = converting._mask, 0

    def stopping(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return own(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(converting, "_mask", stopping)
        with pytest.raises(KeyboardInterrupt):
            labels.convert()
    assert not (labels.out / "dataset.yaml").exists()
    with (labels.out / "conversion.jsonl").open("a") as file:
        file.write('{"name": "cut o')
    painted = spy(monkeypatch)
    summary = labels.convert()
    assert painted == ["c.jpg", "d.jpg"]
    assert summary.images == {"train": 4}
    assert summary.pixels.tolist() == [4 * 500, 4 * 100]


def test_more_than_255_classes(labels: Labels) -> None:
    write(labels, "a")
    labels.convert(classes=[f"class {i}" for i in range(299)] + ["thing"], rest="ignore")
    with PIL.Image.open(labels.out / "masks/a.png") as mask:
        pixels = np.asarray(mask)
    assert pixels.dtype == np.uint16
    assert set(np.unique(pixels)) == {299, 65535}
    assert check(read_data(labels.out, ["val=train.txt"])).seen[299] == 200


def test_copies_on_request(labels: Labels) -> None:
    write(labels, "x/a", "b")
    labels.convert(copy=True)
    assert (labels.out / "train.txt").read_text() == (
        "images/b.jpg\tmasks/b.png\nimages/x/a.jpg\tmasks/x/a.png\n"
    )
    assert (labels.out / "images/b.jpg").read_bytes() == (labels.root / "b.jpg").read_bytes()


def test_two_images_of_one_stem(labels: Labels) -> None:
    write(labels, "a")
    labels.picture("A.png", SIZE)
    labels.json("other.json", {"shapes": [], "imagePath": "A.png"})
    labels.convert()
    assert sorted(path.name for path in (labels.out / "masks").iterdir()) == [
        "A.png.png",
        "a.jpg.png",
    ]


@pytest.mark.parametrize("name", ["#a", " a", "a\tb", "a\x85b"])
def test_names_that_no_list_can_hold(labels: Labels, name: str) -> None:
    write(labels, "good", name)
    labels.convert()
    reader = check(read_data(labels.out, ["val=train.txt"]))
    assert not reader.errors


def test_folders_that_cannot_be_written(labels: Labels) -> None:
    write(labels, "a")
    labels.out.mkdir()
    (labels.out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        labels.convert()
    labels.out = labels.root / "inside"
    with pytest.raises(InputError, match="lies in the source"):
        labels.convert()


def test_nothing_is_recognized(labels: Labels) -> None:
    labels.picture("a.jpg")
    with pytest.raises(InputError, match=r"not recognized.*labelme"):
        labels.convert()
    with pytest.raises(InputError, match="did you mean 'labelme'"):
        labels.convert(format="labelm")


def test_command_line(labels: Labels, capsys: pytest.CaptureFixture[str]) -> None:
    write(labels, "a", "b")
    assert main(["check", str(labels.root)]) == 2
    command = capsys.readouterr().err.splitlines()[1].split()
    assert command == ["topseg", "data", "convert", str(labels.root), f"{labels.root}-masks"]
    assert main([*command[1:], "--rest", "ignore"]) == 0
    said = capsys.readouterr().out
    rule, result = re.search(r"thing +0 thing +same name", said), said.index("train: 2 images")
    assert rule is not None
    assert rule.start() < result
    assert main(["check", f"{labels.root}-masks"]) == 0
    (labels.root / "b.jpg").unlink()
    assert main([*command[1:], "--rest", "ignore"]) == 3
    assert "left out: 1" in capsys.readouterr().err


def test_documents_have_the_table_of_the_records() -> None:
    page = (Path(__file__).parents[3] / "docs/convert.md").read_text("utf-8")
    assert format_table() in page
    assert rules_table() in page


def test_every_format_has_a_whole_record() -> None:
    for name, one in FORMATS.items():
        assert name == one.name
        assert all((one.title, one.files, one.notes))
        assert bool(one.fill or one.overlap) == (one.overlap is not None)
