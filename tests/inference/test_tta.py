"""Views: scales, mirror images and windows are averaged where they should be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.geometry import ResizeRule
from topseg.inference.predictor import Predictor
from topseg.inference.tta import WHOLE, Slide, Views
from topseg.media.resize import resize_planes

AS_IS = ResizeRule(short_side=None, multiple=32)


def _logits(runtime: Any, image: NDArray[np.uint8], views: Views = WHOLE) -> NDArray[np.float32]:
    return Predictor(runtime, AS_IS, views=views).logits(image)


def _ramp(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits that depend on the place in the view: class 0 the column, class 1 the row."""
    height, width = blocks.shape[:2]
    rows, columns = np.indices((height, width), dtype=np.float32)
    return np.stack([columns, rows, blocks[..., 0]])


@pytest.mark.parametrize(
    ("side", "crop", "stride", "starts"),
    [
        (64, 64, 64, [0]),
        (32, 64, 64, [0]),
        (128, 64, 64, [0, 64]),
        (128, 64, 48, [0, 48, 64]),
        (160, 64, 64, [0, 64, 96]),
    ],
)
def test_windows_cover_and_the_last_is_shifted_back(
    side: int, crop: int, stride: int, starts: list[int]
) -> None:
    spans = Slide((crop, 32), (stride, 32)).spans(side, 0)
    assert [span.start for span in spans] == starts
    assert all(span.stop - span.start == min(crop, side) for span in spans)


@pytest.mark.parametrize(
    ("crop", "stride", "message"),
    [
        ((48, 64), (32, 32), "expected multiples of 32"),
        ((64, 64), (64, 96), "no longer than the crop"),
        ((64, 64), (0, 64), "no longer than the crop"),
    ],
)
def test_windows_that_cannot_be(crop: Any, stride: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Slide(crop, stride)


def test_windows_meet_on_the_grid_of_the_logits(make_runtime: Callable[..., Any]) -> None:
    views = Views(slide=Slide((64, 64), (60, 64)))
    with pytest.raises(InputError, match="multiples of 8"):
        _logits(make_runtime(), np.zeros((128, 128, 3), np.uint8), views)


@pytest.mark.parametrize("scales", [(), (0.0,), (float("nan"),), (9.0,)])
def test_scales_that_cannot_be(scales: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="scales"):
        Views(scales=scales)


def test_views_of_a_local_model_change_nothing(
    make_runtime: Callable[..., Any], photo: NDArray[np.uint8]
) -> None:
    runtime = make_runtime()
    whole = _logits(runtime, photo)
    for views in (Views(flip=True), Views(slide=Slide((64, 32), (40, 24))), Views(scales=(1, 1))):
        np.testing.assert_allclose(_logits(runtime, photo, views), whole, atol=1e-5)


def test_mirror_image_is_turned_back(make_runtime: Callable[..., Any]) -> None:
    runtime = make_runtime(logits=_ramp)
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32] = 200
    logits = _logits(runtime, image, Views(flip=True))
    np.testing.assert_allclose(logits[0], 3.5)  # columns 0..7 and 7..0
    np.testing.assert_allclose(logits[1], np.indices((4, 8))[0])
    assert logits[2, 0].tolist() == [200] * 4 + [0] * 4
    np.testing.assert_array_equal(runtime.seen[1], runtime.seen[0][:, :, ::-1])


def test_overlapping_windows_are_averaged(make_runtime: Callable[..., Any]) -> None:
    runtime = make_runtime(logits=_ramp)
    views = Views(slide=Slide((32, 64), (32, 32)))
    logits = _logits(runtime, np.zeros((64, 96, 3), np.uint8), views)
    assert logits.shape == (3, 8, 12)
    columns = [0, 1, 2, 3, *((4 + i + i) / 2 for i in range(4)), 4, 5, 6, 7]
    np.testing.assert_allclose(logits[0], np.tile(columns, (8, 1)))
    np.testing.assert_allclose(logits[1][:, 0], [0, 1, 2, 3, 0, 1, 2, 3])
    assert [images.shape for images in runtime.seen] == [(1, 32, 64, 3)] * 4


def test_scales_meet_on_the_grid_of_the_largest(make_runtime: Callable[..., Any]) -> None:
    runtime = make_runtime(logits=_ramp)
    image = np.full((64, 96, 3), 50, np.uint8)
    logits = _logits(runtime, image, Views(scales=(0.5, 2.0, 1.0)))
    assert [images.shape[1:3] for images in runtime.seen] == [(32, 64), (128, 192), (64, 96)]
    assert logits.shape == (3, 16, 24)
    sizes = [(4, 8), (16, 24), (8, 12)]
    ramps = [_ramp(np.zeros((*size, 3), np.float32)) for size in sizes]
    expected = np.mean([resize_planes(ramp, (16, 24)) for ramp in ramps], axis=0)
    np.testing.assert_allclose(logits[:2], expected[:2], rtol=1e-5)
    np.testing.assert_allclose(logits[2], 50)


def test_engine_of_one_size_gets_that_size(
    make_runtime: Callable[..., Any], photo: NDArray[np.uint8]
) -> None:
    runtime = make_runtime()
    runtime.fixed_size = (64, 160)
    assert _logits(runtime, photo, Views(flip=True)).shape == (3, 8, 20)
    assert [images.shape[1:3] for images in runtime.seen] == [(64, 160)] * 2


@pytest.mark.parametrize(
    ("views", "what"),
    [(Views(scales=(1.0, 2.0)), "scales"), (Views(slide=Slide((32, 32), (8, 8))), "slide")],
)
def test_engine_of_one_size_takes_no_scales_and_no_windows(
    make_runtime: Callable[..., Any], photo: NDArray[np.uint8], views: Views, what: str
) -> None:
    runtime = make_runtime()
    runtime.fixed_size = (64, 160)
    with pytest.raises(
        InputError, match=rf"{what}: this graph takes only 64x160 .* with free sizes"
    ):
        _logits(runtime, photo, views)
