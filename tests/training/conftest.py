"""A data set of a few small pictures, and recipes that train on it in a second."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from topseg.core.config import build
from topseg.recipe import ModelConfig, Recipe
from topseg.training import state
from topseg.training.state import TrainState, build_network

MakeRecipe = Callable[..., Recipe]


class SmallNet(nn.Module):
    """Like a network of the zoo in all that training sees, and a hundred times as fast."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.BatchNorm2d(16), nn.ReLU())
        self.decode_head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(16, num_classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.decode_head(self.backbone(images))
        return logits


@contextlib.contextmanager
def small_nets() -> Iterator[None]:
    """Train small networks on one thread; leave nothing of it to other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "build_network", SmallNet)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    with small_nets():
        yield


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train TopFormer-Tiny instead."""
    monkeypatch.setattr(state, "build_network", build_network)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 + 3 images of a bright square on a dark ground, a strip of each without a label."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 3)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((64, 64), np.uint8)
            y, x = rng.integers(0, 32, 2)
            mask[y : y + 32, x : x + 32] = 1
            image = rng.integers(0, 60, (64, 64, 3), np.uint8)
            image[mask == 1] += 150
            mask[: i + 1] = 255
            Image.fromarray(image).save(root / "images" / split / f"{i}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def make_recipe(data: Path) -> MakeRecipe:
    """Make a recipe of 6 steps; keywords change its sections."""

    def make(**sections: dict[str, Any]) -> Recipe:
        tree: dict[str, Any] = {
            "data": {"root": str(data), "classes": ["ground", "square"]},
            "train": {
                "steps": 6,
                "batch_size": 4,
                "crop": [64, 64],
                "workers": 0,
                "ema": 0.9,
                "log_every": 1,
                "eval_every": 3,
                "save_every": 2,
                "augment": [{"name": "flip"}, {"name": "distort"}],
            },
            "resize": {"short_side": 64},
        }
        for name, section in sections.items():
            tree[name] = tree.get(name, {}) | section
        return build(Recipe, tree, "recipe")

    return make


@pytest.fixture(scope="session")
def whole_run(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    from topseg.training.trainer import train

    run = tmp_path_factory.mktemp("runs") / "whole"
    with small_nets():
        assert train(make_recipe(), run, device="cpu") == 0
    return run


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch statistics and no dropout: a step does not depend on how its batch is cut."""
    create = TrainState.create

    def create_frozen(*arguments: Any) -> TrainState:
        made = create(*arguments)
        for module in made.model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.Dropout2d):
                module.eval()
        return made

    monkeypatch.setattr(TrainState, "create", create_frozen)
