import re
from xml.etree import ElementTree

import pytest

from topseg.report.chart import Series, line_chart


def test_curves_lie_inside_the_axes() -> None:
    chart = line_chart("Loss", [Series("loss", "red", [(10, 2.0), (20, 1.0), (40, 0.5)])])
    svg = ElementTree.fromstring(chart).find("svg")
    assert svg is not None
    (line,) = svg.iter("polyline")
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    lines = [g for g in svg.iter("line")]
    left, right = (float(lines[0].attrib[k]) for k in ("x1", "x2"))
    heights = [float(g.attrib["y1"]) for g in lines]
    assert [x for x, _ in points] == pytest.approx(
        [left + part * (right - left) for part in (0.25, 0.5, 1)], abs=0.1
    )
    bottom, top = max(heights), min(heights)  # 0 to 2
    assert [y for _, y in points] == pytest.approx(
        [bottom - part * (bottom - top) for part in (1, 0.5, 0.25)], abs=0.1
    )
    assert svg.attrib["aria-label"] == "Loss over 40 steps: loss from 2 to 0.5"


def test_axes_have_round_numbers() -> None:
    chart = line_chart("mIoU", [Series("mIoU", "red", [(250, 0.5), (1000, 0.83)])], percent=True)
    texts = [e.text for e in ElementTree.fromstring(chart).iter("text")]
    assert texts == ["0%", "20%", "40%", "60%", "80%", "100%", *map(str, range(0, 1001, 200))]


def test_many_points_are_averaged() -> None:
    points = [(step, 1.0 + step % 2) for step in range(1, 8001)]
    chart = line_chart("Loss", [Series("loss", "red", points)])
    found = re.search('points="([^"]*)"', chart)
    assert found
    assert len({p.split(",")[1] for p in found[1].split()}) == 1  # 1.5 throughout
    assert len(found[1].split()) == 400
    assert "<circle" not in chart


def test_names_are_text() -> None:
    series = [Series("<b>&", "red", [(1, 0.0)]), Series("none", "blue", [])]
    root = ElementTree.fromstring(line_chart('"quoted"', series))
    assert [li.findtext("i") or "".join(li.itertext()) for li in root.iter("li")] == ["<b>& 0"]


def test_nothing_gives_nothing() -> None:
    assert line_chart("Loss", [Series("loss", "red", [])]) == ""


def test_very_small_values_have_ticks_of_their_own() -> None:
    root = ElementTree.fromstring(line_chart("Rate", [Series("lr", "red", [(1, 3e-14), (2, 0.0)])]))
    assert [text.text for text in root.iter("text")][:3] == ["0", "1e-14", "2e-14"]
