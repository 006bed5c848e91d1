"""The loop: what a run leaves behind, and what it refuses."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from topseg.bundle.bundle import read_bundle
from topseg.core.errors import InputError
from topseg.losses import CrossEntropy
from topseg.models import create_model
from topseg.recipe import Recipe, read_recipe
from topseg.training.comparison import compare_runs
from topseg.training.distributed import World
from topseg.training.loader import check_batches
from topseg.training.state import TrainState
from topseg.training.trainer import Trainer, train

MakeRecipe = Callable[..., Recipe]
STEM = "backbone.tpm.stem.0.c.weight"


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in lines(run) if "loss" in line]


def test_a_run_folder_is_complete(whole_run: Path, make_recipe: MakeRecipe) -> None:
    assert read_recipe(whole_run / "recipe.yaml") == make_recipe()
    assert [line["step"] for line in lines(whole_run)] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert {"loss", "lr", "grad_norm", "images_per_s", "data_wait", "memory_mb"} < set(
        lines(whole_run)[0]
    )
    assert {"miou", "accuracy", "iou"} < set(lines(whole_run)[-1])
    steps = sorted(p.name for p in (whole_run / "checkpoints").iterdir())
    assert steps == ["step_00000002", "step_00000004", "step_00000006"]


def test_checkpoints_and_best_are_bundles(whole_run: Path) -> None:
    newest = read_bundle(whole_run / "checkpoints" / "step_00000006")
    assert newest.weights.name == "ema.safetensors"
    best = read_bundle(whole_run / "best").metadata
    assert best.metrics["val"]["miou"] == max(line.get("miou", 0) for line in lines(whole_run))
    assert best.classes == ("ground", "square")
    assert best.recipe is not None


def test_workers_do_not_change_a_run(
    whole_run: Path, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    train(make_recipe(train={"workers": 2}), tmp_path / "run", device="cpu")
    assert compare_runs(whole_run, tmp_path / "run") == []


def test_the_seed_changes_a_run(whole_run: Path, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(train={"steps": 2, "ema": None, "save_every": 2})
    train(recipe, tmp_path / "a", device="cpu")
    seeded = Recipe(**{**vars(recipe), "seed": 1})
    train(seeded, tmp_path / "b", device="cpu")
    assert losses(tmp_path / "a") != losses(tmp_path / "b")
    assert not (tmp_path / "a" / "checkpoints" / "step_00000002" / "ema.safetensors").exists()


def test_learns(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = {"steps": 25, "augment": [], "ema": None, "eval_every": 25, "save_every": 25}
    train(make_recipe(train=settings, optim={"lr": 3e-3}), tmp_path / "run", device="cpu")
    first, *_, last = losses(tmp_path / "run")
    assert last < 0.8 * first  # ten seeds: 0.28 to 0.62


def test_tiny_stops_and_resumes(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: None
) -> None:
    settings = {"steps": 3, "eval_every": 9, "save_every": 9}
    train(make_recipe(train=settings), tmp_path / "whole", device="cpu")
    step = Trainer.step

    def interrupted(self: Trainer, batch: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        assert train(make_recipe(train=settings), tmp_path / "run", device="cpu") == 143
    recipe = make_recipe(train=settings | {"workers": 2})
    assert train(recipe, tmp_path / "run", device="cpu", resume=True) == 0
    assert compare_runs(tmp_path / "whole", tmp_path / "run") == []


def test_accumulated_parts_make_the_same_batch(
    make_recipe: MakeRecipe, tmp_path: Path, frozen: None
) -> None:
    for name, parts in (("whole", 1), ("parts", 2)):
        settings = {"steps": 3, "accumulate": parts, "ema": None}
        train(make_recipe(train=settings), tmp_path / name, device="cpu")
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a Tiny for two classes."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(create_model("topformer_tiny", 2).state_dict(), path)
    return path


def test_stops_early_and_knows_it_on_resume(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topseg.evaluation.scores.Scores.miou", 0.5)  # the first is the best
    rule = {"steps": 6, "eval_every": 1, "early_stop": 2}
    assert train(make_recipe(train=rule), tmp_path / "run") == 0
    state = json.loads((tmp_path / "run/checkpoints/step_00000003/state.json").read_text())
    assert (state["step"], state["stale"]) == (3, 2)
    assert train(make_recipe(train=rule), tmp_path / "run", resume=True) == 0
    assert not (tmp_path / "run/checkpoints/step_00000004").exists()
    assert train(make_recipe(train=rule | {"early_stop": 4}), tmp_path / "run", resume=True) == 0
    assert (tmp_path / "run/checkpoints/step_00000005").exists()


def test_bundles_do_not_tell_where_the_data_lay(whole_run: Path, data: Path) -> None:
    assert str(data) in (whole_run / "recipe.yaml").read_text()
    assert str(data) not in (whole_run / "best" / "metadata.json").read_text()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(precision: str, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(train={"steps": 2, "precision": precision}, optim={"clip_norm": 1.0})
    train(recipe, tmp_path / "run", device="cpu")
    assert np.isfinite(losses(tmp_path / "run")).all()


def test_tensorboard(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(make_recipe(train={"steps": 1}), tmp_path / "run", device="cpu", trackers=["tensorboard"])
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_a_loss_that_is_not_finite_names_the_batch_and_loses_nothing(
    make_recipe: MakeRecipe, tmp_path: Path, whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = Trainer._backward

    def diverge(self: Trainer, images: Tensor, masks: Tensor, counts: Tensor) -> Tensor:
        loss = backward(self, images, masks, counts)
        return loss * float("nan") if self.state.step == 3 else loss

    monkeypatch.setattr(Trainer, "_backward", diverge)
    with pytest.raises(InputError, match=r"loss of step 4 is not finite; batch: .*\.png, .*lr"):
        train(make_recipe(), tmp_path / "run", device="cpu")
    monkeypatch.undo()
    train(make_recipe(), tmp_path / "run", device="cpu", resume=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_00000003", ignore_errors=True)
    assert compare_runs(whole_run, tmp_path / "run") == []


def refuse(match: str, recipe: Recipe, run: Path, **more: bool) -> None:
    with pytest.raises(InputError, match=match):
        train(recipe, run, device="cpu", **more)


def test_no_images(make_recipe: MakeRecipe, data: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copytree(data / kind, tmp_path / kind)
        shutil.rmtree(tmp_path / kind / "train")
        (tmp_path / kind / "train").mkdir()
    refuse("images", make_recipe(data={"root": str(tmp_path)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_values_for_batch_statistics(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    for settings in ({"batch_size": 1}, {"batch_size": 2, "accumulate": 2}):
        refuse("raise train.crop above 64", make_recipe(train=settings), tmp_path / "run")


def test_a_batch_that_cannot_be_shared(make_recipe: MakeRecipe) -> None:
    world = World(0, 3, torch.device("cpu"))
    with pytest.raises(InputError, match=r"train.batch_size: got 4, expected a multiple of 3"):
        check_batches(make_recipe(), [0] * 12, world)  # type: ignore[arg-type]


def test_another_class_count_than_the_data(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    refuse("num_classes: got 7", make_recipe(model={"num_classes": 7}), tmp_path / "run")


def test_weights_of_another_class_count(
    make_recipe: MakeRecipe, tiny_weights: Path, tmp_path: Path, tiny: None
) -> None:
    recipe = make_recipe(
        model={"weights": str(tiny_weights)}, data={"classes": ["ground", "square", "circle"]}
    )
    refuse(r"conv_seg.*model.allow_partial=true", recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_but_the_class_layer_starts_from_weights(
    make_recipe: MakeRecipe, tiny_weights: Path, capsys: pytest.CaptureFixture[str], tiny: None
) -> None:
    model = {"weights": str(tiny_weights), "allow_partial": True}
    state = TrainState.create(make_recipe(model=model), 3, World(0, 1, torch.device("cpu")))
    given, found = load_file(tiny_weights), state.model.state_dict()
    assert torch.equal(found[STEM], given[STEM])
    assert found["decode_head.conv_seg.bias"].shape == (3,)
    told = capsys.readouterr().out
    assert f"{tiny_weights}: " in told
    assert "2 of another shape: decode_head.conv_seg.weight" in told


def test_starts_from_weights(make_recipe: MakeRecipe, tiny_weights: Path, tiny: None) -> None:
    given = load_file(tiny_weights)
    for kind, name in (("weights", "decode_head.conv_seg.bias"), ("backbone_weights", STEM)):
        recipe = make_recipe(model={kind: str(tiny_weights)}, train={"ema": None})
        state = TrainState.create(recipe, 2, World(0, 1, torch.device("cpu")))
        assert torch.equal(state.model.state_dict()[name], given[name])


def test_class_weights_of_another_length(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe()
    recipe = Recipe(**{**vars(recipe), "loss": (CrossEntropy(class_weights=(1.0, 2.0, 3.0)),)})
    refuse("loss.class_weights: got 3 numbers, expected 2", recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse("cannot write here", make_recipe(), tmp_path / "file" / "run")


def test_images_of_another_size_than_the_crop(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(train={"crop": [64, 128], "augment": [], "workers": 1})
    refuse(r"add \{name: pad_crop\}", recipe, tmp_path / "run")


def test_a_broken_image_is_named_once(make_recipe: MakeRecipe, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(root / "masks" / "train" / "4.png")
    recipe = make_recipe(data={"root": str(root)}, train={"workers": 2})
    with pytest.raises(InputError, match=r"4\.png") as caught:
        train(recipe, tmp_path / "run", device="cpu")
    assert "\n" not in str(caught.value)  # no traceback of a worker


def test_no_gpu(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="cuda"):
        train(make_recipe(), tmp_path / "run", device="cuda")


def test_compiled_and_deterministic_runs_are_the_same(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as this side goes: the compiler's last stage takes a minute and is torch's own."""
    compile_network, calls = torch.compile, []

    def compiled(module: torch.nn.Module) -> object:
        calls.append(torch.are_deterministic_algorithms_enabled())
        return compile_network(module, backend="eager")

    monkeypatch.setattr(torch, "compile", compiled)
    recipe = make_recipe(train={"compile": True, "deterministic": True})
    train(recipe, tmp_path / "run", device="cpu")
    assert calls == [True]
    assert not torch.are_deterministic_algorithms_enabled()
    assert compare_runs(whole_run, tmp_path / "run") == []


def test_an_evaluation_that_fails_costs_no_step(
    make_recipe: MakeRecipe, whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("topseg.training.trainer.validate", fail)
    with pytest.raises(MemoryError):
        train(make_recipe(), tmp_path / "run", device="cpu")
    names = sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["step_00000002", "step_00000003"]  # the second before its evaluation
    monkeypatch.undo()
    assert train(make_recipe(), tmp_path / "run", device="cpu", resume=True) == 0
    assert compare_runs(whole_run, tmp_path / "run") == []


def test_less_patience_than_was_used_up_stops_at_once(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topseg.evaluation.scores.Scores.miou", 0.5)  # the first is the best
    rule = {"steps": 5, "eval_every": 1, "save_every": 5}
    train(make_recipe(train=rule), tmp_path / "run")
    shorter = {"steps": 9, "eval_every": 1, "save_every": 5, "early_stop": 2}
    assert train(make_recipe(train=shorter), tmp_path / "run", resume=True) == 0
    assert max(line["step"] for line in lines(tmp_path / "run")) == 5
