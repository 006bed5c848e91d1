"""The command line: what it prints, and one clear line with exit code 2 for every wrong input."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

from topseg import __version__
from topseg.bundle.published import SHIPPED
from topseg.cli import main
from topseg.cli.app import app
from topseg.core.installing import pip_install
from topseg.exporting import formats

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def draw(path: Path, size: tuple[int, int] = (64, 64), seed: int = 0) -> Path:
    """Write a random JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def paint(path: Path, value: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    """Write a mask of one value, with a corner of class 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.full(size, value, np.uint8)
    mask[:8, :8] = 1
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of four images in two classes, with its dataset.yaml."""
    root = tmp_path / "data"
    for split, names in {"train": "abc", "val": "d"}.items():
        for seed, name in enumerate(names):
            draw(root / "images" / split / f"{name}.jpg", seed=seed)
            paint(root / "masks" / split / f"{name}.png")
    (root / "dataset.yaml").write_text("classes: [ground, corner]\n")
    return root


@pytest.fixture
def recipe(tmp_path: Path, data: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    tree = {
        "data": {"root": "data", "classes": ["ground", "corner"]},
        "train": {
            "steps": 2,
            "batch_size": 2,
            "crop": [64, 64],
            "workers": 0,
            "augment": [{"name": "pad_crop"}],
        },
        "resize": {"short_side": 64},
    }
    path.write_text(yaml.dump(tree))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps in two classes."""
    folder = tmp_path_factory.mktemp("finished")
    for name in "ab":
        draw(folder / "data/images/train" / f"{name}.jpg")
        paint(folder / "data/masks/train" / f"{name}.png")
    draw(folder / "data/images/val/c.jpg")
    paint(folder / "data/masks/val/c.png")
    (folder / "recipe.yaml").write_text(
        "data: {root: data, classes: [ground, corner]}\n"
        "train: {steps: 2, batch_size: 2, crop: [64, 64], workers: 0}\n"
        "resize: {short_side: 64}\n"
    )
    assert main(["train", str(folder / "recipe.yaml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


# ------------------------------------------------------------------ the way a user goes


def test_help_is_quick_to_import_and_complete() -> None:
    code = "import topseg.cli, sys; sys.exit(topseg.cli.main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("train", "predict", "evaluate", "export", "check", "models", "demo", "recipe"):
        assert command in done.stdout


def test_every_option_is_explained() -> None:
    text = app.generate_docs(output_format="markdown")
    lines = [line for line in text.splitlines() if line.startswith("* `")]
    assert len(lines) > 150
    unexplained = [line for line in lines if not re.match(r"\* `[^`]+`: [\w\".]", line)]
    assert unexplained == []


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete -F"), ("zsh", "#compdef topseg")])
def test_completion(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, line: str
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)  # whose start-up file it adds a line to
    script = tmp_path / "script"
    code, _, _ = run("--install-completion", "--shell", shell, "--output", script)
    assert code == 0
    assert line in script.read_text()
    assert "--overlay" in script.read_text()


def test_version(run: Run) -> None:
    assert run("--version")[1].strip() == __version__


def test_models_lists_costs(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert "topformer_tiny" in out
    assert "1.39 M" in out
    assert "1.75 G" in out


def test_recipe_explains_every_field(run: Run, recipe: Path) -> None:
    code, out, _ = run("recipe", recipe, "optim.lr=3e-4")
    assert code == 0
    assert "  # Optimizer steps in all.\n  steps: 2" in out
    assert yaml.safe_load(out)["optim"]["lr"] == 3e-4


def test_from_run_to_masks_and_scores(run: Run, finished: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "deep" / "x.jpg", (50, 70))
    photos, masks = tmp_path / "photos", tmp_path / "o"
    code, out, err = run("predict", finished, photos, "--out", masks, "--overlay")
    assert (code, err) == (0, "")
    assert "%" in out
    wrote = out.splitlines()[-1]
    assert re.fullmatch(rf"{masks}: 1 images? written in \S+ m?s, \S+ m?s per image", wrote)
    again = run("predict", finished, photos, "--out", masks, "--overlay")[1]
    assert again.splitlines()[-1] == "1 images, 1 of them done before and unchanged"
    with Image.open(tmp_path / "o" / "deep" / "x.png") as mask:
        assert (mask.mode, mask.size) == ("P", (70, 50))
    assert (tmp_path / "o" / "deep" / "x_overlay.jpg").is_file()
    scores = tmp_path / "scores.json"
    code, out, _ = run("evaluate", finished, finished.parent / "recipe.yaml", "--json", scores)
    assert code == 0
    assert "corner" in out
    assert 0 <= json.loads(scores.read_text())["miou"] <= 1


def test_a_run_knows_its_data(run: Run, finished: Path, tmp_path: Path) -> None:
    code, known, _ = run("evaluate", finished)
    assert code == 0
    assert run("evaluate", finished, "train=train")[1] == known
    draw(tmp_path / "images/val/c.jpg")
    paint(tmp_path / "masks/val/c.png")
    assert run("evaluate", finished, tmp_path)[1] == known  # the same picture
    draw(tmp_path / "images/test/c.jpg")
    paint(tmp_path / "masks/test/c.png")
    assert run("evaluate", finished, tmp_path, "--split", "test")[1] == known
    refused(run("evaluate", "topformer-tiny-camvid"), "give DATA as well")


def test_only_devices_that_train_are_offered(run: Run, recipe: Path) -> None:
    refused(run("train", recipe, "--dry-run", "--device", "tensorrt"), "auto", "cpu", "cuda")


def test_check_says_that_all_is_well(run: Run, data: Path) -> None:
    code, _, err = run("check", data)
    assert (code, err) == (0, "")


def test_check_writes_a_page_and_json(run: Run, data: Path, tmp_path: Path) -> None:
    page, plain = tmp_path / "check.html", tmp_path / "check.json"
    code, out, err = run("check", data, "--html", page, "--json", plain)
    assert (code, err) == (0, "")
    assert "settings that suit it, to be added:\n  'train.crop=[64,64]'  # images of 64x64" in out
    assert out.endswith(f"{page}: written\n")
    assert "topseg train finetune --out runs/mine data.root=" in page.read_text()
    found = json.loads(plain.read_text())
    assert found["suggestions"][0] == "train.crop=[64,64]"
    mask = next((data / "masks/val").iterdir())
    mask.write_bytes(b"")
    code, out, err = run("check", data, "--json", plain)
    assert (code, err) == (2, "")
    (problem,) = (p for p in json.loads(plain.read_text())["problems"] if p["kind"] == "mask")
    assert problem["severity"] == "error"
    assert problem["mask"] == str(mask)
    refused(run("compare", "a", "b", data, "--max-drop", "-1"), "--max-drop", "0 or above")


def test_check_reads_images_as_the_recipe_does(run: Run, data: Path, tmp_path: Path) -> None:
    for value, path in enumerate(sorted((data / "images").rglob("*.jpg"))):
        path.unlink()
        deep = np.full((64, 64), 900 + 10 * value, np.uint16)
        assert cv2.imwrite(str(path.with_suffix(".png")), deep)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "data: {root: data, classes: [ground, corner]}\n"
        "model: {in_channels: 1}\n"
        "input: {mean: [0.5], std: [0.5], scale: 0.1}\n"
    )
    code, out, err = run("check", recipe)
    assert (code, err) == (0, "")
    assert "unreadable" not in out
    recipe.write_text(recipe.read_text().replace(", scale: 0.1", ""))
    code, out, _ = run("check", recipe)
    assert (code, "unreadable image (4)" in out) == (2, True)


def test_runs_are_compared_bit_by_bit(run: Run, finished: Path, tmp_path: Path) -> None:
    recipe = finished.parent / "recipe.yaml"
    assert run("train", recipe, "--out", tmp_path / "again")[0] == 0
    code, out, _ = run("compare-runs", finished, tmp_path / "again")
    assert (code, "equal bit by bit" in out) == (0, True)
    assert run("train", recipe, "seed=1", "--out", tmp_path / "other")[0] == 0
    code, out, _ = run("compare-runs", finished, tmp_path / "other")
    assert (code, "loss" in out) == (1, True)


def test_run_becomes_a_file_for_paddleseg_and_back(
    run: Run, finished: Path, tmp_path: Path
) -> None:
    assert run("convert", "weights", finished, tmp_path / "m.pdparams")[0] == 0
    assert run("convert", "weights", tmp_path / "m.pdparams", tmp_path / "bundle")[0] == 0
    assert (tmp_path / "bundle" / "metadata.json").is_file()


def test_weights_averages_and_the_loaders_bench(
    run: Run, recipe: Path, data: Path, finished: Path, tmp_path: Path
) -> None:
    code, out, _ = run("weights", data)
    assert (code, "median_frequency" in out) == (0, True)
    assert run("average", finished, finished, "--out", tmp_path / "mean")[0] == 0
    assert (tmp_path / "mean" / "metadata.json").is_file()
    code, out, _ = run("bench-data", recipe, "train.workers=0", "--seconds", 0.05)
    assert (code, "train.workers is 0" in out) == (0, True)
    refused(run("bench"), "MODEL requires an argument")
    refused(run("bench", finished, finished), "Unused Tokens")


def test_new_class_count_from_old_weights(
    run: Run, recipe: Path, finished: Path, tmp_path: Path
) -> None:
    words = ["data.classes=[a, b, c]", f"model.weights={finished}", "--out", tmp_path / "r"]
    refused(run("train", recipe, *words), "classes", "allow-partial")
    assert run("train", recipe, *words, "--allow-partial")[0] == 0


# ------------------------------------------------------------------ wrong inputs


def refused(result: tuple[int, str, str], *words: str, code: int = 2) -> None:
    """One line (or one a problem), this exit code, no traceback, and it says these words."""
    got, _, err = result
    assert got == code, err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert len(err.strip().splitlines()) <= 3


def test_unknown_command(run: Run) -> None:
    refused(run("trian"), 'Did you mean "train"')


def test_unknown_option(run: Run, recipe: Path) -> None:
    refused(run("train", recipe, "--ot", "x"), "--ot")


def test_train_without_a_run_folder(run: Run, recipe: Path) -> None:
    refused(run("train", recipe), "--out")
    code, out, _ = run("train", recipe, "--dry-run")
    assert code == 0
    assert "bottleneck" in out


def test_serve_without_a_model(run: Run) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    refused(run("serve"), "models: none given")


def test_no_such_recipe(run: Run, tmp_path: Path) -> None:
    refused(run("train", tmp_path / "no.yaml", "--out", tmp_path / "r"), "no.yaml", "no such file")


def test_unknown_key(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "model.nam=x", "--out", tmp_path / "r")
    refused(result, "recipe.yaml: model.nam: unknown key, did you mean 'name'?")
    assert not (tmp_path / "r").exists()


def test_wrong_type(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "optim.lr=fast", "--out", tmp_path / "r")
    refused(result, "optim.lr: got 'fast', expected a number")


def test_unknown_transform(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "train.augment=[{name: flop}]", "--out", tmp_path / "r")
    refused(result, "train.augment.0", "did you mean 'flip'?")


def test_crop_not_a_multiple_of_32(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "train.crop=[65, 64]", "--out", tmp_path / "r")
    refused(result, "train.crop: got [65, 64], expected multiples of 32")


def test_batch_of_one_token(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "train.batch_size=1", "--out", tmp_path / "r")
    refused(result, "batch", "crop")


def test_missing_mask(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    (data / "masks/train/b.png").unlink()
    refused(run("train", recipe, "--out", tmp_path / "r"), "b.png")


def test_mask_of_another_size(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    for name in "abc":
        paint(data / f"masks/train/{name}.png", size=(64, 32))
    refused(run("train", recipe, "--out", tmp_path / "r"), "got 32x64 pixels, expected 64x64")


def test_class_value_out_of_range(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    for name in "abc":
        paint(data / f"masks/train/{name}.png", value=7)
    refused(run("train", recipe, "--out", tmp_path / "r"), ".png", "7", "classes")


def test_unreadable_image(run: Run, recipe: Path, data: Path, tmp_path: Path) -> None:
    for name in "abc":
        (data / f"images/train/{name}.jpg").write_bytes(b"this is no image")
    refused(run("train", recipe, "--out", tmp_path / "r"), ".jpg")


def test_truncated_jpeg(run: Run, finished: Path, tmp_path: Path) -> None:
    photo = draw(tmp_path / "cut.jpg")
    photo.write_bytes(photo.read_bytes()[:-200])
    result = run("predict", finished, photo, "--out", tmp_path / "o")
    refused(result, "cut.jpg", "truncated", code=3)


def test_16_bit_image_without_a_scale(run: Run, finished: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.full((64, 64, 3), 4095, np.uint16))
    result = run("predict", finished, deep, "--out", tmp_path / "o")
    refused(result, "deep.png", "scale", code=3)


def test_empty_list(run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n")
    result = run("predict", finished, tmp_path / "list.txt", "--out", tmp_path / "o")
    refused(result, "list.txt", "empty")


def test_no_images_at_all(run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    result = run("predict", finished, tmp_path / "nothing", "--out", tmp_path / "o")
    refused(result, "nothing", "no images")


def test_no_such_image(run: Run, finished: Path, tmp_path: Path) -> None:
    refused(run("predict", finished, "gone.jpg", "--out", tmp_path / "o"), "gone.jpg", "no such")


def test_two_outputs_of_one_name(run: Run, finished: Path, tmp_path: Path) -> None:
    photos = [draw(tmp_path / "p" / name) for name in ("a.jpg", "a.png")]
    result = run("predict", finished, *photos, "--out", tmp_path / "o")
    refused(result, "a.jpg", "a.png")
    assert not list(tmp_path.glob("o/*"))


def test_output_folder_that_cannot_be_written(run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    photo = draw(tmp_path / "a.jpg")
    refused(run("predict", finished, photo, "--out", tmp_path / "file" / "o"), "cannot write here")


def test_no_such_model(run: Run, tmp_path: Path) -> None:
    photo = draw(tmp_path / "a.jpg")
    refused(run("predict", tmp_path / "nothing", photo, "--out", tmp_path / "o"), "no such model")


def test_folder_that_is_no_model(run: Run, data: Path, tmp_path: Path) -> None:
    result = run("predict", data, data / "images", "--out", tmp_path / "o")
    refused(result, "not a bundle (metadata.json is missing)")


def test_damaged_weights(run: Run, finished: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (finished / "best").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    photo = draw(tmp_path / "a.jpg")
    result = run("predict", broken, photo, "--out", tmp_path / "o")
    refused(result, "weights.safetensors", "bytes changed")


def test_unknown_runtime(run: Run, finished: Path, tmp_path: Path) -> None:
    photo = draw(tmp_path / "a.jpg")
    result = run("predict", finished, photo, "--out", tmp_path / "o", "--runtime", "onx")
    refused(result, "did you mean 'onnx'")


def test_graph_that_the_bundle_has_not(run: Run, finished: Path, tmp_path: Path) -> None:
    photo = draw(tmp_path / "a.jpg")
    result = run("predict", finished, photo, "--out", tmp_path / "o", "--runtime", "onnx")
    refused(result, "has no onnx graph", "topseg export")


def test_wrong_class_count_in_the_weights(
    run: Run, recipe: Path, finished: Path, tmp_path: Path
) -> None:
    weights = load_file(finished / "best" / "weights.safetensors")
    for name in ("weight", "bias"):
        old = weights[f"decode_head.conv_seg.{name}"]
        weights[f"decode_head.conv_seg.{name}"] = np.concatenate([old, old])
    file = tmp_path / "four.safetensors"
    save_file(weights, file)
    result = run("train", recipe, f"model.weights={file}", "--out", tmp_path / "r")
    refused(result, "four.safetensors", "conv_seg")


def test_class_count_against_the_data(run: Run, recipe: Path, tmp_path: Path) -> None:
    result = run("train", recipe, "model.num_classes=3", "--out", tmp_path / "r")
    refused(result, "model.num_classes: got 3, but the data has 2 classes")


def test_evaluation_on_other_classes(run: Run, finished: Path, data: Path) -> None:
    result = run("evaluate", finished, data, "classes=[a, b, c]")
    refused(result, "3 classes", "2")


def test_training_into_an_existing_run(run: Run, finished: Path) -> None:
    result = run("train", finished.parent / "recipe.yaml", "--out", finished)
    refused(result, "--resume")


def test_resume_where_there_is_nothing(run: Run, recipe: Path, tmp_path: Path) -> None:
    refused(run("train", recipe, "--out", tmp_path / "r", "--resume"), "no run to resume")


def test_what_to_do_next_works_when_pasted(
    run: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("train", recipe, "--out", "my runs/one")
    assert code == 0
    commands = [shlex.split(line)[-7:] for line in out.splitlines()[-2:]]
    commands = [words[words.index("topseg") + 1 :] for words in commands]
    assert [words[0] for words in commands] == ["report", "predict"]
    assert "data/images/val" in commands[1]
    assert [run(*words)[0] for words in commands] == [0, 0]
    assert (tmp_path / "my runs/one/report.html").is_file()
    assert (tmp_path / "my runs/one/masks/d.png").is_file()


def test_only_the_first_process_tells_what_to_do_next(
    run: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("topseg.training.trainer.train", lambda *_, **__: 0)
    assert run("train", recipe, "--out", tmp_path / "r") == (0, "", "")


def test_resume_auto_starts_and_goes_on(run: Run, recipe: Path, tmp_path: Path) -> None:
    words = ["train", recipe, "--resume", "auto", "--out", tmp_path / "r"]
    assert run(*words)[0] == 0
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*.safetensors")}
    code, out, _ = run(*words)
    assert (code, "already finished; raise train.steps to continue" in out) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    refused(run(*words, "train.steps=1"), "train.steps: got 1, but 2 steps are done")
    assert run(*words, "train.steps=3")[0] == 0


def test_data_folder_without_classes(run: Run, data: Path) -> None:
    (data / "dataset.yaml").unlink()
    refused(run("check", data), "data.classes")


def test_no_such_data_folder(run: Run, finished: Path, tmp_path: Path) -> None:
    refused(run("evaluate", finished, tmp_path / "no"), "no such file")


def test_export_of_an_unknown_format(run: Run, finished: Path, tmp_path: Path) -> None:
    result = run("export", finished, "--out", tmp_path / "b", "--formats", "onnxx")
    refused(result, "did you mean 'onnx'")
    assert not (tmp_path / "b").exists()


def test_stride_without_windows(run: Run, finished: Path, recipe: Path) -> None:
    refused(run("evaluate", finished, recipe, "--stride", 32, 32), "--slide")


def test_names_that_no_file_can_have(run: Run, tmp_path: Path) -> None:
    name = "a" * 300
    refused(run("predict", name, "a.jpg", "--out", tmp_path), f"{name}/metadata.json: File name")
    words = ("topformer-tiny-camvid", f"{name}.jpg", "--out", tmp_path, "--workers", 1)
    refused(run("predict", *words), f"{name}.jpg: File name too long")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such model"):
        main(["predict", str(tmp_path / "no"), "a.jpg", "--out", "o", "--debug"])


def test_scales_of_zero(run: Run, finished: Path, recipe: Path) -> None:
    refused(run("evaluate", finished, recipe, "--scales", 0), "scales: got (0.0,)")


def test_video_answers_images_with_predict(run: Run, tmp_path: Path) -> None:
    photo = draw(tmp_path / "my photo.jpg")
    for given, kind in ((photo, "a still image"), (tmp_path, "a folder")):
        code, _, err = run("video", "topformer-tiny-camvid", given, "--out", "my masks")
        what, _, words = err.strip().partition("; take: ")
        assert (code, what) == (2, f"{given}: got {kind}, expected a video")
        assert shlex.split(words) == [
            *("topseg", "predict", "topformer-tiny-camvid", str(given), "--out", "my masks")
        ]


def test_export_checks_packages_before_it_looks_for_the_model(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    code, _, err = run("export", "no-such-model", "--out", "o", "--formats", "ncnn", "openvino")
    assert (code, err.splitlines()) == (
        2,
        [
            f"export needs torch: {pip_install('topseg[train]')}",
            f"formats: 'ncnn' needs pnnx and ncnn: {pip_install('topseg[ncnn]')}",
            "formats: 'openvino' needs onnx and onnxscript and openvino: "
            f"{pip_install('topseg[openvino]')}",
        ],
    )


def test_without_a_val_split_the_training_split_may_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.zeros((64, 64), np.uint8))
    (tmp_path / "classes.txt").write_text("road\n")
    words = ["show", str(tmp_path), "--out", str(tmp_path / "sheet.jpg")]
    assert main(words) == 2
    offered = capsys.readouterr().err.splitlines()[-1].partition("or, for all of them: topseg ")[2]
    assert main(shlex.split(offered)) == 0
    assert main([*words, "stratify=true"]) == 2  # another fault, which another split mends not
    told = capsys.readouterr().err
    assert "val=0.2" in told
    assert "--split" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["recipe", "--help"], ["recipe", "quick"]])
def test_a_full_output_is_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "topseg", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no space left on device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no sh")
def test_closed_streams_are_empty_ones(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    words = shlex.join([sys.executable, "-m", "topseg", "predict", "topformer-tiny-camvid"])
    for closed, image, code in ((">&- 2>&-", "a.png", 0), ("<&- 2>&-", "-", 2)):
        command = f"{words} {image} --out masks {closed}"
        assert subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode == code
    with Image.open(tmp_path / "masks" / "a.png") as mask:
        assert mask.size == (64, 64)


def test_the_home_folder_in_any_word(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SHIPPED["topformer-tiny-camvid"], tmp_path / "model")
    draw(tmp_path / "a.png")
    assert run("predict", "~/model", "~/a.png", "--out=~/masks")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "masks", "model"]


@pytest.mark.parametrize("words", [["", "--out", "o"], ["a.png", "--out", ""], ["a.png", "--out="]])
def test_an_empty_word_is_not_the_current_folder(run: Run, words: list[str]) -> None:
    code, _, err = run("predict", "topformer-tiny-camvid", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert "is a variable unset?" in err
