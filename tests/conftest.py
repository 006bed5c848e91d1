"""Runtimes without a network, for what is above the runtimes."""

import importlib.util
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import absent
from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Architecture, InputConfig, Metadata
from topseg.core.geometry import ResizeRule
from topseg.core.labels import LabelSet, default_palette
from topseg.inference.predictor import Predictor
from topseg.runtimes.base import check_images


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(absent)


class FakeRuntime:
    """Maps each 8x8 block to logits, a function of its mean colour.

    By default a class's logit is minus the squared distance to the class's colour, so that a block
    painted in a class's colour is that class, wherever it lies and however the image is turned.
    """

    engine = "fake"

    def __init__(
        self,
        labels: LabelSet,
        resize: ResizeRule,
        logits: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
        channels: int = 3,
        takes_float: bool = False,
    ) -> None:
        self.metadata = Metadata(
            architecture=Architecture(
                name="fake",
                num_classes=labels.num_classes,
                in_channels=channels,
            ),
            classes=labels.names,
            palette=labels.palette,
            input=InputConfig(mean=(0.5,) * channels, std=(0.25,) * channels),
            resize=resize,
        )
        self.takes_float = takes_float
        self.fixed_size: tuple[int, int] | None = None
        self.seen: list[NDArray[Any]] = []
        self._logits = logits or self._distances

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        check_images(images, self.metadata, takes_float=self.takes_float)
        self.seen.append(images)
        return np.stack([self._logits(self._blocks(image)) for image in images])

    def _blocks(self, image: NDArray[Any]) -> NDArray[np.float32]:
        height, width, channels = image.shape
        blocks = image.reshape(height // 8, 8, width // 8, 8, channels)
        return blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)

    def _distances(self, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        colors = self.metadata.labels.colors().astype(np.float32)
        apart = (blocks[None] - colors[:, None, None]) / 255
        return -np.square(apart).sum(axis=-1, dtype=np.float32)


@pytest.fixture
def labels() -> LabelSet:
    """Three classes: red, green, blue."""
    return LabelSet(("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))


@pytest.fixture
def make_runtime(labels: LabelSet) -> Callable[..., FakeRuntime]:
    """Make a fake runtime, by default of the three colours at the image's own size."""

    def make(
        labels: LabelSet = labels,
        resize: ResizeRule = ResizeRule(short_side=None, multiple=32),  # noqa: B008
        **more: Any,
    ) -> FakeRuntime:
        return FakeRuntime(labels, resize, **more)

    return make


@pytest.fixture
def predictor(make_runtime: Callable[..., FakeRuntime]) -> Predictor:
    """A predictor of the three colours."""
    return Predictor(make_runtime())


@pytest.fixture
def flag() -> NDArray[np.uint8]:
    """Red above blue, 64 x 96 pixels."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :, 0] = image[32:, :, 2] = 255
    return image


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    """A smooth colourful image of 96 x 130 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (130, 96), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle without graphs: the golden Tiny, 150 classes, adaptive pooling."""
    pytest.importorskip("torch")
    from safetensors.torch import save_file

    from golden.fill import golden_model

    folder = tmp_path_factory.mktemp("golden") / "golden-tiny"
    folder.mkdir()
    save_file(golden_model("topformer_tiny", "adaptive").state_dict(), folder / WEIGHTS)
    metadata = Metadata(
        architecture=Architecture(
            name="topformer_tiny", num_classes=150, in_channels=3, options={"pool": "adaptive"}
        ),
        classes=tuple(f"class {number}" for number in range(150)),
        palette=default_palette(150),
        resize=ResizeRule(short_side=128, multiple=32),
    )
    return write_metadata(folder, metadata)


@pytest.fixture(scope="session")
def exported(trained: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with every graph that this environment can write (made once: tracing is slow)."""
    pytest.importorskip("onnxscript")
    from topseg.exporting.run import export

    formats = ["onnx", "onnx-mask"]
    formats += ["openvino"] if importlib.util.find_spec("openvino") else []
    formats += ["mnn"] if importlib.util.find_spec("MNN") else []
    images = [np.random.default_rng(i).integers(0, 256, (96, 128, 3), np.uint8) for i in range(3)]
    out = tmp_path_factory.mktemp("exported") / "golden-tiny"
    return export(trained, out, formats, images=images, report=lambda line: None)
