"""Configuration: inheritance, overrides, and every problem named at once."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core.config import STRICT, build, explain, override, read_inherited, read_yaml, to_yaml
from topseg.core.errors import InputError


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    """A part."""

    rate: Annotated[float, Field(gt=0)] = 0.1
    """How fast,
    and how far."""
    kind: Literal["a", "b"] = "a"
    """Which."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    inner: Inner = Inner()
    """The inner part."""
    size: tuple[int, int] = (1, 2)
    """Both sides."""
    parts: tuple[Inner, ...] = ()
    """Further parts."""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def keep(tree: dict, path: Path) -> dict:
    return tree


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    tree = read_yaml(write(tmp_path / "a.yaml", "inner: {rate: 1e-4}"))
    assert build(Outer, tree, "a.yaml").inner.rate == 1e-4


def test_child_wins_over_bases_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "one.yaml", "inner: {rate: 1, kind: b}\nsize: [1, 1]")
    write(tmp_path / "two.yaml", "size: [2, 2]")
    child = write(tmp_path / "c.yaml", "base: [one.yaml, two.yaml]\ninner: {rate: 3}")
    assert read_inherited(child, keep) == {"inner": {"rate": 3, "kind": "b"}, "size": [2, 2]}


def test_circle_of_bases_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "base: b.yaml")
    with pytest.raises(InputError, match="circle"):
        read_inherited(write(tmp_path / "b.yaml", "base: a.yaml"), keep)


def test_override_means_the_same_as_the_file() -> None:
    tree = override({"inner": {"kind": "b"}}, ["inner.rate=2e-3", "size=[3, 4]"])
    built = build(Outer, tree, "x")
    assert (built.inner.rate, built.inner.kind, built.size) == (2e-3, "b", (3, 4))


@pytest.mark.parametrize("assignment", ["inner.rate", "=3", "inner..rate=2", "size.0=3"])
def test_bad_override_is_refused(assignment: str) -> None:
    with pytest.raises(InputError, match="override"):
        override({"size": [1, 2]}, [assignment])


def test_all_problems_at_once_each_with_its_key() -> None:
    tree = {"inner": {"rat": 1, "rate": "fast", "kind": "c"}, "size": [1], "more": 1}
    with pytest.raises(InputError) as caught:
        build(Outer, tree, "x.yaml")
    lines = str(caught.value).splitlines()
    assert "x.yaml: inner.rat: unknown key, did you mean 'rate'?" in lines
    assert "x.yaml: inner.rate: got 'fast', expected a number" in lines
    assert "x.yaml: inner.kind: got 'c', expected 'a' or 'b'" in lines
    assert any(line.startswith("x.yaml: size.1:") for line in lines)
    assert any(line.startswith("x.yaml: more: unknown key") for line in lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [", "line 1"), ("a: 1\na: 2", "given twice"), ("- 1", "expected 'key: value' lines")],
)
def test_bad_yaml_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_yaml(write(tmp_path / "a.yaml", text))


def test_yaml_reads_back_equal_and_explains_every_field(tmp_path: Path) -> None:
    outer = Outer(inner=Inner(rate=2.5, kind="b"), parts=(Inner(), Inner(rate=3)))
    for text in (to_yaml(outer), explain(outer)):
        assert build(Outer, read_yaml(write(tmp_path / "a.yaml", text)), "a") == outer
    assert "  # How fast,\n  # and how far.\n  rate: 2.5" in explain(outer)
    assert "- # A part.\n  # How fast,\n  # and how far.\n  rate: 3.0" in explain(outer)
