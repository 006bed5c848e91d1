"""Tiling: the running band against all logits at once, and what survives an interruption."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from spread import assert_within
from topseg.bundle.bundle import Bundle
from topseg.cli import main
from topseg.core.errors import InputError, UnreadableError
from topseg.core.geometry import Size
from topseg.core.locks import hold_folder
from topseg.inference.hub import load
from topseg.inference.predictor import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.runtimes.base import Runtime

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

from topseg.inference.tiling import predict_tiles, ramps, tile_slide  # noqa: E402
from topseg.media.rasters import Raster  # noqa: E402

TILE = (128, 192)


def noise(size: Size, coarse: int = 7) -> NDArray[np.uint8]:
    """Smooth colourful noise, (H, W, 3)."""
    small = np.random.default_rng(size).integers(0, 256, (coarse, coarse, 3), np.uint8)
    resized = PIL.Image.fromarray(small).resize((size[1], size[0]), PIL.Image.Resampling.BICUBIC)
    return np.asarray(resized)


def save(image: NDArray[np.uint8], path: Path) -> Path:
    PIL.Image.fromarray(image).save(path)
    return path


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % 64), (0, -width % 64), (0, 0)), "symmetric")


def untiled(runtime: Runtime, image: NDArray[np.uint8]) -> NDArray[Any]:
    """The mask by the whole image through the network at once."""
    logits = runtime(padded(image)[None])[0]
    mask = upsample_argmax(logits, (8 * logits.shape[1], 8 * logits.shape[2]))
    return mask[: image.shape[0], : image.shape[1]]


def all_at_once(runtime: Runtime, image: NDArray[np.uint8], tile: Size) -> NDArray[Any]:
    """The mask by the same tiles, all logits held in memory, one tail."""
    pixels, slide = padded(image), tile_slide(tile)
    height, width = pixels.shape[0], pixels.shape[1]
    classes = runtime.metadata.architecture.num_classes
    logits = np.zeros((classes, height // 8, width // 8), np.float32)
    downs, rights = slide.spans(height, 0), slide.spans(width, 1)
    for down, y in zip(downs, ramps(downs), strict=True):
        for right, x in zip(rights, ramps(rights), strict=True):
            cells = (
                slice(down.start // 8, down.stop // 8),
                slice(right.start // 8, right.stop // 8),
            )
            tile_logits = runtime(np.ascontiguousarray(pixels[None, down, right]))[0]
            logits[:, *cells] += tile_logits * y[:, None] * x
    return upsample_argmax(logits, (height, width))[: image.shape[0], : image.shape[1]]


def with_context(runtime: Any) -> Any:
    """Let every logit depend on the whole tile, as attention does."""
    plain = runtime._logits
    runtime._logits = lambda blocks: (
        plain(blocks) + np.sin(blocks.mean((0, 1), dtype=np.float32)[:, None, None])
    )
    return runtime


@pytest.mark.parametrize("ends", [(0, 512), (0, 512, 896), (0, 512, 896, 1280, 1344)])
def test_ramps_sum_to_one(ends: tuple[int, ...]) -> None:
    stops = ends[1:]
    spans = [slice(stop - 512, stop) for stop in stops]
    total = np.zeros(stops[-1] // 8, np.float32)
    for span, weight in zip(spans, ramps(spans), strict=True):
        total[span.start // 8 : span.stop // 8] += weight
    assert np.allclose(total, 1, atol=1e-6)


def test_ramps_fall_linearly() -> None:
    first, second = ramps([slice(0, 256), slice(192, 448)])
    assert (first[:24] == 1).all()
    assert np.allclose(first[24:], np.arange(8, 0, -1) / 9)
    assert np.allclose(second[:8], np.arange(1, 9) / 9)


@pytest.mark.parametrize(
    ("tile", "stride"),
    [((128, 128), (64, 64)), ((512, 768), (384, 576)), ((448, 1024), (384, 768))],
)
def test_a_quarter_overlaps(tile: Size, stride: Size) -> None:
    slide = tile_slide(tile)
    assert (slide.crop, slide.stride) == (tile, stride)


@pytest.mark.parametrize("tile", [(64, 128), (512, 500), (0, 0)])
def test_tiles_sit_on_multiples_of_64(tile: Size) -> None:
    with pytest.raises(InputError, match="expected multiples of 64, at least 128"):
        tile_slide(tile)


@pytest.mark.parametrize("size", [(20, 30), (128, 192), (129, 640), (500, 333), (707, 1)])
def test_band_equals_all_logits(
    size: Size, make_runtime: Callable[..., Any], tmp_path: Path
) -> None:
    image, runtime = noise(size), with_context(make_runtime())
    predict_tiles([Predictor(runtime)], [save(image, tmp_path / "a.png")], tmp_path / "out", TILE)
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), all_at_once(runtime, image, TILE))


def test_tiles_equal_the_whole_where_context_does_not_count(
    make_runtime: Callable[..., Any], tmp_path: Path
) -> None:
    image, runtime = noise((500, 700), coarse=40), make_runtime()
    found = predict_tiles(
        [Predictor(runtime)], [save(image, tmp_path / "a.png")], tmp_path / "out", TILE
    )
    mask = read(tmp_path / "out" / "a.tif")
    assert np.array_equal(mask, untiled(runtime, image))
    assert {item.index: round(item.share * mask.size) for item in found} == {
        index: (mask == index).sum() for index in range(3)
    }


def test_network_by_tiles(trained: Bundle, tmp_path: Path) -> None:
    predictor, image = load(trained.folder, runtime="torch"), noise((300, 420))
    path, out = save(image, tmp_path / "a.png"), tmp_path / "out"
    words = ["tile", str(trained.folder), str(path), "--out", str(out), "--size", "128x192"]
    assert main([*words, "--workers", "1", "--runtime", "torch"]) == 0
    assert np.array_equal(
        read(tmp_path / "out" / "a.tif"), all_at_once(predictor.runtime, image, TILE)
    )


def test_rows_are_read_once_and_few_at_a_time(
    make_runtime: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = []
    plain = Raster.read_rows

    def spy(self: Raster, start: int, stop: int) -> Any:
        spans.append((start, stop))
        return plain(self, start, stop)

    monkeypatch.setattr(Raster, "read_rows", spy)
    path = save(noise((700, 300)), tmp_path / "a.png")
    predict_tiles([Predictor(make_runtime())], [path], tmp_path / "out", TILE)
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
    assert spans[-1][1] == 700
    assert max(stop - start for start, stop in spans) == TILE[0]


def test_engines_share_the_tiles(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    path = save(noise((300, 1000)), tmp_path / "a.png")
    runtimes = [with_context(make_runtime()) for _ in range(3)]
    for count in (1, 3):
        predict_tiles([Predictor(one) for one in runtimes[:count]], [path], tmp_path / "o", TILE)
        (tmp_path / "o" / "a.tif").rename(tmp_path / f"{count}.tif")
    assert (tmp_path / "1.tif").read_bytes() == (tmp_path / "3.tif").read_bytes()
    assert [len(one.seen) for one in runtimes] == [32 + 12, 12, 8]


@pytest.mark.parametrize("stop", [1, 9, 20, 34])
def test_a_stopped_run_goes_on(stop: int, make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    path, runtime = save(noise((600, 600)), tmp_path / "a.png"), with_context(make_runtime())
    predict_tiles([Predictor(runtime)], [path], tmp_path / "whole", TILE)

    def give_up(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_tiles([Predictor(runtime)], [path], tmp_path / "out", TILE, progress=give_up)
    assert not (tmp_path / "out" / "a.tif").exists()
    calls: list[tuple[int, int]] = []
    predict_tiles(
        [Predictor(runtime)],
        [path],
        tmp_path / "out",
        TILE,
        progress=lambda *now: calls.append(now),
    )
    across, total = 5, 5 * 9
    done = max(stop - 1, 0) // across * across
    assert calls == [(number, total) for number in range(done, total + 1)]
    whole, resumed = tmp_path / "whole" / "a.tif", tmp_path / "out" / "a.tif"
    assert whole.read_bytes() == resumed.read_bytes()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.tif"]


def test_another_job_starts_anew(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    path, predictor = save(noise((600, 600)), tmp_path / "a.png"), Predictor(make_runtime())

    def give_up(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_tiles([predictor], [path], tmp_path / "out", TILE, progress=give_up)
    note = json.loads((tmp_path / "out" / ".a.tif.part" / "job.json").read_text())
    assert note["tiles"] == [*TILE, 64, 128]
    calls: list[int] = []
    predict_tiles(
        [predictor],
        [path],
        tmp_path / "out",
        (128, 128),
        progress=lambda done, _: calls.append(done),
    )
    assert calls[0] == 0
    assert np.array_equal(
        read(tmp_path / "out" / "a.tif"),
        all_at_once(predictor.runtime, noise((600, 600)), (128, 128)),
    )


def test_pixels_without_data_stay_so(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    image = noise((500, 333))
    seen = np.zeros((500, 333), np.bool_)
    seen[100:400:3, 5:300] = True
    save(np.dstack([image, np.uint8(255) * seen]), tmp_path / "a.png")
    runtime = make_runtime()
    predict_tiles([Predictor(runtime)], [tmp_path / "a.png"], tmp_path / "out", TILE)
    expected = np.where(seen, all_at_once(runtime, image, TILE), 255)
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), expected)


def test_graph_of_one_size(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    runtime = make_runtime()
    runtime.fixed_size = TILE
    paths = [
        save(noise((20, 500)), tmp_path / "a.png"),
        save(noise((300, 100)), tmp_path / "b.png"),
    ]
    with pytest.raises(InputError, match="takes only 128x192; give that size"):
        predict_tiles([Predictor(runtime)], paths, tmp_path / "out", (256, 256))
    predict_tiles([Predictor(runtime)], paths, tmp_path / "out", TILE)
    assert {images.shape[1:3] for images in runtime.seen} == {TILE}
    assert read(tmp_path / "out" / "a.tif").shape == (20, 500)


def test_other_images_are_done_when_one_is_damaged(
    make_runtime: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "maps"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_text("hello")
    save(noise((100, 100)), folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-2000])
    save(noise((100, 100)), folder / "deep" / "b.png")
    with pytest.raises(
        InputError, match=r"a\.png: not readable as an image[^\n]*\n.*cut\.png: rows 0"
    ):
        predict_tiles([Predictor(make_runtime())], [folder], tmp_path / "out", TILE)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["deep"]
    assert read(tmp_path / "out" / "deep" / "b.tif").shape == (100, 100)


def test_command_teaches(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tile", str(trained.folder), "a.tif", "--out", str(tmp_path), "--size", "100x100"]
    assert main(words) == 2
    assert "expected HEIGHTxWIDTH in multiples of 64" in capsys.readouterr().err
    words[-1] = "64x64"
    assert main(words) == 2
    assert "expected multiples of 64, at least 128" in capsys.readouterr().err
    words[-1] = "128x128"
    assert main(words) == 2
    assert "a.tif: no such file" in capsys.readouterr().err


@pytest.fixture(scope="module")
def network(trained: Bundle) -> Any:
    pytest.importorskip("torch")
    return load(trained.folder, runtime="torch", threads=1)


@pytest.mark.parametrize(("size", "tile"), [((500, 700), (256, 256)), ((512, 448), (384, 256))])
def test_tiles_that_attend_over_the_image_make_its_mask(
    network: Predictor, size: Size, tile: Size, tmp_path: Path
) -> None:
    image = noise(size, coarse=40)
    path, whole = save(image, tmp_path / "image.png"), untiled(network.runtime, image)
    equal = {}
    for context in ("tile", "image"):
        predict_tiles([network], [path], tmp_path, tile, context=context)  # type: ignore[arg-type]
        equal[context] = (read(tmp_path / "image.tif") == whole).mean()
    assert equal["image"] > 0.997
    assert equal["image"] > equal["tile"] + 0.003


def test_one_tile_in_context_is_the_image(network: Predictor, tmp_path: Path) -> None:
    image = noise((256, 320))
    path = save(image, tmp_path / "image.png")
    predict_tiles([network], [path], tmp_path, (256, 320), context="image")
    assert (read(tmp_path / "image.tif") == untiled(network.runtime, image)).mean() > 0.9999


def test_fused_attention_is_the_same(network: Predictor) -> None:
    import torch

    from topseg.inference.tiling.context import WholeImage

    (halves,) = WholeImage([network.runtime], 1)._halves
    backbone = network.runtime.model.backbone  # type: ignore[attr-defined]
    tokens = np.random.default_rng(0).normal(size=(sum(backbone.widths), 9, 7)).astype(np.float32)
    with torch.inference_mode():
        plain = backbone.trans(torch.from_numpy(tokens[None]))[0].numpy()
    assert_within(halves.attend(tokens, threads=1), plain, 1e-4)  # rounding leaves 1e-5


def test_a_run_in_context_goes_on(network: Predictor, tmp_path: Path) -> None:
    path = save(noise((400, 300), coarse=40), tmp_path / "image.png")
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 10:  # 4 large tiles, then 6 rows of 4
            raise KeyboardInterrupt

    predict_tiles([network], [path], tmp_path / "whole", (128, 128), context="image")
    with pytest.raises(KeyboardInterrupt):
        predict_tiles(
            [network], [path], tmp_path / "part", (128, 128), context="image", progress=stop
        )
    calls.clear()
    predict_tiles(
        [network], [path], tmp_path / "part", (128, 128), context="image",
        progress=lambda *at: calls.append(at),
    )  # fmt: skip
    assert calls[0] == (8, 28)
    assert calls[-1] == (28, 28)
    files = [(tmp_path / name / "image.tif").read_bytes() for name in ("whole", "part")]
    assert files[0] == files[1]


def test_a_graph_has_no_context_of_the_image(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    path = save(noise((100, 100)), tmp_path / "image.png")
    with pytest.raises(InputError, match="take the runtime torch"):
        predict_tiles([Predictor(make_runtime())], [path], tmp_path, TILE, context="image")


def test_one_bad_image_ends_no_run(make_runtime: Callable[..., Any], tmp_path: Path) -> None:
    """Neither a file that is no image nor an exception of the network."""

    def fail_on_black(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
        if not blocks.any():
            raise MemoryError("no more")
        return np.moveaxis(blocks, 2, 0)

    (tmp_path / "in").mkdir()
    save(noise((64, 64)), tmp_path / "in/a.png")
    save(np.zeros((64, 64, 3), np.uint8), tmp_path / "in/b.png")
    save(noise((64, 64)), tmp_path / "in/c.png").write_bytes(b"no image")
    save(noise((64, 64)), tmp_path / "in/d.png")
    predictor = Predictor(make_runtime(logits=fail_on_black))
    with pytest.raises(UnreadableError) as caught:
        predict_tiles([predictor], [tmp_path / "in"], tmp_path / "out", (128, 128))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("b.png': MemoryError: no more")
    assert "c.png: not readable as an image" in lines[1]
    masks = sorted(path.name for path in (tmp_path / "out").glob("*.tif"))
    assert masks == ["a.tif", "d.tif"]


def test_output_folder_belongs_to_one_process(
    make_runtime: Callable[..., Any], tmp_path: Path
) -> None:
    image, predictor = save(noise((64, 64)), tmp_path / "a.png"), Predictor(make_runtime())
    with (
        hold_folder(tmp_path / "out", "", print),
        pytest.raises(InputError, match="in use by another process"),
    ):
        predict_tiles([predictor], [image], tmp_path / "out", (128, 128))
    predict_tiles([predictor], [image], tmp_path / "out", (128, 128))
