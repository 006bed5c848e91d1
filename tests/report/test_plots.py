"""Plots: what is drawn where."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from topseg.report.plots import interval_plot, matrix_plot, reliability_plot


def svg(text: str) -> ET.Element:
    return ET.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])


def test_reliability_lies_below_the_diagonal_where_the_model_is_too_sure() -> None:
    bins = [
        {"pixels": 10, "confidence": 0.5, "accuracy": 0.5},
        {"pixels": 90, "confidence": 0.9, "accuracy": 0.7},
    ]
    text = reliability_plot(bins, 0.18)
    one, two = svg(text).findall("circle")
    diagonal = next(line for line in svg(text).findall("line") if line.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(diagonal.attrib[key]) for key in ("x1", "y1", "x2", "y2"))

    def below(point: ET.Element) -> float:
        x, y = float(point.attrib["cx"]), float(point.attrib["cy"])
        return y - (y1 + (x - x1) / (x2 - x1) * (y2 - y1))

    assert below(one) == pytest.approx(0, abs=0.1)
    assert below(two) == pytest.approx(0.2 * (y1 - y2), abs=0.1)
    assert float(one.attrib["r"]) < float(two.attrib["r"])
    assert "18.00%" in text


@pytest.mark.parametrize("count", [3, 150])
def test_matrix_has_a_square_for_what_is_taken_for_what(count: int) -> None:
    matrix = np.eye(count, dtype=np.int64) * 90
    matrix[2, 1] = 10
    matrix[0, 1] = 0
    names = [f"<{i}>" for i in range(count)]
    found = svg(matrix_plot(names, matrix))
    titles = [title.text for title in found.iter("title")]
    assert len(titles) == count + 1
    assert "<2> taken for <1>: 10.0%" in titles
    assert "<2> found: 90.0%" in titles
    assert "<0> found: 100.0%" in titles
    wrong = [one for one in found.findall("rect") if "fault" in one.get("fill", "")]
    right = [one for one in found.findall("rect") if "accent" in one.get("fill", "")]
    assert [one.attrib["y"] for one in wrong] == [right[2].attrib["y"]]
    assert [one.attrib["x"] for one in wrong] == [right[1].attrib["x"]]


def test_intervals_show_their_side() -> None:
    assert 'class="interval worse"' in interval_plot(-0.02, -0.03, -0.01, 0.05)
    assert 'class="interval better"' in interval_plot(0.02, 0.01, 0.03, 0.05)
    text = interval_plot(0.0, -0.05, 0.05, 0.05)
    assert 'class="interval even"' in text
    line = svg(text).findall("line")[1]
    assert float(line.attrib["x1"]) + float(line.attrib["x2"]) == 120
    assert interval_plot(math.nan, math.nan, math.nan, 0.1) == ""
