"""What a worker does with a batch: the same as a Predictor, whoever is in the batch."""

import io
import json
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import ColorRuntime
from numpy.typing import NDArray
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import InputConfig
from topseg.core.geometry import ResizeRule
from topseg.inference.predictor import Predictor
from topseg.runtimes.base import Runtime
from topseg.runtimes.registry import open_runtime
from topseg.serve.workers.pipeline import Pipeline, Segment, Tensors


def encode(image: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())


def noise(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(
        cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.uint8
    )


@pytest.fixture(params=["fake", "onnx", "openvino"])
def runtime(request: pytest.FixtureRequest, fake: Bundle) -> Runtime:
    if request.param == "fake":
        return ColorRuntime(fake)
    bundle: Bundle = request.getfixturevalue("exported")
    if request.param not in bundle.metadata.graphs:
        pytest.skip(f"{request.param} is not installed")
    return open_runtime(bundle, request.param, threads=1)


def test_batched_answers_are_the_single_ones_and_the_predictors(runtime: Runtime) -> None:
    pipeline, predictor = Pipeline(runtime, max_batch=4), Predictor(runtime)
    assert pipeline.max_batch == 4  # this engine's batches are exact
    images = [noise(seed, (96, 130)) for seed in range(5)] + [noise(9, (130, 96))]
    tasks = [Segment(encode(image)) for image in images]
    answers = pipeline(tasks)
    assert [answer.batch for answer in answers] == [4, 4, 4, 4, 4, 1]
    for image, task, answer in zip(images, tasks, answers, strict=True):
        assert pipeline([task])[0].body == answer.body
        mask = np.asarray(Image.open(io.BytesIO(answer.body)))
        np.testing.assert_array_equal(mask, predictor(image).mask)


def test_tensors_share_batches_with_images(runtime: Runtime) -> None:
    pipeline = Pipeline(runtime, max_batch=3)
    size = runtime.metadata.resize.network_size((96, 130))
    images = np.stack([noise(seed, size) for seed in range(2)])
    asked = Tensors(images, ("logits", "masks"))
    first, second = pipeline([asked, Segment(encode(noise(5, (96, 130))))])
    assert (first.batch, second.batch) == (3, 3)
    np.testing.assert_array_equal(first.tensors["logits"], runtime(images))
    assert first.tensors["masks"].shape == images.shape[:3]
    alone = pipeline([Tensors(images[1:], ("masks",))])[0].tensors
    np.testing.assert_array_equal(alone["masks"], first.tensors["masks"][1:])
    assert set(alone) == {"masks"}


def test_one_bad_image_does_not_touch_the_others(fake: Bundle) -> None:
    pipeline = Pipeline(ColorRuntime(fake), max_batch=4)
    good = Segment(encode(noise(0, (64, 64))))
    answers = pipeline([good, Segment(b"no image"), good])
    assert [bool(answer.error) for answer in answers] == [False, True, False]
    assert "image: not readable" in answers[1].error
    assert not answers[1].fault
    assert answers[0].body == pipeline([good])[0].body


class _Failing(ColorRuntime):
    armed = False

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        if self.armed:
            raise MemoryError("too little")
        return super().__call__(images)


def test_faults_are_answers_too(fake: Bundle) -> None:
    runtime = _Failing(fake)
    pipeline = Pipeline(runtime)
    runtime.armed = True
    answer = pipeline([Segment(encode(noise(0, (64, 64))))])[0]
    assert answer.fault
    assert answer.error == "internal error: MemoryError: too little"


class _Inexact(ColorRuntime):
    """An engine that rounds otherwise in batches."""

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return super().__call__(images) + np.float32(1e-3) * (len(images) - 1)


def test_engines_that_are_not_exact_in_batches_get_one_image_at_a_time(fake: Bundle) -> None:
    runtime = _Inexact(fake)
    pipeline = Pipeline(runtime, max_batch=8)
    assert pipeline.max_batch == 1
    runtime.seen.clear()
    pipeline([Segment(encode(noise(seed, (64, 64)))) for seed in range(3)])
    assert runtime.seen == [1, 1, 1]


@pytest.mark.parametrize("output", ["mask", "overlay", "color", "json"])
def test_outputs(fake: Bundle, output: Any) -> None:
    image = noise(3, (64, 96))
    answer = Pipeline(ColorRuntime(fake))([Segment(encode(image), output, alpha=0.0)])[0]
    if output == "json":
        assert json.loads(answer.body)["size"] == [64, 96]
        return
    picture = Image.open(io.BytesIO(answer.body))
    assert picture.format == ("JPEG" if output == "overlay" else "PNG")
    if output == "overlay":  # nothing of the colours, so nearly the image
        assert np.abs(np.asarray(picture).astype(int) - image).mean() < 8


class _Grey(ColorRuntime):
    def __init__(self, bundle: Bundle, channels: int) -> None:
        import dataclasses

        super().__init__(bundle)
        model = dataclasses.replace(bundle.metadata.architecture, in_channels=channels)
        rule = ResizeRule(short_side=None, multiple=32)
        values = InputConfig(mean=(0.5,) * channels, std=(0.5,) * channels)
        self.metadata = dataclasses.replace(
            bundle.metadata, architecture=model, input=values, resize=rule
        )

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        count, height, width, _ = images.shape
        blocks = images[..., :1].reshape(count, height // 8, 8, width // 8, 8).mean(axis=(2, 4))
        return np.stack([blocks, 255 - blocks, blocks * 0], 1).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 4])
def test_overlay_of_other_channel_counts(fake: Bundle, channels: int) -> None:
    pipeline = Pipeline(_Grey(fake, channels))
    pixels = np.full((64, 64, channels), 200, np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    answer = pipeline([Segment(data, "overlay", alpha=0.0)])[0]
    assert answer.error == ""
    assert np.abs(np.asarray(Image.open(io.BytesIO(answer.body))).astype(int) - 200).max() < 3


def test_an_image_beyond_the_limit_is_not_decoded(fake: Bundle) -> None:
    """Where a header that was checked before says less than the decoder finds."""
    image = np.zeros((40, 50, 3), np.uint8)
    few, many = (
        Pipeline(ColorRuntime(fake), max_pixels=limit)([Segment(encode(image))])[0]
        for limit in (1999, 2000)
    )
    assert (few.error, few.fault) == (
        "image: 50x40 pixels, expected 1999 at most; 'topseg tile' reads large images window by "
        "window",
        False,
    )
    assert not many.error
