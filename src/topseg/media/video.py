"""Video: frames and sound from files, cameras and streams, and into a file again.

PyAV (FFmpeg) opens whatever it can. Sound is never decoded, its packets are copied; frames keep
their time stamps, so that a variable frame rate stays variable and sound stays in time.
"""

from __future__ import annotations

import io
import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from topseg.core.errors import InputError
from topseg.core.files import IMAGE_SUFFIXES
from topseg.media.images import Image, is_image

if TYPE_CHECKING:
    from av import Packet, VideoFrame

_WEBCAMS: Final = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}
"""How each system's cameras are opened: FFmpeg's device, and the address for ``webcam:NAME``."""

_PATIENCE: Final = 10.0  # seconds without an answer, after which a stream counts as broken
_MISSING: Final = 0.25  # seconds short of its own duration, from which a file counts as cut off


def is_video(given: str) -> bool:
    """Return whether an input is for PyAV: an address, a webcam, or a file that holds no image.

    Args:
        given: As it was typed.
    """
    if "://" in given or given.startswith("webcam:"):
        return True
    path = Path(given)
    known = path.suffix.lower() in {*IMAGE_SUFFIXES, ".npy", ".txt"}
    return path.is_file() and not known and not is_image(path)


def is_still(given: str) -> bool:
    """Return whether an input is a file of one image (a GIF may be a video as well)."""
    path = Path(given)
    if not path.is_file() or path.suffix.lower() == ".gif":
        return False
    return path.suffix.lower() in {*IMAGE_SUFFIXES, ".npy"} or is_image(path)


def shown(source: str) -> str:
    """Return a source as it may stand in reports and names: without a user's name and password."""
    return re.sub(r"^(\w+://)[^/]*@", r"\1", source)


class VideoReader:
    """An open video, read once from the front: ``for item in VideoReader("clip.mp4")``.

    Attributes:
        source: As it was given, without a password.
        live: It has no end and does not wait (a camera, a stream): a slow reader misses frames.
        damaged: Packets of pictures so far that came damaged.
        fault: Why reading ended early; None: it did not.
    """

    def __init__(self, source: str) -> None:
        """Open a video.

        Args:
            source: A file, an address such as ``rtsp://...``, or ``webcam:0``.

        Raises:
            InputError: It cannot be opened, or has no pictures.
            ModuleNotFoundError: PyAV is not installed.
        """
        import av
        from av.stream import Disposition

        self.source = shown(source)
        self.damaged = 0
        self.fault: str | None = None
        camera = source.startswith("webcam:")
        form, address, remote = None, source, camera or "://" in source
        if camera:
            form, address = _WEBCAMS.get(sys.platform, _WEBCAMS["linux"])
            address = address.format(source.partition(":")[2])
        try:
            self._input = av.open(
                address,
                format=form,
                options={"rtsp_transport": "tcp"} if address.startswith("rtsp:") else {},
                timeout=_PATIENCE if remote else None,
            )
        except av.FFmpegError as error:
            what = "opened" if remote else "read as a video or an image"
            raise InputError(f"{self.source}: cannot be {what} ({_reason(error)})") from None
        streams = self._input.streams
        videos = [v for v in streams.video if not v.disposition & Disposition.attached_pic]
        if not videos:
            self._input.close()
            raise InputError(f"{self.source}: has no pictures; give a video")
        self.live = remote and self._input.duration is None
        self.video, self.sound = videos[0], streams.audio
        if not self.live:  # decoding frames side by side makes each of them wait
            self.video.thread_type = "AUTO"

    def __iter__(self) -> Iterator[VideoFrame | Packet[Any]]:
        """Yield frames and packets of sound as they come; then ``fault`` says how it ended."""
        import av

        end = 0.0
        try:
            for packet in self._input.demux(self.video, *self.sound):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index == self.video.index:
                    yield from self._decode(packet)
                elif packet.dts is not None:
                    yield packet
        except av.FFmpegError as error:
            self.fault = f"reading stopped ({_reason(error)})"
            yield from self._decode(None)
        if self.live or self.fault:  # a stream is entered in the middle and has no length
            return
        if (whole := self._end()) is not None and whole - end > _MISSING:
            self.fault = f"cut off, {end:.1f} of its {whole:.1f} s are there"
        elif self.damaged:
            self.fault = f"{self.damaged} damaged packets"

    def close(self) -> None:
        """Close the file or the device."""
        self._input.close()

    def start(self, base: Fraction) -> int:
        """Return the time stamp, in units of ``base`` seconds, at which the video begins.

        A stream's clock may have run for hours. A beginning below zero stays: it is cut off by
        players as it was meant to be.
        """
        return max(0, round(Fraction(self._input.start_time or 0, 1_000_000) / base))

    def _decode(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        import av

        broken = packet is not None and packet.is_corrupt
        try:
            return self.video.decode(packet)
        except av.FFmpegError:
            broken = packet is not None
            return []
        finally:
            self.damaged += broken

    def _end(self) -> float | None:
        """Return where pictures and sound end by the container, in seconds; None: unknown."""
        import av

        guessed: Any = av.format.Flags.no_timestamps  # a length is guessed from the bit rate
        if self._input.format.flags & guessed.value:
            return None
        streams = [self.video, *self.sound]
        known = [
            float(((s.start_time or 0) + s.duration) * s.time_base)
            for s in streams
            if s.duration is not None and s.time_base is not None
        ]
        if known:
            return max(known)
        whole = self._input.duration
        return None if whole is None else (max(0, self._input.start_time or 0) + whole) / 1e6


@dataclass(frozen=True)
class Turn:
    """How a frame is shown: transposed first, then mirrored in columns and in rows."""

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Turn:
        """Return the quarter turn and mirroring nearest to the frame's display matrix.

        A pixel (x, y) is shown at (a x + c y, b x + d y); the matrix is stored as 16.16 fixed point
        in the order a b u, c d v, x y w (ISO/IEC 14496-12, 6.2.2).
        """
        found: Any = frame.side_data.get("DISPLAYMATRIX")
        if found is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)


def to_image(frame: VideoFrame) -> Image:
    """Return a frame's pixels, upright by its display matrix."""
    pixels = frame.to_ndarray(format="rgb24", threads=1)
    turn = Turn.of(frame)
    if turn.transposed:
        pixels = pixels.swapaxes(0, 1)
    if turn.mirrored:
        pixels = pixels[:, ::-1]
    if turn.upside_down:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels, np.uint8)


def container_for(reader: VideoReader) -> str:
    """Name the container of the output: mp4 where it can hold the sound as it is, else matroska.

    PCM goes into matroska: mp4 takes it since 2022, and not from every container.
    """
    import av

    with av.open(io.BytesIO(), "w", format="mp4") as trial:
        codecs = trial.supported_codecs
    names = [sound.codec.canonical_name for sound in reader.sound]
    fits = all(name in codecs and not name.startswith("pcm_") for name in names)
    return "mp4" if fits else "matroska"


class VideoWriter:
    """A video of the frames that are written, with the sound of the video they come from.

    H.264 where PyAV has libx264, else MPEG-4 part 2.
    """

    def __init__(self, path: Path, reader: VideoReader, comment: str) -> None:
        """Begin a file.

        Args:
            path: The file, in the container of :func:`container_for`.
            reader: Where the frames come from.
            comment: Kept in the file's metadata.
        """
        import av

        self._reader = reader
        self._last: int | None = None
        self._space = 0
        self._output = av.open(str(path), "w", format=container_for(reader))
        self._output.metadata["comment"] = comment
        self._video: Any = None
        self._early: deque[Packet[Any]] = deque(maxlen=10_000)  # sound before the first frame
        self._sound: dict[int, Any] = {}
        self._heard: dict[int, int] = {}

    def write(self, image: Image, source: VideoFrame) -> None:
        """Write a picture in the place of a frame.

        Args:
            image: (H, W, 3) uint8 RGB, upright. Sides are rounded up to even numbers, as H.264
                has them, and a video has one size: that of its first picture.
            source: The frame that it stands for: it has the time stamp and the colour space.

        Raises:
            OSError: The disk is full.
        """
        import av

        if self._video is None:
            self._begin(image, source)
        base, video = self._reader.video.time_base or Fraction(1, 1000), self._video
        rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
        rgb.color_primaries, rgb.color_trc = source.color_primaries, source.color_trc
        frame = rgb.reformat(
            video.width, video.height, "yuv420p", dst_colorspace=self._space, threads=1
        )
        step = round(1 / (base * (self._reader.video.average_rate or 30)))
        if source.pts is not None:
            stamp = source.pts - self._reader.start(base)
        else:
            stamp = 0 if self._last is None else self._last + step
        if self._last is not None:  # a broken clock may jump back
            stamp = max(stamp, self._last + 1)
        self._last = frame.pts = stamp
        frame.time_base, frame.duration = base, source.duration or step
        self._output.mux(video.encode(frame))

    def copy(self, packet: Packet[Any]) -> None:
        """Copy a packet of sound as it is.

        Raises:
            OSError: The disk is full.
        """
        if self._video is None:
            self._early.append(packet)
            return
        index, dts = packet.stream.index, packet.dts
        if dts is None or dts <= self._heard.get(index, dts - 1):
            return  # no container takes time that runs backwards
        self._heard[index] = dts
        start = self._reader.start(packet.time_base)
        packet.dts, packet.pts = dts - start, (dts if packet.pts is None else packet.pts) - start
        packet.stream = self._sound[index]
        self._output.mux(packet)

    def close(self) -> None:
        """Finish the file, so that it plays.

        Raises:
            OSError: The disk is full.
        """
        if self._video is not None:
            self._output.mux(self._video.encode(None))
        self._output.close()

    def _begin(self, image: Image, source: VideoFrame) -> None:
        stream = self._reader.video
        base = stream.time_base or Fraction(1, 1000)
        name, options = _encoder()
        video: Any = self._output.add_stream(name, stream.average_rate or 30, options=options)
        height, width = (side + side % 2 for side in image.shape[:2])
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        # MPEG-4 part 2 counts time in at most 65535 parts of a second.
        fine = name != "mpeg4" or base.denominator <= 65535
        video.codec_context.time_base = base if fine else Fraction(1, 60_000)
        context = video.codec_context
        self._space = source.colorspace or 1  # BT.709 for what comes in RGB
        context.colorspace, context.color_range = self._space, 1  # limited, as yuv420p is
        context.color_primaries, context.color_trc = source.color_primaries, source.color_trc
        if aspect := stream.sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / aspect if Turn.of(source).transposed else aspect
        for sound in self._reader.sound:
            self._sound[sound.index] = self._output.add_stream_from_template(sound)
        self._video = video
        while self._early:
            self.copy(self._early.popleft())


def _encoder() -> tuple[str, dict[str, str]]:
    """Return the encoder that this build of FFmpeg has, and its settings: fast, at good quality."""
    import av

    if "libx264" in av.codecs_available:
        return "libx264", {"preset": "veryfast"}
    return "mpeg4", {"flags": "+qscale", "global_quality": str(118 * 4)}  # 118: FF_QP2LAMBDA


def _reason(error: Any) -> str:
    """Return what went wrong, in FFmpeg's words."""
    import av

    if isinstance(error, av.error.ExitError):
        return f"nothing came for {_PATIENCE:.0f} s"
    return str(error.strerror or error)
