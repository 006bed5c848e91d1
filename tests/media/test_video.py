"""Frames and sound from files and into files: nothing lost, nothing shifted."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from topseg.core.errors import InputError

av = pytest.importorskip("av", reason="needs topseg[video]")

from clips import picture, read_frames, read_times, write_clip  # noqa: E402
from topseg.media.video import VideoReader, VideoWriter, container_for, is_video, to_image  # noqa: E402


def copy(source: Path, out: Path, change: Callable[[Any], Any] = lambda image: image) -> Path:
    """Read a clip and write it again."""
    reader = VideoReader(str(source))
    writer = VideoWriter(out, reader, "a comment")
    for item in reader:
        if isinstance(item, av.VideoFrame):
            writer.write(change(to_image(item)), item)
        else:
            writer.copy(item)
    writer.close()
    reader.close()
    assert reader.fault is None
    return out


def packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        return [(p.pts * p.time_base, bytes(p)) for p in file.demux(audio=0) if p.size]


def samples(path: Path) -> Any:
    with av.open(str(path)) as file:
        return np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=-1)


def test_images_stay_images(tmp_path: Path) -> None:
    pixels = Image.fromarray(picture(0))
    for name in ("a.png", "b.gif", "c.webp", "d"):
        pixels.save(tmp_path / name, "png" if name == "d" else None)
    (tmp_path / "list.txt").write_text("a.png\n")
    for name in ("a.png", "b.gif", "c.webp", "d", "list.txt", "gone.mp4", "."):
        assert not is_video(str(tmp_path / name)), name


def test_anything_else_is_for_pyav(tmp_path: Path) -> None:
    for name in ("clip.mp4", "clip.mkv", "clip.ts", "clip.any"):
        write_clip(tmp_path / name, 2, form="mp4" if name == "clip.any" else None)
        assert is_video(str(tmp_path / name)), name
    odd = tmp_path / os.fsdecode(b"clip\xff.mp4")  # no UTF-8
    (tmp_path / "clip.mp4").rename(odd)
    assert is_video(str(odd))
    assert is_video("rtsp://camera/one")
    assert is_video("webcam:0")


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no video")
    with pytest.raises(InputError, match=r"notes.md: cannot be read as a video or an image"):
        VideoReader(str(tmp_path / "notes.md"))
    with pytest.raises(InputError, match=r"webcam:99: cannot be opened"):
        VideoReader("webcam:99")
    with av.open(str(tmp_path / "song.mka"), "w") as out:
        out.add_stream("pcm_s16le", 8000, layout="mono")
        out.start_encoding()
    with pytest.raises(InputError, match=r"song.mka: (has no pictures|cannot be read)"):
        VideoReader(str(tmp_path / "song.mka"))


def test_time_stamps_are_kept(tmp_path: Path) -> None:
    times = [0, 3000, 3001, 9000, 90_000, 90_100]
    clip = write_clip(tmp_path / "clip.mp4", 6, times=times)
    out = copy(clip, tmp_path / "out.mp4")
    assert [frame.pts * frame.time_base for frame in read_frames(out)] == [
        Fraction(time, 90_000) for time in times
    ]


def test_a_clock_that_has_run_for_hours_starts_at_zero(tmp_path: Path) -> None:
    times = [10**9 + 3000 * number for number in range(30)]
    clip = write_clip(tmp_path / "clip.ts", 30, times=times, sound=None)
    out = copy(clip, tmp_path / "out.mp4")
    np.testing.assert_allclose(read_times(out), np.arange(30) / 30, atol=1e-3)


def test_a_video_without_time_stamps_has_a_steady_rate(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.h264", 10, form="h264", sound=None)
    steps = np.diff(times := read_times(copy(clip, tmp_path / "out.mp4")))
    assert (len(times), times[0]) == (10, 0)
    np.testing.assert_allclose(steps, steps[0], atol=1e-4)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_is_honoured(tmp_path: Path, rotation: int) -> None:
    """As OpenCV turns it, whose own reader is another one."""
    clip = write_clip(tmp_path / "clip.mp4", 2, rotation=rotation)
    expected = cv2.VideoCapture(str(clip)).read()[1][..., ::-1]
    frame = read_frames(copy(clip, tmp_path / "out.mp4"))[0]
    assert (frame.height, frame.width, frame.rotation) == (*expected.shape[:2], 0)
    found = frame.to_ndarray(format="rgb24")
    assert np.abs(found[4:-4, 4:-4].astype(int) - expected[4:-4, 4:-4]).mean() < 8


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda a: np.rot90(a, 2).swapaxes(0, 1)),
    ],
)
def test_the_whole_display_matrix_is_honoured(
    tmp_path: Path, matrix: tuple[int, ...], expected: Callable[[Any], Any]
) -> None:
    """Written into the track's header; every frame is red on the left."""
    plain = write_clip(tmp_path / "plain.mp4", 2, sound=None)
    data = bytearray(plain.read_bytes())
    at = data.find(b"tkhd") + 8 + 20 + 16
    a, b, c, d = (65536 * value for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data)
    found, upright = (
        to_image(read_frames(tmp_path / name)[0]) for name in ("turned.mp4", "plain.mp4")
    )
    np.testing.assert_array_equal(found, expected(upright))


def test_sound_survives_bit_by_bit(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    assert packets(copy(clip, tmp_path / "out.mp4")) == packets(clip) != []


def test_sound_that_mp4_cannot_hold_goes_into_matroska(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 30, sound="pcm_s16le")
    reader = VideoReader(str(clip))
    assert container_for(reader) == "matroska"
    reader.close()
    out = copy(clip, tmp_path / "out.mkv")
    np.testing.assert_array_equal(samples(out), samples(clip))


def test_sound_of_a_transport_stream_loses_its_frame_headers_alone(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", 30)
    out = copy(clip, tmp_path / "out.mp4")
    np.testing.assert_array_equal(samples(out), samples(clip))


@pytest.mark.parametrize("colorspace", [1, 2, 5])
def test_colours_come_back(tmp_path: Path, colorspace: int) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 2, colorspace=colorspace)
    frame = read_frames(copy(clip, tmp_path / "out.mp4"))[0]
    assert frame.colorspace == colorspace
    inside = (slice(4, -4), slice(4, 44))
    found = frame.to_ndarray(format="rgb24")[inside].astype(int)
    assert np.abs(found - picture(0)[inside]).max() <= 8


def test_rgb_becomes_bt709(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as file:
        stream = file.add_stream("libx264rgb", 25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        file.mux(stream.encode(None))
    frame = read_frames(copy(tmp_path / "clip.mkv", tmp_path / "out.mp4"))[0]
    assert (frame.colorspace, frame.color_range, frame.format.name) == (1, 1, "yuv420p")
    inside = (slice(4, -4), slice(4, 44))
    found = frame.to_ndarray(format="rgb24")[inside].astype(int)
    assert np.abs(found - picture(0)[inside]).max() <= 8


def test_odd_sides_become_even_and_a_video_has_one_size(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 3)
    sizes = iter([(33, 65), (33, 65), (64, 96)])
    out = copy(clip, tmp_path / "out.mp4", lambda image: image[*map(slice, next(sizes))].copy())
    assert [(frame.height, frame.width) for frame in read_frames(out)] == [(34, 66)] * 3


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 2, aspect=Fraction(4, 3), rotation=90)
    with av.open(str(copy(clip, tmp_path / "out.mp4"))) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(3, 4)
        assert file.metadata["comment"] == "a comment"


def test_mpeg4_where_there_is_no_x264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    out = copy(clip, tmp_path / "out.mp4")
    with av.open(str(out)) as file:
        assert file.streams.video[0].codec.name == "mpeg4"
    np.testing.assert_allclose(read_times(out), read_times(clip), atol=1 / 60_000)
    found = read_frames(out)[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(found[4:-4, 4:44] - picture(0)[4:-4, 4:44]).max() <= 12
