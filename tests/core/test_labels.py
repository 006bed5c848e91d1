"""Names, colours, ignore values."""

import pytest

from topseg.core.errors import InputError
from topseg.core.labels import STANDARD_SETS, LabelSet, standard_set


@pytest.mark.parametrize("name", STANDARD_SETS)
def test_standard_sets_map_onto_all_their_classes(name: str) -> None:
    labels, raw = standard_set(name)
    assert raw is not None
    targets = {target for target in raw.values() if target != "ignore"}
    assert targets == set(range(labels.num_classes))
    assert len(set(labels.names)) == labels.num_classes


def test_published_facts() -> None:
    ade, raw = standard_set("ade20k")
    assert (ade.num_classes, ade.names[0]) == (150, "wall")
    assert (raw[0], raw[1], raw[150]) == ("ignore", 0, 149)
    assert standard_set("camvid")[1][11] == "ignore"
    assert standard_set("cityscapes")[1][26] == 13  # car


def test_unknown_set_suggests() -> None:
    with pytest.raises(InputError, match="did you mean 'cityscapes'"):
        standard_set("cityscape")


def test_masks_widen_above_255_classes() -> None:
    def labels(count: int) -> LabelSet:
        return LabelSet(tuple(map(str, range(count))), ((0, 0, 0),) * count)

    assert (labels(255).dtype, labels(255).ignore_index) == ("uint8", 255)
    assert (labels(256).dtype, labels(256).ignore_index) == ("uint16", 65535)


def test_palette_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="1 colours for 2 classes"):
        LabelSet(("a", "b"), ((0, 0, 0),))
