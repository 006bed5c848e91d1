"""The model in the package: it opens by name, without network, and says what it may be used for."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import topseg
from topseg.bundle.published import SHIPPED
from topseg.core.errors import InputError
from topseg.inference.hub import open_model
from topseg.synthetic.scenes import draw_scene

NAME = "topformer-tiny-camvid"


def test_the_packaged_model_names_its_limit_at_each_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        bundle = open_model(NAME)
    assert [record.getMessage() for record in caplog.records] == [
        f"{NAME}: trained on CamVid: for research and non-commercial use only"
    ] * 2
    assert "non-commercial" in (bundle.folder / "LICENSE").read_text()
    assert "non-commercial" in (bundle.folder / "README.md").read_text()


def test_a_bundle_made_of_it_keeps_the_notice(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from topseg.exporting.run import export, proof_images

    bundle = open_model(NAME)
    made = export(bundle, tmp_path / "mine", ["torch"], images=proof_images(bundle.metadata, None))
    assert made.metadata.notice == bundle.metadata.notice


def test_every_packaged_model_is_small_and_scored() -> None:
    for name, folder in SHIPPED.items():
        bundle = open_model(name)
        assert sum(path.stat().st_size for path in folder.iterdir()) < 6_000_000
        assert bundle.metadata.metrics["CamVid, each sequence unseen"]["miou"] > 0.3
        assert bundle.metadata.graphs["onnx"].precision == "fp16"


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_it_knows_a_street_from_the_sky(runtime: str) -> None:
    """A grey street below a bright sky: nothing that it was trained on, but the same places."""
    if runtime == "torch":
        pytest.importorskip("torch")
    image = np.full((360, 480, 3), (214, 220, 228), np.uint8)
    image[180:] = (92, 90, 92)
    prediction = topseg.load(NAME, runtime=runtime)(image)
    names = np.array(prediction.labels.names)
    assert names[np.bincount(prediction.mask[:60].ravel()).argmax()] == "sky"
    assert names[np.bincount(prediction.mask[300:].ravel()).argmax()] == "road"


def test_a_photo_is_predicted_without_torch_or_network(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), draw_scene(0, 0).image)
    blocked = (
        "import socket, sys; sys.modules['torch'] = None; "
        "socket.socket.connect = lambda *a: sys.exit('connects'); "
        "from topseg.cli import main; main()"
    )
    command = ["predict", NAME, str(photo), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", blocked, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("non-commercial") == 1
    assert (tmp_path / "out" / "photo.png").is_file()


def test_a_name_nearly_right_is_suggested() -> None:
    with pytest.raises(InputError, match="did you mean 'topformer-tiny-camvid'"):
        open_model("topformer-tiny-camvit")
