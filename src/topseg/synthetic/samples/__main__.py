"""Draw the files."""

from topseg.core.files import write_bytes
from topseg.media.drawing import picture_jpeg
from topseg.synthetic.samples import SAMPLES, SCENES
from topseg.synthetic.scenes import draw_scene

for path, scene in zip(SAMPLES, SCENES, strict=True):
    write_bytes(path, picture_jpeg(draw_scene(*scene).image))
