import json
import shlex
from pathlib import Path

import pytest

from topseg.cli import main
from topseg.core.errors import InputError
from topseg.demo import RECIPE, run_demo
from topseg.recipe import read_recipe
from topseg.report.run import report_run

QUICK = ("train.steps=2", "train.batch_size=2", "train.crop=[64, 64]", "schedule.warmup_steps=1")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo of two steps leaves."""
    out = tmp_path_factory.mktemp("home") / "demo"
    assert run_demo(out, device="cpu", scenes=(4, 2), overrides=QUICK) == 0
    return out


def test_everything_lands_in_the_folder(demo: Path) -> None:
    assert {p.name for p in demo.iterdir()} == {
        *("README.txt", "report.html", "scores.json", "recipe.yaml"),
        *("data", "run", "predictions"),
    }
    scores = json.loads((demo / "scores.json").read_text())
    assert 0 <= scores["miou"] <= 1
    assert scores["images"] == 2
    log = [json.loads(line) for line in (demo / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["miou"] == scores["miou"]  # the report measures what the trainer did
    masks = {p.name for p in (demo / "predictions").iterdir()}
    named = {f"scene_000{i}{kind}" for i in (4, 5) for kind in (".png", "_overlay.jpg")}
    assert masks == named | {"manifest.jsonl"}


def test_report_shows_the_run(demo: Path) -> None:
    text = (demo / "report.html").read_text()
    assert text.count("<svg") == 4
    assert text.count("data:image/") == 8
    assert "scene_0004.jpg" in text
    assert "round sign" in text
    assert "1.37 <small>M</small>" in text
    assert 'src="http' not in text


def test_a_run_has_a_report_without_the_demo(demo: Path, tmp_path: Path) -> None:
    scores = report_run(demo / "run", tmp_path / "report.html", pictures=1, device="cpu")
    assert scores.images == 2
    text = (tmp_path / "report.html").read_text()
    assert "<h1>topformer_tiny on data</h1>" in text
    assert f"topseg predict {demo / 'run'} photo.jpg" in text
    assert text.count("data:image/") == 4


def test_last_words_are_commands_that_work(
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The commands are run as printed, with few steps, on images that somebody brings."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for kind in ("images", "masks"):
        (photos / kind).symlink_to(demo / "data" / kind)
    names = [f"class {i}" for i in range(9)]
    (photos / "classes.txt").write_text("\n".join(names))
    text = (demo / "report.html").read_text()
    commands = [line for line in text.splitlines() if line.startswith("topseg ")]
    check, train, predict = (shlex.split(line.split("<")[0])[1:] for line in commands[-3:])
    assert main(check) == 0
    assert main([*train, *QUICK]) == 0
    assert main(predict) == 0
    assert "class" in capsys.readouterr().out
    assert len(list((tmp_path / "masks").glob("scene_*"))) == 4


def test_shipped_recipe_is_one_for_any_data() -> None:
    recipe = read_recipe(RECIPE)
    assert recipe.data.classes is None
    assert recipe.data.palette is None
    assert recipe.model.num_classes is None


def test_next_demo_replaces_what_the_last_one_made_and_nothing_else(tmp_path: Path) -> None:
    run_demo(tmp_path, device="cpu", scenes=(3, 1), overrides=QUICK)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "run" / "old.txt").write_text("old")
    run_demo(tmp_path, device="cpu", scenes=(2, 1), overrides=QUICK)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "run" / "old.txt").exists()
    assert len(list((tmp_path / "data" / "images" / "train").iterdir())) == 2


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_no_demo_made_is_left_alone(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    mine = out / "data" if kind == "folder" else out
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match="holds something that no demo made"):
        run_demo(out, device="cpu", scenes=(2, 1), overrides=QUICK)
    assert mine.read_text() == "mine"
