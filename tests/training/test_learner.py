"""Auxiliary heads: they train the pyramid, and nothing of them is in a bundle."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from topseg.bundle.bundle import read_bundle
from topseg.losses import CrossEntropy, total_loss
from topseg.models import create_model
from topseg.models.topformer.pyramid import STRIDES
from topseg.recipe import Recipe
from topseg.training.checkpoint import load_checkpoint
from topseg.training.comparison import compare_runs
from topseg.training.learner import Learner
from topseg.training.objective import Objective
from topseg.training.trainer import train

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    return Learner(create_model("topformer_tiny", 3), STRIDES, 3)


def test_gives_logits_at_each_stride(learner: Learner) -> None:
    shapes = [tuple(logits.shape) for logits in learner(torch.zeros(2, 3, 64, 96))]
    sides = [(2, 3, 64 // stride, 96 // stride) for stride in (8, *STRIDES)]
    assert shapes == sides


def test_the_networks_own_logits_do_not_change(learner: Learner) -> None:
    images = torch.randn(2, 3, 64, 96)
    alone = Learner(learner.model, (), 3).eval()
    with torch.no_grad():
        assert torch.equal(learner.eval()(images)[0], alone(images)[0])


def test_every_head_counts_by_its_factor() -> None:
    terms = [CrossEntropy()]
    objective = Objective(terms, 255, 0.4, None)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 3, 64 // s, 64 // s, generator=generator) for s in (8, 16, 32)]
    masks = torch.randint(0, 3, (2, 64, 64), generator=generator)
    counts = objective.count(masks)
    assert counts.tolist() == [2 * 64 * 64, 2]
    share = objective.share(logits, torch.zeros(2, 64, 64, 3), masks, counts)
    losses = [total_loss(terms, one, masks, 255, counts[:1]).item() for one in logits]
    assert share.item() == pytest.approx(losses[0] + 0.4 * (losses[1] + losses[2]))


def test_a_run_with_heads_resumes_and_leaves_them_out(
    make_recipe: MakeRecipe, tmp_path: Path, tiny: None
) -> None:
    settings = {"steps": 2, "eval_every": 2, "save_every": 1, "aux_strides": [16, 32]}
    recipe = make_recipe(train=settings)
    train(recipe, tmp_path / "whole", device="cpu")
    train(recipe, tmp_path / "run", device="cpu")
    (tmp_path / "run/checkpoints/step_00000002").rename(tmp_path / "later")
    train(recipe, tmp_path / "run", device="cpu", resume=True)
    assert compare_runs(tmp_path / "whole", tmp_path / "run") == []
    tensors = load_checkpoint(tmp_path / "run/checkpoints/step_00000002").tensors
    assert any(name.startswith("16.") for name in tensors["heads"])
    assert any(name.startswith("heads.16.") for name in tensors["optimizer"])
    assert not any("heads" in name for file in ("model", "ema") for name in tensors[file])
    assert list(read_bundle(tmp_path / "run/best").metadata.files) == ["weights.safetensors"]
