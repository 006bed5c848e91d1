"""Terms: each section of a recipe becomes its loss."""

import pytest

from topseg.config import build
from topseg.labels import LabelSet
from topseg.losses import CrossEntropy, Dice, Focal, Lovasz, Ohem
from topseg.recipe import Recipe
from topseg.train.terms import make_loss

LABELS = LabelSet(("ground", "square"), ((0, 0, 0), (255, 255, 255)))


def make(**section: object) -> object:
    recipe = build(Recipe, {"loss": [section]}, "recipe")
    return make_loss(recipe.loss[0], LABELS, lambda rule: [1.0, float(len(rule))])


@pytest.mark.parametrize(
    ("section", "cls"),
    [
        ({"name": "cross_entropy", "mean_over": "all", "label_smoothing": 0.1}, CrossEntropy),
        ({"name": "ohem", "fraction": 0.2, "threshold": 0.5, "min_kept": 7}, Ohem),
        ({"name": "focal", "gamma": 3.0}, Focal),
        ({"name": "dice"}, Dice),
        ({"name": "lovasz"}, Lovasz),
    ],
)
def test_settings_arrive(section: dict[str, object], cls: type) -> None:
    term = make(weight=0.5, **section)
    assert type(term) is cls
    settings = {k: v for k, v in section.items() if k != "name"} | {"weight": 0.5}
    assert {key: vars(term)[key] for key in settings} == settings
    assert vars(term)["ignore_index"] == 255


@pytest.mark.parametrize("name", ["cross_entropy", "ohem", "focal"])
def test_class_weights_by_number_or_rule(name: str) -> None:
    given = make(name=name, class_weights=[2, 3])
    assert vars(given)["class_weights"].tolist() == [2, 3]
    counted = make(name=name, class_weights="inverse_log")
    assert vars(counted)["class_weights"].tolist() == [1, len("inverse_log")]
    assert vars(make(name=name))["class_weights"] is None
