"""A bundle's card has lines that bring its masks into other programs."""

from dataclasses import replace
from pathlib import Path

from topseg.bundle.bundle import read_bundle
from topseg.bundle.card import write_card
from topseg.bundle.usage import ONNXRUNTIME, usage_lines

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"


def test_script_is_the_example() -> None:
    assert (ROOT / "examples" / "onnxruntime" / "predict.py").read_text() == ONNXRUNTIME


def test_card_has_each_way(tmp_path: Path) -> None:
    metadata = read_bundle(SHIPPED).metadata
    write_card(tmp_path, metadata)
    card = (tmp_path / "README.md").read_text()
    assert f'topseg.load("{tmp_path.name}")' in card
    assert f"topseg-cli predict {tmp_path.name} photo.jpg --out masks" in card
    assert "model.mask({pixels, height, width, 0})" in card
    assert ONNXRUNTIME in card
    many = replace(metadata.architecture, num_classes=256)
    labels = {"classes": ("a",) * 256, "palette": ((1, 2, 3),) * 256}
    write_card(tmp_path, replace(metadata, architecture=many, **labels))
    assert ".astype(np.uint16))" in (tmp_path / "README.md").read_text()
    write_card(tmp_path, replace(metadata, graphs={}))
    assert ONNXRUNTIME not in (tmp_path / "README.md").read_text()


def test_shipped_card_has_the_same_lines() -> None:
    bundle = read_bundle(SHIPPED)
    lines = "\n".join(usage_lines(SHIPPED.name, bundle.metadata))
    assert lines in (SHIPPED / "README.md").read_text()


def test_a_card_can_be_written_whatever_scores_a_bundle_has(tmp_path: Path) -> None:
    metadata = read_bundle(SHIPPED).metadata
    rows = [{"name": "road", "iou": 0.5, "precision": None, "recall": "x"}, 7, {}]
    for classes in (rows, "text", 5, None):
        write_card(tmp_path, replace(metadata, metrics={"val": {"classes": classes}}))
    write_card(tmp_path, replace(metadata, metrics={"val": {"classes": rows}}))
    assert "| road | 50.0 | - | - |" in (tmp_path / "README.md").read_text()
