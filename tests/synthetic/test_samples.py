"""Samples: the files are the scenes that they are named after."""

import numpy as np
import pytest

from topseg.media.drawing import picture_jpeg
from topseg.media.images import decode_image, read_image
from topseg.synthetic.samples import SAMPLES, SCENES
from topseg.synthetic.scenes import draw_scene


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_samples_are_the_scenes(number: int) -> None:
    drawn = decode_image(picture_jpeg(draw_scene(*SCENES[number]).image), "drawn")
    difference = np.abs(read_image(SAMPLES[number]).astype(int) - drawn)
    assert difference.max() <= 2  # another build of libjpeg may round in its own way
