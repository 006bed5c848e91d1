"""What is wrong in a recipe is told in the words of the file, one line a place."""

import re

import pytest

from topseg.core.config import override
from topseg.core.errors import InputError
from topseg.recipe import Recipe, build

OF_PYDANTIC = re.compile(
    r"\.(int|float|str|bool|list|tuple|dict|literal|constrained|function|rule|numbers)\b"
    r"|\[key\]|literal\[|tuple\[|[Ii]nput should|validation|union"
)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        (
            "data.label_map={11: ignor}",
            "data.label_map.11: got 'ignor', expected a whole number or 'ignore'",
        ),
        ("data.label_map={a: 0}", "data.label_map.a: got 'a', expected a whole number"),
        (
            "data.label_map={-1: 0}",
            "data.label_map.-1: got -1, expected a number greater than or equal to 0",
        ),
        (
            "data.ignore_index=void",
            "data.ignore_index: got 'void', expected a whole number or a list",
        ),
        (
            "data.ignore_index=-1",
            "data.ignore_index: got -1, expected a number greater than or equal to 0",
        ),
        ("data.ignore_index=[11, x]", "data.ignore_index.1: got 'x', expected a whole number"),
        ("data.ignore_index={1: 2}", "data.ignore_index: expected a whole number or a list"),
        ("data.val=1.5", "data.val: got 1.5, expected a number less than 1.0"),
        ("data.val=[a, 1]", "data.val.1: got 1, expected text; quote it, as '1'"),
        ("data.classes=3", "data.classes: got 3, expected text or a list; quote it, as '3'"),
        (
            "data.classes=[a, no]",
            "data.classes.1: got False, expected text; YAML reads the words yes, no, on and off as "
            "true and false: quote them, as 'no'",
        ),
        (
            "loss=[{name: cross_entropy, class_weights: [1, -1]}]",
            "loss.0.cross_entropy.class_weights.1: got -1, expected a number greater than 0.0",
        ),
        (
            "loss=[{name: cross_entropy, class_weights: 3}]",
            "loss.0.cross_entropy.class_weights: got 3, expected a list",
        ),
        ("loss=[]", "loss: got [], expected at least 1"),
        ("train.crop=[512]", "train.crop.1: a value is required here, none was given"),
        ("train.crop=[1, 2, 3]", "train.crop: got 3, expected at most 2"),
        (
            "data.root=~",
            "data.root: got None, expected text; YAML reads null and a bare ~ as nothing: quote a "
            "name, and write out a path",
        ),
        ("train=3", "train: got 3, expected a section of 'key: value' lines"),
        ("train={2: 3}", "train.2: got 2, expected text as a key"),
    ],
)
def test_one_line_in_the_words_of_the_file(setting: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        build(Recipe, override({}, [setting]), "r.yaml")
    assert str(caught.value) == f"r.yaml: {line}"
    assert not OF_PYDANTIC.search(str(caught.value))


def test_times_of_day_are_no_pairs() -> None:
    with pytest.raises(InputError) as caught:
        build(Recipe, override({}, ["data.label_map={0:0,1:1}"]), "r.yaml")
    assert str(caught.value).splitlines() == [
        "r.yaml: data.label_map.0:0: got '0:0', expected a whole number; YAML wants a space after "
        "the colon: 0: 0",
        "r.yaml: data.label_map.61: got None, expected a whole number or 'ignore'; YAML reads 1:1 "
        "as 61: put a space after the colon",
    ]


def test_many_problems_are_counted() -> None:
    tree = {"data": {"classes": list(range(50))}}
    with pytest.raises(InputError) as caught:
        build(Recipe, tree, "r.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "r.yaml: and 31 more problems"


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({"loss": [{"name": "\ud800"}]}, "a text holds half a character"),
        ({"train": {"\ud800": 1}}, r"train: got '\\ud800', expected text of whole characters"),
    ],
)
def test_half_a_character_is_told(tree: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=rf"^r\.yaml: {problem}"):
        build(Recipe, tree, "r.yaml")
