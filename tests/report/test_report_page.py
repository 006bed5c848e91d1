import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from topseg.core.labels import LabelSet, default_palette
from topseg.evaluation.confusion import ConfusionMatrix
from topseg.evaluation.scores import Scores
from topseg.report.page import RunReport, write_report
from topseg.report.pictures import Example

VOID = {"meta", "img", "line", "circle", "polyline", "br"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps tags, attributes and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make_report(names: tuple[str, ...] = ("sky", "<b>ground</b> & more", "absent")) -> RunReport:
    labels = LabelSet(names, default_palette(len(names)))
    truth = np.repeat(np.array([[0, 1]], np.uint8), 8, axis=1)
    prediction = truth.copy()
    prediction[0, 0] = 1
    confusion = ConfusionMatrix(len(names))
    confusion.update(truth, prediction)
    log = [
        {"step": 10, "loss": 2.0, "lr": 1e-3, "images_per_s": 8.0},
        {"step": 10, "miou": 0.5, "accuracy": 0.6, "iou": {names[0]: 0.5, names[1]: None}},
        {"step": 20, "loss": 1.0, "lr": 1e-4, "images_per_s": 8.0},
    ]
    image = np.zeros((1, 16, 3), np.uint8)
    return RunReport(
        title="A <script>title</script>",
        summary="What & how.",
        figures={"mIoU": "61.5%"},
        labels=labels,
        scores=Scores(names, confusion, images=1),
        examples=[Example("one", image, truth, prediction)],
        log=log,
        recipe="seed: 0  # <none>",
        facts={"run": "runs/a"},
        commands=["topseg predict runs/a photo.jpg --out masks"],
    )


def test_page_is_whole_and_needs_nothing_beside_it(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_report())
    page = Page(tmp_path / "report.html")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert (attributes.get("src") or "data:").startswith("data:"), tag
        assert "href" not in attributes, tag
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]
    text = (tmp_path / "report.html").read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert page.tags[0] == ("html", {"lang": "en"})


def test_page_says_what_it_was_given_as_text(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_report())
    page = Page(tmp_path / "report.html")
    for words in (
        "A <script>title</script>",
        "What & how.",
        "<b>ground</b> & more",
        "61.5%",
        "seed: 0  # <none>",
        "topseg predict runs/a photo.jpg --out masks",
        "1 absent class left out of the means",
    ):
        assert words in page.text
    assert "script" not in {tag for tag, _ in page.tags}


def test_tables_hold_the_scores(tmp_path: Path) -> None:
    report = make_report()
    write_report(tmp_path / "report.html", report)
    page = Page(tmp_path / "report.html")
    assert f"{100 * report.scores.miou:.1f}" in page.text
    assert math.isclose(report.scores.iou[0], 7 / 8)
    assert "87.5" in page.text  # of sky, and what of it is right in the matrix
    assert "12.5" in page.text  # of sky taken for ground
    assert [tag for tag, _ in page.tags].count("svg") == 4


def test_the_matrix_of_many_classes_is_drawn(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(150))
    write_report(tmp_path / "report.html", make_report(names))
    page = Page(tmp_path / "report.html")
    assert "class 149" in page.text
    assert [tag for tag, _ in page.tags].count("table") == 1
    assert [tag for tag, _ in page.tags].count("svg") == 4
    assert "confusion matrix of 150 classes" in (tmp_path / "report.html").read_text()


def test_a_model_without_log_or_pictures_has_a_page(tmp_path: Path) -> None:
    full = make_report()
    bare = RunReport("Bare", "Scores alone.", {}, full.labels, full.scores)
    write_report(tmp_path / "report.html", bare)
    page = Page(tmp_path / "report.html")
    assert {"svg", "img"}.isdisjoint(tag for tag, _ in page.tags)


@pytest.mark.parametrize("style", ["prefers-color-scheme: dark", "max-width: 640px"])
def test_style_is_inside(style: str, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_report())
    assert style in (tmp_path / "report.html").read_text()
