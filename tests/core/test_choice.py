"""Sections and records that a recipe names: built-in ones, plug-ins, and every mistake."""

from importlib.metadata import EntryPoint
from typing import Annotated, Literal, Protocol, runtime_checkable

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from topseg.core import plugins
from topseg.core.choice import NamedRecord, NamedSection
from topseg.core.config import STRICT, build, explain, to_tree
from topseg.core.errors import InputError


@runtime_checkable
class Shape(Protocol):
    """What has an area."""

    @property
    def name(self) -> str: ...

    def area(self) -> float: ...


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Square:
    """Four equal sides."""

    name: Literal["square"] = "square"
    side: Annotated[float, Field(gt=0)] = 1.0
    """Length of a side."""

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Circle:
    """A plug-in."""

    name: str = "circle"
    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise InputError(f"circle.radius: got {self.radius:g}, expected 0 or more")

    def area(self) -> float:
        return 3 * self.radius**2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Line:
    """A section without an area."""

    name: str = "line"


class Color:
    """A record."""

    def __init__(self, help: str) -> None:
        self.help = help


SHAPES = {"square": Square}
COLORS = {"red": Color("like a brick"), "blue": Color("like the sky")}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Drawing:
    shapes: tuple[Annotated[Shape, NamedSection("shapes", SHAPES, Shape)], ...] = (Square(),)
    """Shapes in order."""
    color: Annotated[str, NamedRecord("colors", COLORS, Color)] = "red"
    """Colour of all."""


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {
        "shapes": {
            "circle": EntryPoint("circle", f"{__name__}:Circle", "topseg.shapes"),
            "line": EntryPoint("line", f"{__name__}:Line", "topseg.shapes"),
            "gone": EntryPoint("gone", "no_such_package:Shape", "topseg.shapes"),
            "text": EntryPoint("text", "sys:version", "topseg.shapes"),
            "plain": EntryPoint("plain", "builtins:int", "topseg.shapes"),
        }
    }
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: here.get(kind, {}))


def problems(**tree: object) -> str:
    with pytest.raises(InputError) as caught:
        build(Drawing, tree, "d.yaml")
    return str(caught.value)


def test_built_in_installed_and_imported_sections() -> None:
    shapes = [{"name": "square", "side": "2"}, {"name": "circle"}, {"name": f"{__name__}:Circle"}]
    drawing = build(Drawing, {"shapes": shapes}, "d.yaml")
    assert [shape.area() for shape in drawing.shapes] == [4, 3, 3]
    assert drawing.shapes[0] == Square(side=2)
    assert build(Drawing, to_tree(drawing), "d.yaml") == drawing
    assert Drawing(shapes=(Circle(radius=2),)).shapes[0].area() == 12


def test_explanations_list_what_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {})
    text = explain(Drawing())
    assert "# Shapes in order.\n#   square: Four equal sides.\nshapes:" in text
    assert "# Colour of all.\n#   red: like a brick\n#   blue: like the sky\ncolor: red" in text


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ({"name": "sqare"}, "shapes.0: got name 'sqare', did you mean 'square'?"),
        ({"name": "cirle"}, "shapes.0: got name 'cirle', did you mean 'circle'?"),
        ({"side": 1}, "shapes.0: got no name, known: square, circle, gone, line, plain, text"),
        ({"name": 3}, "shapes.0: got no name"),
        ("square", "shapes.0: got 'square', expected a mapping"),
        ({"name": "square", "side": 0}, "shapes.0.square.side: got 0, expected a number greater"),
        ({"name": "square", "sid": 1}, "shapes.0.square.sid: unknown key, did you mean 'side'?"),
        ({"name": "circle", "radios": 1}, "shapes.0.circle.radios: unknown key, did you mean 'ra"),
        ({"name": "circle", "radius": "{x}"}, "shapes.0.circle.radius: got '{x}', expected a num"),
        ({"name": "circle", "radius": -1}, "d.yaml: circle.radius: got -1, expected 0 or more"),
        ({"name": "gone"}, "shapes.0: got name 'gone': 'gone' cannot be imported (ModuleNotFound"),
        ({"name": "text"}, "shapes.0: got name 'text': 'text' is a str, expected a type"),
        ({"name": "plain"}, "'plain' is int, expected a frozen pydantic dataclass with a field"),
        ({"name": "line"}, "shapes.0: 'line' has no area, which shapes need"),
        ({"name": "nowhere:X"}, "shapes.0: got name 'nowhere:X': 'nowhere:X' cannot be imported"),
    ],
)
def test_mistakes_in_sections(shape: object, problem: str) -> None:
    assert problem in problems(shapes=[shape])


def test_mistakes_in_names_of_records() -> None:
    assert "color: got 'bleu', did you mean 'blue'?" in problems(color="bleu")
    assert "color: got 'x:Y': 'x:Y' cannot be imported" in problems(color="x:Y")
    assert "color: got 3, expected text" in problems(color=3)


def test_every_problem_is_told_at_once() -> None:
    text = problems(shapes=[{"name": "sqare"}, {"name": "square", "side": -1}], color="bleu")
    assert len(text.splitlines()) == 3
