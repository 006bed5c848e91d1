"""Validation: the loss beside the scores, and pictures to look at."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from topseg.core.stop import StopSignal
from topseg.data.dataset import open_dataset
from topseg.inference.hub import load, open_model
from topseg.recipe import Recipe
from topseg.runtimes.torch import open_torch
from topseg.training import state
from topseg.training.distributed import World
from topseg.training.state import build_network
from topseg.training.trainer import train
from topseg.training.validation import draw_samples, validate

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny_run(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step of TopFormer-Tiny."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "build_network", build_network)
        settings = {"steps": 1, "ema": None, "samples": 2}
        train(make_recipe(train=settings, model={}), run, device="cpu")
    return run


def test_loss_is_the_mean_over_labelled_pixels(make_recipe: MakeRecipe, tiny_run: Path) -> None:
    bundle, dataset = open_model(tiny_run), open_dataset(make_recipe().data, "val")
    model = open_torch(bundle, device="cpu").model
    found = validate(
        model, bundle.metadata, dataset, World(0, 1, CPU), StopSignal(), lambda done, total: None
    )
    assert found is not None
    runtime = load(tiny_run, runtime="torch", device="cpu").runtime
    losses = []
    for sample in (dataset[index] for index in range(len(dataset))):
        logits = torch.from_numpy(runtime(sample.image[None])).double()
        large = F.interpolate(logits, sample.mask.shape, mode="bilinear")
        truth = torch.from_numpy(sample.mask).long()[None]
        losses.append(F.cross_entropy(large, truth, ignore_index=255, reduction="none"))
    labelled = sum(int((dataset[i].mask != 255).sum()) for i in range(len(dataset)))
    assert found[1] == pytest.approx(float(torch.cat(losses).sum()) / labelled, rel=1e-5)


def test_samples_are_drawn_at_evaluations(tiny_run: Path) -> None:
    pictures = sorted((tiny_run / "samples").rglob("*"))
    names = ["step_00000001", "00_0.jpg", "01_1.jpg"]
    assert [path.name for path in pictures] == names
    assert cv2.imread(str(pictures[1])).shape == (64, 128, 3)


def test_truth_is_left_and_prediction_right(make_recipe: MakeRecipe, tiny_run: Path) -> None:
    bundle, dataset = open_model(tiny_run), open_dataset(make_recipe().data, "val")
    model = open_torch(bundle, device="cpu").model
    drawn = list(draw_samples(model, bundle.metadata, dataset, 9, CPU))
    assert len(drawn) == len(dataset)  # no more than there are
    prediction = load(tiny_run, runtime="torch", device="cpu")(dataset[0].image)
    left, right = np.hsplit(drawn[0][1], 2)
    assert np.array_equal(right, prediction.overlay(dataset[0].image))
    assert np.array_equal(left[0], dataset[0].image[0])  # a row without labels
