"""The page of an evaluation: the worst first, with pictures."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from topseg.core.labels import LabelSet
from topseg.data.sample import Sample
from topseg.evaluation.details import details_of, summarize
from topseg.evaluation.images import PerImage
from topseg.evaluation.run import evaluate
from topseg.inference.predictor import Predictor
from topseg.report.evaluation import _paint, write_evaluation
from topseg.report.html import BLUE, GREEN, ORANGE
from topseg.report.pictures import Example


class Stripes:
    """Images of three colours in stripes; the truth of image i is wrong in its first i rows."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Sample:
        classes = np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(64, axis=0)
        truth = classes.copy()
        truth[: 8 * index // 2, :32] = 1
        return Sample(self.labels.colors()[classes], truth, f"image {index}.png")


def test_the_page_shows_the_worst(
    make_runtime: Callable[..., Any], labels: LabelSet, tmp_path: Path
) -> None:
    predictor, data = Predictor(make_runtime()), Stripes(labels)
    more, images = details_of(labels), PerImage(labels.num_classes, labels.ignore_index)
    scores = evaluate(predictor, data, accumulators=[*more, images])
    details = summarize(more, images) | {"robustness": {"noise": 0.125}}
    path = tmp_path / "page.html"
    write_evaluation(
        path, "a <b>", scores, details, images.stacked(), predictor, data, pictures=3, classes=2
    )
    page = path.read_text()
    assert "a &lt;b&gt;" in page
    assert "<script" not in page
    shown = re.findall(r'alt="differences of ([^"]*)"', page)
    assert shown == ["image 8.png", "image 7.png", "image 6.png"]
    order = sorted((0, 1), key=lambda index: scores.iou[index])  # the third class has no fault
    assert [int(labels.names.index(name)) for name in _classes(page)] == order
    assert page.count("in image 8.png") == page.count("in image 7.png") == 2
    assert 'class="chart reliability"' in page
    for heading in (
        "Worst images",
        "Worst classes",
        "Classes",
        "What is taken for what",
        "Borders and objects",
        "Worse pictures",
        "For programs",
    ):
        assert f"<h2>{heading}</h2>" in page
    rows = re.findall(r'<th scope="row">([^<]*)</th><td class="bar">.*?<em>([^<]*)</em>', page)
    near = details["trimap_miou"]
    assert dict(rows)["within 4 px of a contour"] == f"{100 * near['4']:.1f}"
    small = details["objects"]["medium"]
    assert dict(rows)[f"{small['count']} medium"] == f"{100 * small['recall']:.1f}"
    assert dict(rows)["noise"] == "12.5"
    assert "&quot;trimap_miou&quot;" in page


def _classes(page: str) -> list[str]:
    found = re.findall(r"<figcaption>\s*<b><i [^>]*></i>([^<]*)</b> IoU", page)
    return [str(name) for name in found]


def test_faults_of_a_class_by_their_kind(labels: LabelSet) -> None:
    truth = np.array([[1, 1, 0, 255]], np.uint8).repeat(8, axis=1).repeat(8, axis=0)
    mask = np.array([[1, 0, 1, 1]], np.uint8).repeat(8, axis=1).repeat(8, axis=0)
    image = np.full((8, 32, 3), 200, np.uint8)
    painted = _paint(Example("x", image, truth, mask), image, 1, 255)
    assert [tuple(painted[4, x].tolist()) for x in (4, 12, 20)] == [GREEN, ORANGE, BLUE]
    assert tuple(painted[4, 28].tolist()) == (90, 90, 90), "no class: it counts nowhere"
