"""Rasters: bands, values and georeference, checked with rasterio itself."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from topseg.core.errors import InputError
from topseg.core.labels import LabelSet, default_palette
from topseg.media.images import read_image

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.enums import ColorInterp  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

from topseg.media.rasters import open_raster, write_mask  # noqa: E402

PLACED = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.5, 0.5)}


def write(path: Path, image: NDArray[Any], **more: Any) -> Path:
    """Write (H, W, C) as TIFF, placed on Earth unless told otherwise."""
    height, width, count = image.shape
    profile = {"height": height, "width": width, "count": count, "dtype": image.dtype}
    place = {} if {"gcps", "rpcs"} & set(more) else PLACED
    with rasterio.open(path, "w", driver="GTiff", **profile, **{**place, **more}) as file:
        file.write(np.moveaxis(image, -1, 0))
    return path


def masked(image: Path, out: Path, labels: LabelSet, mask: NDArray[Any] | None = None) -> Any:
    """Write a mask for an image, in uneven strips, and open it."""
    with open_raster(image, 3) as raster:
        if mask is None:
            mask = np.zeros(raster.size, labels.dtype)
        strips = iter((mask[:1], mask[1:50], mask[50:]))
        write_mask(out, strips, raster.size, labels, raster.place())
    return rasterio.open(out)


def test_rows_are_the_image(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", photo)
    with open_raster(path, 3) as raster:
        assert raster.size == (96, 130)
        pixels, valid = raster.read_rows(10, 90)
    assert np.array_equal(pixels, photo[10:90])
    assert valid.all()


@pytest.mark.parametrize(("name", "apart"), [("a.png", 0), ("a.jpg", 2)])
def test_photographs_are_read_as_elsewhere(
    name: str, apart: float, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    PIL.Image.fromarray(photo).save(tmp_path / name)
    with open_raster(tmp_path / name, 3) as raster:
        parts = [raster.read_rows(start, start + 32)[0] for start in (0, 32, 64)]
    # GDAL has a JPEG library of its own, which enlarges the colour planes otherwise.
    difference = np.concatenate(parts).astype(int) - read_image(tmp_path / name)
    assert np.abs(difference).mean() <= apart


def test_first_bands_are_taken(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", np.dstack([photo, photo]))
    with open_raster(path, 3) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], photo)
    with open_raster(path, 5) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], np.dstack([photo, photo[..., :2]]))


def test_grey_becomes_colour(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", photo[..., :1])
    with open_raster(path, 3) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], photo[..., [0, 0, 0]])


def test_wrong_bands_teach(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", photo, photometric="rgb")
    with pytest.raises(InputError, match=r"got 3 bands, expected 4 or more"), open_raster(path, 4):
        pass
    with pytest.raises(InputError, match="expected one grey channel"), open_raster(path, 1):
        pass
    PIL.Image.fromarray(photo).quantize(8).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="-expand rgb"), open_raster(tmp_path / "b.png", 3):
        pass


def test_deep_values_need_a_scale(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    deep = photo.astype(np.uint16) * 16
    path = write(tmp_path / "a.tif", deep)
    with open_raster(path, 3, 255 / 4095) as raster:
        pixels = raster.read_rows(0, 96)[0]
    assert np.array_equal(pixels, np.rint(deep * np.float32(255 / 4095)).astype(np.uint8))
    with (
        pytest.raises(InputError, match=r"uint16 values, expected 8-bit; set input\.scale"),
        open_raster(path, 3) as raster,
    ):
        raster.read_rows(0, 96)


def test_what_is_no_image(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    (tmp_path / "a.tif").write_text("hello")
    with (
        pytest.raises(InputError, match=r"a\.tif: not readable as an image"),
        open_raster(tmp_path / "a.tif", 3),
    ):
        pass


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_truncated_files(name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with (
        pytest.raises(InputError, match=r"damaged or truncated|not readable"),
        open_raster(tmp_path / name, 3) as raster,
    ):
        raster.read_rows(0, 200)


def test_turned_photographs_are_refused(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    PIL.Image.fromarray(photo).save(tmp_path / "a.jpg", exif=turned)
    with (
        pytest.raises(InputError, match="EXIF orientation 6"),
        open_raster(tmp_path / "a.jpg", 3),
    ):
        pass


def test_pixels_without_data(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    hole = photo.clip(1)
    hole[20:40, 50:70] = 0
    there = (hole > 0).any(axis=-1)
    assert not there.all()
    alpha = np.dstack([photo, np.uint8(255) * there])
    by_value = write(tmp_path / "value.tif", hole, nodata=0)
    by_alpha = write(tmp_path / "alpha.tif", alpha, photometric="rgb", alpha="yes")
    with rasterio.open(by_alpha) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    for path in (by_value, by_alpha):
        with open_raster(path, 3) as raster:
            assert np.array_equal(raster.read_rows(8, 96)[1], there[8:])


def test_reference_system_is_kept(
    tmp_path: Path, photo: NDArray[np.uint8], labels: LabelSet
) -> None:
    path = write(tmp_path / "a.tif", photo)
    with masked(path, tmp_path / "mask.tif", labels) as file:
        assert file.crs.to_epsg() == 32633
        assert file.transform == PLACED["transform"]
        assert file.shape == (96, 130)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "mask.tif"]


def test_control_points_are_kept(
    tmp_path: Path, photo: NDArray[np.uint8], labels: LabelSet
) -> None:
    places = [(0, 0, 14.0, 50.0), (0, 130, 14.1, 50.0), (96, 0, 14.0, 49.9), (96, 130, 14.1, 49.9)]
    points = [GroundControlPoint(row=r, col=c, x=x, y=y, z=0.0) for r, c, x, y in places]
    path = write(tmp_path / "a.tif", photo, gcps=points, crs="EPSG:4326")
    with masked(path, tmp_path / "mask.tif", labels) as file:
        found, system = file.gcps
    assert [(p.row, p.col, p.x, p.y) for p in found] == places
    assert system.to_epsg() == 4326


def test_rational_polynomials_are_kept(
    tmp_path: Path, photo: NDArray[np.uint8], labels: LabelSet
) -> None:
    numbers = [float(n) for n in range(1, 21)]
    model = RPC(
        height_off=100.0,
        height_scale=500.0,
        lat_off=50.0,
        lat_scale=0.1,
        line_den_coeff=numbers,
        line_num_coeff=numbers,
        line_off=48.0,
        line_scale=48.0,
        long_off=14.0,
        long_scale=0.1,
        samp_den_coeff=numbers,
        samp_num_coeff=numbers,
        samp_off=65.0,
        samp_scale=65.0,
    )
    path = write(tmp_path / "a.tif", photo, rpcs=model)
    with masked(path, tmp_path / "mask.tif", labels) as file:
        assert file.rpcs.to_dict() == {**model.to_dict(), "err_bias": -1.0, "err_rand": -1.0}


def test_mask_file(tmp_path: Path, photo: NDArray[np.uint8], labels: LabelSet) -> None:
    PIL.Image.fromarray(photo).save(tmp_path / "a.png")
    mask = np.random.default_rng(0).integers(0, 4, (96, 130), np.uint8)
    mask[mask == 3] = labels.ignore_index
    with masked(tmp_path / "a.png", tmp_path / "mask.tif", labels, mask) as file:
        assert np.array_equal(file.read(1), mask)
        assert file.nodata == 255
        assert file.profile["compress"] == "deflate"
        assert [file.colormap(1)[i][:3] for i in range(3)] == [*labels.palette]
    with PIL.Image.open(tmp_path / "mask.tif") as picture:
        assert picture.mode == "P"


def test_large_mask_is_tiled_and_counted(tmp_path: Path, labels: LabelSet) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (1100, 700), np.uint8)
    strips = (mask[top : top + 377] for top in range(0, 1100, 377))
    counts = write_mask(tmp_path / "mask.tif", strips, (1100, 700), labels, PLACED)
    assert np.array_equal(counts, np.bincount(mask.ravel()))
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert file.block_shapes == [(512, 512)]
        assert np.array_equal(file.read(1), mask)


def test_many_classes_have_16_bits(tmp_path: Path) -> None:
    many = LabelSet(tuple(str(n) for n in range(300)), default_palette(300))
    mask = np.arange(300, dtype=np.uint16).repeat(4).reshape(30, 40)
    mask[0, 0] = many.ignore_index
    counts = write_mask(tmp_path / "mask.tif", iter([mask]), (30, 40), many, PLACED)
    assert counts.tolist() == [3] + [4] * 299
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert file.nodata == 65535
        assert np.array_equal(file.read(1), mask)


def test_mask_is_whole_or_not_there(tmp_path: Path, labels: LabelSet) -> None:
    def strips() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((600, 700), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mask(tmp_path / "mask.tif", strips(), (1100, 700), labels, PLACED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("band", [0, 1, 2])
def test_a_value_that_is_no_number_is_no_data(value: float, band: int, tmp_path: Path) -> None:
    image = np.full((8, 9, 4), 0.5, np.float32)
    image[2, 3, band] = image[4, 5, 3] = value
    with open_raster(write(tmp_path / "a.tif", image), 3, 255.0) as raster:
        _, valid = raster.read_rows(0, 8)
    assert np.argwhere(~valid).tolist() == [[2, 3]]  # and not the fourth band, which is not read


@pytest.mark.parametrize(("channels", "dark_is_data"), [(4, True), (3, False)])
def test_near_infrared_flagged_as_alpha(channels: int, dark_is_data: bool, tmp_path: Path) -> None:
    """Water is dark in it: that is no data for who takes it for alpha, not for who reads it."""
    image = np.full((8, 9, 4), 100, np.uint8)
    image[2, 3, 3] = 0
    path = write(tmp_path / "a.tif", image, photometric="RGB", alpha="yes")
    with open_raster(path, channels) as raster:
        pixels, valid = raster.read_rows(0, 8)
    assert np.array_equal(pixels, image[..., :channels])
    assert valid.all() == dark_is_data
    assert bool(valid[2, 3]) == dark_is_data


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_images_to_be_turned_are_refused(name: str, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (64, 48)).save(tmp_path / name, exif=exif)
    with pytest.raises(InputError, match="EXIF orientation 6"), open_raster(tmp_path / name, 3):
        pass
    for nothing in (0, 9):
        exif[0x0112] = nothing
        PIL.Image.new("RGB", (64, 48)).save(tmp_path / name, exif=exif)
        with open_raster(tmp_path / name, 3) as raster:
            assert raster.size == (48, 64)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on other systems")
def test_a_name_that_is_not_utf_8(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    write(tmp_path / "a.tif", photo).rename(tmp_path / f"{name}.tif")
    labels = LabelSet(("a",), default_palette(1))
    with open_raster(tmp_path / f"{name}.tif", 3) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], photo)
        strips = [np.zeros(raster.size, np.uint8)]
        write_mask(tmp_path / f"{name}_mask.tif", strips, raster.size, labels, raster.place())
    assert read_image(tmp_path / f"{name}_mask.tif").shape == (96, 130, 3)


def _vrt(*bands: str) -> str:
    inside = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><ColorInterp>{color}</ColorInterp>'
        f"<SimpleSource>{source}<SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (color, source) in enumerate(
            zip(("Red", "Green", "Blue"), bands, strict=True), start=1
        )
    )
    return f'<VRTDataset rasterXSize="130" rasterYSize="96">{inside}</VRTDataset>'


def _part(name: str, relative: int = 1) -> str:
    return f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'


def test_vrt_of_files(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    write(tmp_path / "a.tif", photo)
    (tmp_path / "whole.vrt").write_text(_vrt(*[_part("a.tif")] * 3))
    with open_raster(tmp_path / "whole.vrt", 3) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], photo)


WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}</ServerUrl></Service>
<DataWindow><UpperLeftX>0</UpperLeftX></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vrt.tif", _vrt(*[_part("a.tif")] * 3)),
        ("wms.tif", WMS),
        ("wms.vrt", WMS),
        ("far.vrt", _vrt(*[_part("/vsicurl/http://127.0.0.1:9/a.tif", 0)] * 3)),
        ("zip.vrt", _vrt(*[_part("/vsizip/a.zip/a.tif", 0)] * 3)),
        ("nested.vrt", _vrt(*[_part("wms.tif")] * 3)),
        ("raw.vrt", _vrt(*[_part("a.tif")] * 3).replace('band="1"', 'subClass="X" band="1"')),
        ("bomb.vrt", '<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset>&b;</VRTDataset>'),
        ("empty.tif", ""),
    ],
)
def test_nothing_but_files_is_opened(
    name: str, text: str, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    write(tmp_path / "a.tif", photo)
    (tmp_path / "wms.tif").write_text(WMS)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name), open_raster(tmp_path / name, 3):
        pass


@pytest.mark.parametrize("name", ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif"])
def test_addresses_are_no_files(name: str) -> None:
    with pytest.raises(InputError, match="no such file"), open_raster(Path(name), 3):
        pass


def test_names_that_are_no_utf8(tmp_path: Path, photo: NDArray[np.uint8], labels: LabelSet) -> None:
    import os

    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    os.rename(write(tmp_path / "a.tif", photo), folder / os.fsdecode(b"\xe9.tif"))
    with open_raster(folder / os.fsdecode(b"\xe9.tif"), 3) as raster:
        assert np.array_equal(raster.read_rows(0, 96)[0], photo)
        mask = np.ones(raster.size, np.uint8)
        out = folder / os.fsdecode(b"m\xe9.tif")
        write_mask(out, [mask], raster.size, labels, raster.place())
    assert [path.name for path in folder.glob("m*")] == [out.name]
    os.rename(out, tmp_path / "m.tif")
    with rasterio.open(tmp_path / "m.tif") as file:
        assert np.array_equal(file.read(1), mask)
        assert file.crs == "EPSG:32633"


def test_a_vrt_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").touch()
    os.truncate(tmp_path / "a.vrt", 2**30)
    with pytest.raises(InputError, match="longer than 64 MiB"), open_raster(tmp_path / "a.vrt", 3):
        pass
