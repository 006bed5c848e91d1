"""What a video costs, stage by stage, and whether memory stays flat.

    python benchmarks/video.py [--frames 300] [--model topformer-tiny-camvid] [--threads 2]

The clip is made here: 1280x720, H.264, AAC sound. Each stage is measured alone over all frames;
"all together" is what ``topseg predict`` does: reading and encoding have threads of their own.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from models import write_result
from predict_folder import resident
from topseg.inference.hub import load
from topseg.inference.prediction import Prediction
from topseg.inference.predictor import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.inference.video import VideoReport, predict_videos
from topseg.media.video import VideoReader, VideoWriter, to_image
from topseg.synthetic.scenes import draw_scene

SIZE = (720, 1280)


def make_clip(path: Path, frames: int) -> Path:
    """A window that wanders over a drawn scene, and noise to hear."""
    scene = cv2.resize(draw_scene(1, 0).image, (2560, 1440), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", 30, options={"preset": "veryfast"})
        video.height, video.width, video.pix_fmt = *SIZE, "yuv420p"
        audio: Any = out.add_stream("aac", 48_000, layout="stereo")
        for number in range(frames):
            top, left = (int(s * number / frames) for s in SIZE)
            view = np.ascontiguousarray(scene[top : top + SIZE[0], left : left + SIZE[1]])
            out.mux(video.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
            noise = rng.uniform(-0.1, 0.1, (2, 1600)).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(noise, format="fltp", layout="stereo")
            piece.sample_rate, piece.pts = 48_000, 1600 * number
            out.mux(audio.encode(piece))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    return path


def frames_of(clip: Path) -> Iterator[Any]:
    reader = VideoReader(str(clip))
    yield from (item for item in reader if isinstance(item, av.VideoFrame))
    reader.close()


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def stages(predictor: Predictor, clip: Path, out: Path) -> dict[str, float]:
    """Seconds a frame of each stage alone, one frame after the other."""
    took = dict.fromkeys(["read and decode", "to RGB", "network", "tail", "overlay", "encode"], 0.0)
    frames, reader = frames_of(clip), VideoReader(str(clip))
    writer, count = VideoWriter(out, reader, "benchmark"), 0

    def timed(stage: str, act: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = act()
        took[stage] += time.perf_counter() - start
        return result

    while (frame := timed("read and decode", lambda: next(frames, None))) is not None:
        image = timed("to RGB", lambda frame=frame: to_image(frame))
        logits = timed("network", lambda image=image: predictor.logits(image))
        mask = timed("tail", lambda logits=logits: upsample_argmax(logits, SIZE, predictor.threads))
        found = Prediction(mask, predictor.labels)
        shown = timed("overlay", lambda found=found, image=image: found.overlay(image))
        timed("encode", lambda shown=shown, frame=frame: writer.write(shown, frame))
        count += 1
    timed("encode", writer.close)
    reader.close()
    return {stage: seconds / count for stage, seconds in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--model", default="topformer-tiny-camvid")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    busy = os.getloadavg()[0]
    predictor = load(arguments.model, threads=arguments.threads)
    engine = predictor.runtime.engine
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = make_clip(folder / "clip.mp4", arguments.frames)
        alone = stages(predictor, clip, folder / "alone.mp4")
        memory: list[float] = []
        reports: list[VideoReport] = []

        def note(report: VideoReport) -> None:
            memory.append(resident())
            reports.append(report)

        begin, cpu = time.perf_counter(), time.process_time()
        predict_videos(predictor, [str(clip)], folder / "out", report=note, interval=0)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        overlay = folder / "out" / "clip_overlay.mp4"
        written = sum(1 for _ in frames_of(overlay))
        same = sound_of(overlay) == sound_of(clip)
    report, quarter = reports[-1], memory[arguments.frames // 4]
    rows = [f"| {what} | {1000 * s:.1f} | {1 / s:.0f} |" for what, s in alone.items()]
    total = sum(alone.values())
    rows.append(f"| their sum | {1000 * total:.1f} | {1 / total:.1f} |")
    each = seconds / arguments.frames
    rows.append(f"| **all together** | {1000 * each:.1f} | **{1 / each:.1f}** |")
    notes = [
        f"- CPU, all together: {1000 * cpu / arguments.frames:.1f} ms per frame. Others kept "
        f"{busy:.1f} processes busy when this began, on {os.cpu_count()} cores.",
        f"- {arguments.frames} frames of 1280x720 in, {written} out; {report.dropped} dropped, "
        f"latency {1000 * report.latency / report.frames:.0f} ms from decoded to encoded.",
        f"- Sound, packet by packet: {'the same bytes' if same else 'DIFFERENT'}.",
        f"- Memory of the process: {quarter:.0f} MiB after a quarter, {memory[-1]:.0f} MiB at the "
        "end.",
        f"- {arguments.model} on {engine}, {arguments.threads} threads.",
    ]
    body = "\n".join(["| stage | ms per frame | frames/s |", "|---|---|---|", *rows, "", *notes])
    write_result("video", "A video of 1280x720", body)


if __name__ == "__main__":
    main()
