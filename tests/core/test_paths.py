"""A path is relative to where it is written, and leaves no trace of a machine in what travels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, build
from topseg.core.paths import LocalPath, ModelPath, anchor, override_anchored, without_paths


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    """A section."""

    cache: LocalPath | None = None
    """A folder."""
    name: str = "x"
    """No path."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    """A section with sections."""

    root: LocalPath = "."
    """A folder."""
    weights: ModelPath | None = None
    """A model."""
    more: tuple[LocalPath, ...] = ()
    """Folders."""
    models: dict[str, ModelPath] = dataclasses.field(default_factory=dict)
    """Models by name."""
    inner: Inner = dataclasses.field(default_factory=Inner)
    """A section."""


def test_paths_become_absolute_and_nothing_else_changes(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    tree = anchor(
        Outer,
        {
            "root": "photos",
            "weights": "topformer-tiny-imagenet",
            "more": ["a", "/b"],
            "models": {"one": "here", "two": "runs/x", "three": "name"},
            "inner": {"cache": "../c", "name": "here"},
        },
        tmp_path,
    )
    assert tree == {
        "root": str(tmp_path / "photos"),
        "weights": "topformer-tiny-imagenet",
        "more": [str(tmp_path / "a"), "/b"],
        "models": {
            "one": str(tmp_path / "here"),
            "two": str(tmp_path / "runs/x"),
            "three": "name",
        },
        "inner": {"cache": str(tmp_path.parent / "c"), "name": "here"},
    }


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert anchor(Outer, {"weights": "~/runs"}, Path("/")) == {"weights": str(tmp_path / "runs")}


def test_wrong_types_are_left_to_be_explained(tmp_path: Path) -> None:
    tree = {"root": 5, "inner": "text", "models": ["a"], "unknown": "x"}
    assert anchor(Outer, tree, tmp_path) == tree


def test_override_is_relative_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = override_anchored(Outer, {}, ["inner.cache=c", "weights=runs/base", "root=."])
    assert build(Outer, tree, "x") == Outer(
        root=str(tmp_path),
        weights=str(tmp_path / "runs/base"),
        inner=Inner(cache=str(tmp_path / "c")),
    )


def test_what_travels_has_no_paths() -> None:
    outer = Outer(
        root="/my/photos",
        weights="/runs/base",
        models={"one": "/a/b", "two": "name"},
        inner=Inner(cache="/my/cache"),
    )
    tree = without_paths(outer)
    assert tree["root"] == "photos"
    assert tree["weights"] == "base"
    assert tree["models"] == {"one": "b", "two": "name"}
    assert tree["inner"]["cache"] == "cache"
    assert "/" not in repr(tree)
