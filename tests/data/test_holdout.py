"""Holdout: by share, by group, by class; always the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topseg.core.errors import InputError
from topseg.data.checking import check
from topseg.data.config import DataConfig
from topseg.data.dataset import find_pairs, open_dataset
from topseg.data.holdout import group_of, hold_out
from topseg.data.layouts.pairs import Pair, Pairs


def pairs_of(*names: str) -> Pairs:
    return Pairs(tuple(Pair(Path(name), Path(name), name) for name in names))


def names_of(pairs: Pairs) -> list[str]:
    return [pair.name for pair in pairs.pairs]


TILES = [f"scene{s}_{x}_{y}.png" for s in range(10) for x in range(4) for y in range(4)]


def test_tiles_of_a_scene_stay_together() -> None:
    kept, held = hold_out(pairs_of(*TILES), 0.2, group=r"^scene\d+")
    scenes = [{name.split("_")[0] for name in names_of(part)} for part in (kept, held)]
    assert not scenes[0] & scenes[1]
    assert len(scenes[1]) == 2
    assert names_of(kept) == [name for name in TILES if name.split("_")[0] in scenes[0]]


def test_what_stands_in_parentheses_is_the_group() -> None:
    assert group_of("a/day1_cam2_007.png", r"day(\d)_cam(\d)") == "1\0002"
    assert group_of("a/day1_cam2_007.png", r"cam\d") == "cam2"
    with pytest.raises(InputError, match=r"data.group: 'x\+' is not found in 'a.png'; every"):
        group_of("a.png", "x+")
    with pytest.raises(InputError, match=r"data.group: '\(' is no regular expression \("):
        group_of("a.png", "(")
    with pytest.raises(InputError, match="puts all images into one group"):
        hold_out(pairs_of("a1", "a2", "a3"), 0.5, group="a")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_each_side_has_a_pair_and_whole_groups(share: float) -> None:
    kept, held = hold_out(pairs_of(*TILES), share, group=r"^scene\d+")
    assert len(kept.pairs) % 16 == len(held.pairs) % 16 == 0
    assert len(kept.pairs) >= 16
    assert len(held.pairs) >= 16
    assert len(kept.pairs) + len(held.pairs) == 160


def _presence(images: int, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Classes from common to rare."""
    frequency = np.array([0.9, 0.5, 0.2, 0.05, 0.02])
    return np.random.default_rng(seed).random((images, 5)) < frequency


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_divided_by_the_share(seed: int) -> None:
    presence = _presence(500, seed)
    pairs = pairs_of(*(f"{i:04d}x.png" for i in range(500)))
    kept, held = hold_out(pairs, 0.2, presence=presence)
    inside = np.array([pair in set(held.pairs) for pair in pairs.pairs])
    assert len(held.pairs) == pytest.approx(100, abs=3)
    np.testing.assert_allclose(presence[inside].sum(axis=0), presence.sum(axis=0) * 0.2, atol=3)
    again = hold_out(pairs, 0.2, presence=presence)
    assert (names_of(again[0]), names_of(again[1])) == (names_of(kept), names_of(held))


def test_groups_are_divided_by_class_as_wholes() -> None:
    presence = _presence(600, 0)
    pairs = pairs_of(*(f"s{i // 6:03d}_{i % 6}.png" for i in range(600)))
    kept, held = hold_out(pairs, 0.25, group=r"^s\d+", presence=presence)
    scenes = [{name[:4] for name in names_of(part)} for part in (kept, held)]
    assert not scenes[0] & scenes[1]
    inside = np.array([pair in set(held.pairs) for pair in pairs.pairs])
    assert inside.sum() == pytest.approx(150, abs=12)
    np.testing.assert_allclose(presence[inside].sum(axis=0), presence.sum(axis=0) * 0.25, atol=10)


def test_a_rare_class_trains_before_it_validates() -> None:
    presence = np.zeros((20, 2), np.bool_)
    presence[:, 0] = True
    presence[3, 1] = True
    pairs = pairs_of(*(f"{i}x.png" for i in range(20)))
    kept, _ = hold_out(pairs, 0.5, presence=presence)
    assert pairs.pairs[3] in kept.pairs


def test_stratify_reads_the_masks_once(
    tree: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
    for i in range(40):
        tree.image(f"images/{i:02d}x.png")
        tree.mask(f"masks/{i:02d}x.png", values=1 if i % 8 == 0 else 0)
    (tree.root / "masks/01x.png").write_bytes(b"no mask")
    config = DataConfig(root=str(tree.root), classes=("x", "y"), val=0.2, stratify=True)
    held = find_pairs(config, "val")
    assert sum(int(name[7:9]) % 8 == 0 for name in names_of(held)) == 1
    with monkeypatch.context() as patch:
        patch.setattr("topseg.data.masks.MaskReader.__call__", None)
        assert names_of(find_pairs(config, "val")) == names_of(held)
    tree.mask("masks/01x.png", values=1)  # changed: it is read again
    assert len(find_pairs(config, "train").pairs) + len(find_pairs(config, "val").pairs) == 40
    report = check(config)
    assert report.errors == []


def test_stratify_needs_a_share(tree: Any) -> None:
    tree.image("images/train/a.png", "images/val/a.png")
    tree.mask("masks/train/a.png", "masks/val/a.png")
    config = DataConfig(root=str(tree.root), classes=("x",), stratify=True)
    with pytest.raises(InputError, match=r"data.stratify: divides by a share, but .* None"):
        open_dataset(config, "train")


def test_check_tells_of_a_group_in_both_splits(tree: Any) -> None:
    for i, name in enumerate(("train/s1_a", "train/s2_a", "val/s2_b", "val/s3_a")):
        tree.image(f"images/{name}.png", value=i)
        tree.mask(f"masks/{name}.png")
    config = DataConfig(root=str(tree.root), classes=("x",), group=r"s\d")
    texts = [p.text for p in check(config).warnings if p.kind == "group in both splits"]
    assert texts == ["images/val/s2_b.png (val): of one group with images/train/s2_a.png (train)"]
    bad = DataConfig(root=str(tree.root), classes=("x",), group="z")
    assert [p.kind for p in check(bad).errors] == ["group"]


def test_one_image_that_is_listed_twice_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="fewer than two images to divide"):
        hold_out(pairs_of("a.png", "a.png"), 0.5)


@pytest.mark.parametrize("large", "abcdefghij")
def test_a_sequence_larger_than_the_share_trains(large: str) -> None:
    """Whichever comes first in the order that names decide."""
    sizes = {letter: 60 if letter == large else 3 for letter in "abcdefghij"}
    names = [f"{letter}/{i:03d}.png" for letter, size in sizes.items() for i in range(size)]
    _, held = hold_out(pairs_of(*names), 0.2)
    assert 15 <= len(held.pairs) <= 17


def test_an_image_that_is_added_moves_at_most_one_other() -> None:
    names = [f"x{i}y.png" for i in range(50)]
    before = set(names_of(hold_out(pairs_of(*names), 0.2)[1]))
    moved = [
        len(before ^ set(names_of(hold_out(pairs_of(*names, new), 0.2)[1])) - {new})
        for new in (f"new{i}z.png" for i in range(50))
    ]
    assert max(moved) == 1
