"""Which class a name becomes."""

import pytest

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet
from topseg.data.annotations.names import match_names
from topseg.data.annotations.source import Source

NAMES = ("Car", "traffic-light", "person", "void")
SOURCE = Source(NAMES, (), ignored=frozenset({"void"}))


def targets(*arguments: object, **more: object) -> dict[str, str | None]:
    rules = match_names(SOURCE, *arguments, **more).rules  # type: ignore[arg-type]
    return {rule.name: rule.target for rule in rules}


def test_own_names_become_classes() -> None:
    matching = match_names(SOURCE)
    assert matching.labels.names == ("background", "Car", "traffic-light", "person")
    assert matching.labels.palette[0] == (0, 0, 0)
    assert matching.rest == "background"
    assert [rule.target for rule in matching.rules] == [*NAMES[:3], "ignore"]


def test_spelling_is_left_aside() -> None:
    assert targets(("car", "Traffic Light")) == {
        "Car": "car",
        "traffic-light": "Traffic Light",
        "person": None,
        "void": "ignore",
    }
    assert match_names(SOURCE, ("car",)).rest == "ignore"
    assert match_names(SOURCE, ("Background", "car")).rest == "Background"


def test_published_and_prescribed_sets() -> None:
    assert targets(("cityscapes",))["traffic-light"] == "traffic light"
    source = Source(NAMES, (), classes=LabelSet(("person", "car"), ((1, 1, 1), (2, 2, 2))))
    assert match_names(source).labels.palette == ((1, 1, 1), (2, 2, 2))


def test_renaming() -> None:
    assert match_names(SOURCE, (), ("Car=person",)).labels.names == (
        "background",
        "person",
        "traffic-light",
    )
    assert targets((), ("Car=ignore", "void=Hole"))["void"] == "Hole"
    assert targets(("thing",), ("Car=thing",))["Car"] == "thing"


def test_rest() -> None:
    assert match_names(SOURCE, rest="ignore").labels.names[0] == "Car"
    assert match_names(SOURCE, rest="ground").labels.names[0] == "ground"
    assert match_names(SOURCE, usual_rest="ignore").rest == "ignore"


def test_the_sources_colors_are_kept() -> None:
    source = Source(("a", "b"), (), palette=((0, 0, 0), (128, 0, 0)))
    assert match_names(source).labels.palette == ((230, 159, 0), (0, 0, 0), (128, 0, 0))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"rename": ("bus=car",)}, "the source has no 'bus'"),
        ({"rename": ("Car",)}, "expected OLD=NEW"),
        ({"rename": ("Car=lorry",), "classes": ("person",)}, "Car=lorry: no such class"),
        ({"classes": ("bus",)}, "none of the source's names is a class"),
        ({"classes": ("car",), "rest": "ground"}, "no class 'ground'"),
        ({"classes": ("car", "car")}, "given twice"),
    ],
)
def test_rules_that_lead_nowhere(more: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(InputError, match=text):
        targets(**more)


@pytest.mark.parametrize(("name", "old"), [("", ""), ("a\u200b", "OLD"), ("a\nb", "OLD")])
def test_a_name_that_no_data_set_can_have(name: str, old: str) -> None:
    source = Source((name, "b"), ())
    with pytest.raises(
        InputError, match=f"expected a name that can be printed.* --rename {old}=NEW"
    ):
        match_names(source)
    assert match_names(source, rename=(f"{name}=a",)).labels.names == ("background", "a", "b")
