"""Recipes: read, inherited, overridden, their paths anchored, their mistakes told at once."""

from pathlib import Path

import pytest

from topseg.core.config import to_yaml
from topseg.core.errors import InputError
from topseg.recipe import Recipe, num_classes_of, read_data, read_recipe


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_recipe_reads_back_as_it_was_written(tmp_path: Path) -> None:
    entries = "[{name: step_scale}, {name: pad_crop, fill: [1, 2, 3]}, {name: distort, hue: 6}]"
    recipe = read_recipe(
        write(
            tmp_path / "a.yaml",
            "model: {name: topformer_base}",
            f"train: {{augment: {entries}, ema: 0.99}}",
            "optim: {lr: 1e-4}",
            "data: {classes: [x, y], label_map: {3: ignore, 4: 1}}",
            "loss: [{name: dice}, {name: ohem, class_weights: inverse_log}]",
        )
    )
    assert recipe.optim.lr == 0.0001  # YAML alone reads text there
    assert recipe.data.root == str(tmp_path)
    assert recipe.data.label_map == {3: "ignore", 4: 1}
    assert read_recipe(write(tmp_path / "run/b.yaml", to_yaml(recipe))) == recipe


def test_inheritance_and_overrides(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "train: {steps: 10, batch_size: 4, augment: [{name: flip}]}")
    child = write(
        tmp_path / "child.yaml", "base: base.yaml", "train: {steps: 20, augment: [{name: distort}]}"
    )
    recipe = read_recipe(child, ["train.batch_size=8", "train.crop=[64, 96]", "optim.lr=1e-3"])
    assert (recipe.train.steps, recipe.train.batch_size) == (20, 8)
    assert recipe.train.crop == (64, 96)
    assert [transform.name for transform in recipe.train.augment] == ["distort"]
    assert recipe.optim.lr == 0.001


def test_paths_are_relative_to_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "far/base.yaml",
        "data: {root: ../photos}",
        "model: {weights: w/a.pth, backbone_weights: some-name}",
        "distill: {teacher: topformer-name, cache: logits}",
    )
    child = write(tmp_path / "child.yaml", "base: far/base.yaml")
    recipe = read_recipe(child)
    assert recipe.data.root == str(tmp_path / "photos")
    assert recipe.model.weights == str(tmp_path / "far/w/a.pth")  # though it is not there yet
    assert recipe.model.backbone_weights == "some-name"
    assert recipe.distill.teacher == "topformer-name"
    assert recipe.distill.cache == str(tmp_path / "far/logits")
    write(tmp_path / "far/some-name")
    assert read_recipe(child).model.backbone_weights == str(tmp_path / "far/some-name")
    monkeypatch.chdir(tmp_path / "far")
    assert read_recipe(child, ["data.root=here"]).data.root == str(tmp_path / "far/here")


def test_mistakes_are_told_at_once(tmp_path: Path) -> None:
    wrong = write(
        tmp_path / "wrong.yaml",
        "model: {nam: topformer_tiny}",
        "optim: {lr: fast}",
        "train: {augment: [{name: pad_crop, category_max_ratio: 2}]}",
        "loss: [{name: cross_entropy, mean_over: some}, {name: ohme}, "
        "{name: ohem, class_weights: median, min_keep: 3}, {name: focal, class_weights: [1, 0]}]",
        "schedule: {decay_from: end}",
    )
    with pytest.raises(InputError) as caught:
        read_recipe(wrong)
    assert str(caught.value).splitlines() == [
        "wrong.yaml: model.nam: unknown key, did you mean 'name'?",
        "wrong.yaml: train.augment.0.pad_crop.category_max_ratio: got 2, "
        "expected a number less than or equal to 1.0",
        "wrong.yaml: optim.lr: got 'fast', expected a number",
        "wrong.yaml: schedule.decay_from: got 'end', expected 'warmup' or 'start'",
        "wrong.yaml: loss.0.cross_entropy.mean_over: got 'some', expected 'labelled' or 'all'",
        "wrong.yaml: loss.1: got name 'ohme', did you mean 'ohem'?",
        "wrong.yaml: loss.2.ohem.class_weights: got 'median', expected 'median_frequency', "
        "'sqrt_median_frequency' or 'inverse_log'",
        "wrong.yaml: loss.2.ohem.min_keep: unknown key, did you mean 'min_kept'?",
        "wrong.yaml: loss.3.focal.class_weights.1: got 0, expected a number greater than 0.0",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.crop=[100, 64]"], r"train.crop: got \[100, 64\], expected multiples of 32"),
        (["train.accumulate=3"], "train.accumulate: 3 does not divide train.batch_size 16"),
        (["schedule.name=one_cycle"], "one_cycle starts with a warm-up; 30 % .* usual: 6000"),
        (
            ["train.augment=[{name: flip}, {name: pad_crop, fill: [1, 2]}]"],
            "train.augment.1.pad_crop.fill: got 2 values, expected one, .* model.in_channels 3",
        ),
        (["schedule.warmup_steps=20000"], "schedule.warmup_steps: got 20000, expected fewer than"),
        (["train.steps"], "override 'train.steps': expected key=value"),
    ],
)
def test_settings_that_do_not_fit_together(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(write(tmp_path / "a.yaml"), overrides)


def test_a_short_run_has_a_short_warm_up(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "train: {steps: 9000}", "schedule: {warmup_steps: 1500}")
    told: list[str] = []
    recipe = read_recipe(file, ["train.steps=150"], report=told.append)
    assert recipe.schedule.warmup_steps == 15
    assert told == ["a.yaml: schedule.warmup_steps: 15 instead of 1500 for 150 steps"]
    one_cycle = read_recipe(file, ["train.steps=150", "schedule.name=one_cycle"])
    assert one_cycle.schedule.warmup_steps == 45
    shortest = read_recipe(file, ["train.steps=2", "schedule.name=one_cycle"])
    assert shortest.schedule.warmup_steps == 1
    with pytest.raises(InputError, match=r"expected fewer than train\.steps"):
        read_recipe(file, ["train.steps=150", "schedule.warmup_steps=200"])
    assert read_recipe(file, ["train.steps=2000"]).schedule.warmup_steps == 1500


def test_epochs_are_answered_with_steps(tmp_path: Path) -> None:
    for name in "abcde":
        write(tmp_path / f"images/train/{name}.png")
        write(tmp_path / f"masks/train/{name}.png")
    file = write(tmp_path / "a.yaml", "train: {batch_size: 2}")
    with pytest.raises(InputError, match=r"20 epochs of 5 images by 2 are train.steps=50$"):
        read_recipe(file, ["train.epochs=20"])
    with pytest.raises(InputError, match=r"train.steps = 20 x images / 2$"):
        read_recipe(file, ["train.epochs=20", "data.root=nowhere"])


def test_usual_names_of_losses(tmp_path: Path) -> None:
    names = "[ce, {name: lovasz_softmax, weight: 2}, OhemCrossEntropyLoss, {name: DiceLoss}]"
    recipe = read_recipe(write(tmp_path / "a.yaml", f"loss: {names}"))
    assert [term.name for term in recipe.loss] == ["cross_entropy", "lovasz", "ohem", "dice"]
    assert recipe.loss[1].weight == 2


def test_data_by_folder_file_or_recipe(tmp_path: Path) -> None:
    assert read_data(tmp_path, ["layout=list"]).layout == "list"
    assert read_data(tmp_path).root == str(tmp_path)
    file = write(tmp_path / "dataset.yaml", "layout: voc", "root: inner")
    for data in (read_data(file), read_data(tmp_path)):
        assert (data.layout, data.root) == ("voc", str(tmp_path / "inner"))
    assert read_data(file, ["val=trainval"]).val == "trainval"
    recipe = write(tmp_path / "r.yaml", "data: {layout: camvid, root: x}")
    assert read_data(recipe, ["val=test"]).val == "test"
    assert read_data(recipe).root == str(tmp_path / "x")
    with pytest.raises(InputError, match=r"dataset.yaml: layuot: unknown key, did you mean 'layo"):
        read_data(write(file, "layuot: voc"))


def test_class_count_comes_from_the_data(tmp_path: Path) -> None:
    assert num_classes_of(Recipe(), 7) == 7
    recipe = read_recipe(write(tmp_path / "a.yaml"), ["model.num_classes=5"])
    assert num_classes_of(recipe, 5) == 5
    with pytest.raises(InputError, match=r"model.num_classes: got 5, but the data has 7 classes"):
        num_classes_of(recipe, 7)


def test_a_base_of_a_dataset_keeps_its_own_root(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common/dataset.yaml").write_text("{root: photos, classes: [a, b]}")
    (tmp_path / "child.yaml").write_text("{base: common/dataset.yaml, classes: [a, b, c]}")
    data = read_data(tmp_path / "child.yaml")
    assert data.root == str(tmp_path / "common/photos")
    assert data.classes == ("a", "b", "c")


def test_paths_of_overrides_survive_in_the_written_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text("train: {steps: 5}")
    overrides = ["model.weights=runs/base", "distill.teacher=runs/large", "distill.cache=cache"]
    recipe = read_recipe(tmp_path / "r.yaml", overrides)
    assert recipe.model.weights == str(tmp_path / "runs/base")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text(to_yaml(recipe))
    assert read_recipe(tmp_path / "run/recipe.yaml") == recipe


def test_a_mapping_of_data_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("data: {layout: camvid}")
    found = read_recipe(path, [f"data={{root: {tmp_path}, val: 0.2}}"]).data
    assert (found.root, found.val, found.layout) == (str(tmp_path), 0.2, "camvid")
