"""The example of a client gets a mask from the service of the packaged model."""

import subprocess
import sys
from pathlib import Path

from fakes import REAL, running
from PIL import Image

from topseg.media.drawing import picture_jpeg
from topseg.synthetic.scenes import draw_scene

CLIENT = Path(__file__).parents[2] / "examples" / "service_client.py"


def test_service_client(tmp_path: Path) -> None:
    photo, mask = tmp_path / "photo.jpg", tmp_path / "mask.png"
    photo.write_bytes(picture_jpeg(draw_scene(0, 0).image))
    with running(Path("topformer-tiny-camvid"), "page=false", program=REAL) as server:
        url = f"http://127.0.0.1:{server.port}"
        command = [sys.executable, CLIENT, url, photo, mask]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with Image.open(mask) as written, Image.open(photo) as image:
        assert (written.mode, written.size) == ("P", image.size)
    shares = [float(line.split(" %")[0]) for line in done.stdout.splitlines()]
    assert 99 < sum(shares) < 101
