"""The C interface from Python's ctypes: topseg.h says enough to get the Predictor's mask."""

import ctypes
import threading
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint8, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

_native = pytest.importorskip("topseg._native", reason="the extension was not built")

from builds import ROOT  # noqa: E402

from topseg.bundle.bundle import Bundle, read_bundle  # noqa: E402
from topseg.inference.predictor import Predictor  # noqa: E402
from topseg.runtimes.native import NativeRuntime  # noqa: E402
from topseg.synthetic.scenes import draw_scene  # noqa: E402


class Options(ctypes.Structure):
    """How a model runs (``topseg_options``)."""

    _fields_ = (("threads", c_int), ("code_path", c_char_p), ("check_hashes", c_int))


class Info(ctypes.Structure):
    """What a model is (``topseg_info``)."""

    _fields_ = (
        ("num_classes", c_int),
        ("channels", c_int),
        ("stride", c_int),
        ("multiple", c_int),
        ("ignore_index", c_int),
        ("name", c_char_p),
        ("notice", c_char_p),
    )


class Picture(ctypes.Structure):
    """Pixels (``topseg_image``)."""

    _fields_ = (
        ("pixels", c_void_p),
        ("height", c_int),
        ("width", c_int),
        ("row_bytes", ctypes.c_ssize_t),
    )

    @classmethod
    def of(cls, array: NDArray[np.uint8]) -> "Picture":
        return cls(array.ctypes.data, array.shape[0], array.shape[1], array.strides[0])


class Library:
    """Libtopseg's functions, with failures as exceptions."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.topseg_error.restype = c_char_p
        self._library.topseg_close.restype = None

    def __call__(self, name: str, *words: Any) -> None:
        """Call a function that returns a status."""
        if status := self._library[f"topseg_{name}"](*words):
            raise RuntimeError(f"status {status}: {self._library.topseg_error().decode()}")

    def close(self, model: c_void_p) -> None:
        self._library.topseg_close(model)


@pytest.fixture(scope="module")
def library(shared: Path) -> Library:
    return Library(shared)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid")


@pytest.fixture(scope="module")
def model(library: Library, bundle: Bundle) -> Iterator[c_void_p]:
    model = c_void_p()
    options = Options(threads=2, code_path=None, check_hashes=1)
    library("open", str(bundle.folder).encode(), byref(options), byref(model))
    yield model
    library.close(model)


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(NativeRuntime(bundle, threads=1))


IMAGE = draw_scene(0, 5).image
HEIGHT, WIDTH = IMAGE.shape[:2]


def pointer(array: NDArray[Any]) -> c_void_p:
    return c_void_p(array.ctypes.data)


def test_description_is_that_of_the_bundle(
    library: Library, model: c_void_p, bundle: Bundle
) -> None:
    info = Info()
    library("describe", model, byref(info))
    metadata = bundle.metadata
    assert (info.num_classes, info.channels, info.stride) == (11, 3, 8)
    assert info.name.decode() == metadata.architecture.name
    assert info.notice.decode() == metadata.notice
    name, color = c_char_p(), (c_uint8 * 3)()
    for index in range(info.num_classes):
        library("class", model, index, byref(name), color)
        assert (name.value or b"").decode() == metadata.classes[index]
        assert tuple(color) == tuple(metadata.palette[index])


def test_mask_in_one_call(library: Library, model: c_void_p, predictor: Predictor) -> None:
    expected = predictor(IMAGE).mask
    mask, wide = np.empty((HEIGHT, WIDTH), np.uint8), np.empty((HEIGHT, WIDTH), np.uint16)
    library("mask8", model, byref(Picture.of(IMAGE)), pointer(mask))
    library("mask16", model, byref(Picture.of(IMAGE)), pointer(wide))
    assert len(np.unique(mask)) > 2
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(wide, expected)


def test_rows_may_have_gaps(library: Library, model: c_void_p, predictor: Predictor) -> None:
    part = IMAGE[:, 8:-24]
    mask = np.empty(part.shape[:2], np.uint8)
    library("mask8", model, byref(Picture.of(part)), pointer(mask))
    np.testing.assert_array_equal(mask, predictor(np.ascontiguousarray(part)).mask)


def test_mask_step_by_step(library: Library, model: c_void_p, predictor: Predictor) -> None:
    # The network's input, by the bundle's resize rule.
    height, width = c_int(), c_int()
    library("network_size", model, HEIGHT, WIDTH, byref(height), byref(width))
    inputs = predictor.prepare(IMAGE)
    prepared = np.empty((height.value, width.value, 3), np.uint8)
    library("prepare", model, byref(Picture.of(IMAGE)), pointer(prepared))
    np.testing.assert_array_equal(prepared, inputs.arrays[0])
    # Logits at stride 8.
    shape = (11, height.value // 8, width.value // 8)
    logits = np.empty(shape, np.float32)
    library("logits", model, pointer(prepared), 1, height, width, pointer(logits))
    np.testing.assert_array_equal(logits, predictor.run(inputs))
    # The mask and the probability of its class.
    mask, likely = np.empty((HEIGHT, WIDTH), np.uint8), np.empty((HEIGHT, WIDTH), np.float32)
    library(
        "finish",
        model,
        pointer(logits),
        *shape[1:],
        HEIGHT,
        WIDTH,
        pointer(mask),
        None,
        pointer(likely),
    )
    np.testing.assert_array_equal(mask, predictor(IMAGE).mask)
    assert 1 / 11 <= likely.min() <= likely.max() <= 1
    # Both at once, and the classes' shares.
    again, at_once = np.empty_like(mask), np.empty_like(likely)
    library("mask8_probability", model, byref(Picture.of(IMAGE)), pointer(again), pointer(at_once))
    np.testing.assert_array_equal(at_once, likely)
    shares = np.empty(11)
    library("shares8", model, pointer(again), HEIGHT, WIDTH, pointer(shares))
    np.testing.assert_allclose(shares, np.bincount(mask.ravel(), minlength=11) / mask.size)


def test_bundle_in_memory_on_each_code_path(
    library: Library, bundle: Bundle, predictor: Predictor
) -> None:
    metadata = (bundle.folder / "metadata.json").read_bytes()
    weights = bundle.weights.read_bytes()
    expected = predictor(IMAGE).mask
    for path in _native.model_paths():
        model, options = c_void_p(), Options(threads=1, code_path=path.encode())
        words = (metadata, c_size_t(len(metadata)), weights, c_size_t(len(weights)))
        library("open_memory", *words, byref(options), byref(model))
        mask = np.empty((HEIGHT, WIDTH), np.uint8)
        library("mask8", model, byref(Picture.of(IMAGE)), pointer(mask))
        library.close(model)
        assert (mask == expected).mean() > 0.9999, path


def test_threads_share_a_model(library: Library, model: c_void_p, predictor: Predictor) -> None:
    expected = predictor(IMAGE).mask
    masks = np.zeros((4, HEIGHT, WIDTH), np.uint8)

    def work(mask: NDArray[np.uint8]) -> None:
        for _ in range(3):
            library("mask8", model, byref(Picture.of(IMAGE)), pointer(mask))

    workers = [threading.Thread(target=work, args=(mask,)) for mask in masks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((mask == expected).all() for mask in masks)


def test_failures_have_a_status_and_a_text(
    library: Library, model: c_void_p, bundle: Bundle, tmp_path: Path
) -> None:
    opened = c_void_p()
    with pytest.raises(RuntimeError, match=r"status 2: .*metadata\.json: no such file"):
        library("open", str(tmp_path).encode(), None, byref(opened))
    words = (str(bundle.folder).encode(), byref(Options(code_path=b"sse9")), byref(opened))
    with pytest.raises(RuntimeError, match="status 1: code path 'sse9' is not to be had"):
        library("open", *words)
    assert not opened
    for call, problem in (
        (("describe", None, byref(Info())), "model: a null pointer"),
        (("class", model, 11, None, None), "index: no such class"),
        (("mask8", model, byref(Picture(None, 8, 8, 0)), None), "image: a null pointer"),
        (("mask8", model, byref(Picture.of(IMAGE)), None), "mask: a null pointer"),
        (("logits", model, pointer(IMAGE), 1, 40, 64, pointer(IMAGE)), "expected multiples of 32"),
    ):
        with pytest.raises(RuntimeError, match=f"status 1: .*{problem}"):
            library(*call)
