"""Clips of three colours for the tests of videos, with sound of noise."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

CLOCK = Fraction(1, 90_000)


def write_clip(
    path: Path | str,
    frames: int = 12,
    size: tuple[int, int] = (64, 96),
    *,
    form: str | None = None,
    sound: str | None = "aac",
    rotation: int = 0,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    colorspace: int = 2,
    aspect: Fraction | None = None,
) -> Path:
    """Write frames that are red on the left; the rest is blue and green by turns.

    Times count in 90,000 a second; every third frame comes late if they are not given.
    """
    times = times or [3000 * i + (i % 3) * 500 for i in range(frames)]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=form, options=options or {}) as out:
        video: Any = out.add_stream("libx264", 30, options={"preset": "ultrafast", "g": "10"})
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = CLOCK
        video.codec_context.colorspace = colorspace
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio: Any = out.add_stream(sound, 48_000, layout="stereo") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=colorspace)
            frame.pts, frame.time_base = times[number], CLOCK
            out.mux(video.encode(frame))
            if audio:
                kind = audio.codec_context.format.name
                noise = rng.integers(-9000, 9000, (1, 3200), np.int16)
                if kind == "fltp":
                    noise = (noise.reshape(-1, 2).T / 32768).astype(np.float32).copy()
                piece = av.AudioFrame.from_ndarray(noise, format=kind, layout="stereo")
                piece.sample_rate, piece.time_base = 48_000, Fraction(1, 48_000)
                piece.pts = 1600 * number
                out.mux(audio.encode(piece))
        for stream in (video, audio) if audio else (video,):
            out.mux(stream.encode(None))
    return Path(path)


def picture(number: int, size: tuple[int, int] = (64, 96)) -> Any:
    """Return the frame of a number, (H, W, 3) uint8 RGB."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, : size[1] // 2, 0] = 255
    image[:, size[1] // 2 :, 2 - number % 2] = 255
    return image


def read_frames(path: Path) -> list[Any]:
    """Decode all frames."""
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def read_times(path: Path) -> list[float]:
    """Return the frames' times in seconds."""
    return [frame.time for frame in read_frames(path)]
