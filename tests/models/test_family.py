"""A family of other people does all that a built-in one does, and no more than it can."""

import dataclasses
import shutil
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import blocks
import numpy as np
import pytest
import torch
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.core import plugins
from topseg.core.config import build, to_tree, to_yaml
from topseg.core.errors import InputError
from topseg.core.files import read_json, write_json
from topseg.inference.hub import load
from topseg.models import VARIANTS, create_model, families, find_variant
from topseg.models.family import ContextNetwork, FeatureNetwork, recognize
from topseg.models.topformer.family import FAMILY as TOPFORMER
from topseg.recipe import ModelConfig, Recipe, read_recipe
from topseg.training.trainer import train

NAME = "blocks:SMALL"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the blocks is installed."""
    point = EntryPoint("blocks_small", NAME, "topseg.models")
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {"blocks_small": point})


@pytest.fixture
def trained_copy(trained: Bundle, tmp_path: Path) -> Path:
    """A copy of a bundle of TopFormer-Tiny."""
    shutil.copytree(trained.folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = 255
    for split in ("train", "val"):
        for kind, pixels in (("images", image), ("masks", (image[..., 0] > 0).astype(np.uint8))):
            (root / kind / split).mkdir(parents=True)
            Image.fromarray(pixels).save(root / kind / split / "a.png")
    return root


@pytest.fixture(scope="module")
def make(data: Path) -> Callable[..., Recipe]:
    def make(**model: object) -> Recipe:
        tree = {
            "model": {"name": NAME, **model},
            "data": {"root": str(data), "classes": ["dark", "light"]},
            "train": {"steps": 2, "batch_size": 2, "crop": [40, 64], "workers": 0},
            "resize": {"short_side": 64},
        }
        tree["train"]["augment"] = [{"name": "pad_crop"}]  # type: ignore[index]
        return build(Recipe, tree, "recipe")

    return make


def test_it_is_trained_by_its_import_path_and_opened_where_it_is_installed(
    make: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert train(make(kernel=5), run, device="cpu") == 0
    tree = read_json(run / "best" / "metadata.json")
    assert tree["architecture"] == {
        "name": "blocks_small",
        "num_classes": 2,
        "in_channels": 3,
        "options": {"kernel": 5},
    }
    image = np.zeros((96, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"architecture.name: no 'blocks_small'"):
        load(run, runtime="torch")(image)
    point = EntryPoint("blocks_small", NAME, "topseg.models")
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {"blocks_small": point})
    predictor = load(run, runtime="torch")
    assert predictor(image).mask.shape == (96, 64)
    kinds = [type(module).__name__ for module in predictor.runtime.model.modules()]  # type: ignore[attr-defined]
    assert "BatchNorm2d" not in kinds  # folded, as every family's


def test_a_bundle_imports_nothing_by_a_path(trained_copy: Path) -> None:
    tree = read_json(trained_copy / "metadata.json")
    tree["architecture"]["name"] = "os:system"
    write_json(trained_copy / "metadata.json", tree)
    with pytest.raises(InputError, match=r"'os:system' is an import path, which counts only in"):
        load(trained_copy, runtime="torch")


def test_options_are_checked_by_the_family(make: Callable[..., Recipe], trained_copy: Path) -> None:
    assert make().model.options == blocks.Options(kernel=3)
    with pytest.raises(InputError, match=r"model.kernel: got 9, expected a number less than or"):
        make(kernel=9)
    with pytest.raises(InputError, match=r"model.pool: unknown key, known: name, .*kernel"):
        make(pool="fixed")
    tree = read_json(trained_copy / "metadata.json")
    tree["architecture"]["options"] = {"pool": "max"}
    write_json(trained_copy / "metadata.json", tree)
    with pytest.raises(InputError, match=r"architecture.options: pool: got 'max', expected"):
        load(trained_copy, runtime="torch")


def test_what_it_has_not_is_refused_by_name(make: Callable[..., Recipe], tmp_path: Path) -> None:
    tree = to_tree(make())
    for section, key, value, message in (
        ("model", "drop_path", 0.1, "model.drop_path: got 0.1, but Blocks has no stochastic depth"),
        ("train", "aux_strides", [8], "train.aux_strides: got 8, expected none for Blocks"),
        ("train", "crop", [60, 64], r"train.crop: got \[60, 64\], expected multiples of 8"),
    ):
        changed = {**tree, section: {**tree[section], key: value}}
        with pytest.raises(InputError, match=message):
            build(Recipe, changed, "recipe")
    with pytest.raises(InputError, match="Blocks has no stochastic depth"):
        create_model(NAME, 2, drop_path=0.1)


@pytest.mark.usefixtures("installed")
def test_it_stands_among_the_families() -> None:
    assert [family.name for family in families()] == ["TopFormer", "Blocks"]
    assert find_variant("blocks_small") is blocks.SMALL
    assert create_model("blocks_small", 5)(torch.zeros(1, 3, 32, 64)).shape == (1, 5, 4, 8)


def test_an_entry_point_has_the_name_of_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("tiny", NAME, "topseg.models")
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {"tiny": point})
    with pytest.raises(InputError, match="'tiny' holds the network 'blocks_small'"):
        find_variant("tiny")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recipe_keeps_its_spelling(name: str, tmp_path: Path) -> None:
    """The options of a family stand flat beside the other keys, as in every recipe until now."""
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: {{name: {name}, pool: fixed, drop_path: 0.1}}\n")
    recipe = read_recipe(path, ["model.pool=adaptive"])
    assert list(to_tree(recipe.model)) == [
        "name", "num_classes", "in_channels", "pool", "drop_path", "weights", "allow_partial",
        "backbone_weights",
    ]  # fmt: skip
    assert recipe.model.options.pool == "adaptive"
    path.write_text(to_yaml(recipe))
    assert read_recipe(path) == recipe


def test_the_record_and_the_network_agree() -> None:
    network = create_model("topformer_tiny", 3).eval()
    assert isinstance(network, FeatureNetwork)
    assert isinstance(network, ContextNetwork)
    images = torch.randn(1, 3, 128, 192)
    with torch.no_grad():
        maps = network.features(images)
        assert tuple(maps) == TOPFORMER.aux_strides
        for stride, found in maps.items():
            assert found.shape[2:] == (128 // stride, 192 // stride)
        torch.testing.assert_close(network.decode(maps), network(images), rtol=0, atol=0)
        tokens = network.tokens(images)
        assert tokens.shape[2:] == (128 // network.token_stride, 192 // network.token_stride)
        found = network.decode_with(images, network.attend(tokens))
        torch.testing.assert_close(found, network(images), rtol=0, atol=1e-5)
    assert not isinstance(blocks.Blocks(8, 2, 3, blocks.Options()), FeatureNetwork | ContextNetwork)


def test_weights_are_recognized_by_their_names() -> None:
    assert recognize([blocks.FAMILY, TOPFORMER], ["tpm.stem.0.c.weight"]) is TOPFORMER
    assert recognize([blocks.FAMILY, TOPFORMER], ["backbone.0.weight"]) is None


def test_a_copy_of_a_section_keeps_its_options() -> None:
    config = ModelConfig(pool="fixed")  # type: ignore[call-arg]
    assert dataclasses.replace(config, in_channels=4).options == config.options
    assert dataclasses.replace(config, name="topformer_base").options == config.options
