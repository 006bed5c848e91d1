"""Prediction over videos: every frame of a file, the newest of a live one, always a whole file."""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.cli import main
from topseg.core.errors import InputError, UnreadableError
from topseg.core.installing import pip_install
from topseg.inference.predictor import Predictor

av = pytest.importorskip("av", reason="needs topseg[video]")

from clips import picture, read_frames, read_times, write_clip  # noqa: E402
from topseg.inference.video import VideoReport, predict_videos  # noqa: E402
from topseg.media import video  # noqa: E402


@pytest.fixture
def predictor(make_runtime: Callable[..., Any]) -> Predictor:
    return Predictor(make_runtime())


def hook(predictor: Predictor, act: Callable[[int], None]) -> None:
    """Call ``act`` with the number of each frame before the network runs."""
    run, numbers = predictor.runtime._logits, iter(range(10**6))

    def call(blocks: Any) -> Any:
        act(next(numbers))
        return run(blocks)

    predictor.runtime._logits = call


def test_every_frame_of_a_file_is_written_in_time(predictor: Predictor, tmp_path: Path) -> None:
    clip, reports = write_clip(tmp_path / "clip.mp4", 300), []
    shares, code = predict_videos(
        predictor, [str(clip)], tmp_path / "out", report=reports.append, interval=0
    )
    assert code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip_overlay.mp4"]
    assert read_times(tmp_path / "out" / "clip_overlay.mp4") == read_times(clip)
    assert [round(share.share, 2) for share in shares] == [0.5, 0.25, 0.25]
    assert len(reports) == 301
    assert "clip.mp4: 300 frames in" in str(reports[-1])
    assert "frames/s, 0 dropped, latency" in str(reports[-1])
    assert "smooth" not in str(reports[-1])


def test_the_overlay_is_laid_over_the_frame(predictor: Predictor, tmp_path: Path) -> None:
    """Classes in their own colours, over pictures in these colours: nothing changes."""
    clip = write_clip(tmp_path / "clip.mp4", 2)
    predict_videos(predictor, [str(clip)], tmp_path / "out")
    for number, frame in enumerate(read_frames(tmp_path / "out" / "clip_overlay.mp4")):
        found = frame.to_ndarray(format="rgb24").astype(int)
        for columns in (slice(4, 44), slice(52, 92)):
            assert np.abs(found[:, columns] - picture(number)[:, columns]).max() <= 10


def test_memory_is_flat(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading never runs far ahead of the network, however slow that is."""
    clip, read, ahead = write_clip(tmp_path / "clip.mp4", 100, sound=None), [0], []
    items = video.VideoReader.__iter__

    def count(reader: Any) -> Iterator[Any]:
        for item in items(reader):
            read[0] += 1
            yield item

    monkeypatch.setattr(video.VideoReader, "__iter__", count)
    hook(predictor, lambda number: ahead.append(read[0] - number))
    predict_videos(predictor, [str(clip)], tmp_path / "out")
    assert len(ahead) == 100
    assert max(ahead) <= 10


def test_frames_are_stepped_over(predictor: Predictor, tmp_path: Path) -> None:
    clip, reports = write_clip(tmp_path / "clip.mp4", 30), []
    predict_videos(
        predictor, [str(clip)], tmp_path / "out", every=7, masks=True, report=reports.append
    )
    assert read_times(tmp_path / "out" / "clip_overlay.mp4") == read_times(clip)[::7]
    masks = sorted((tmp_path / "out" / "clip_masks").iterdir())
    assert [path.stem for path in masks] == [f"{number:06d}" for number in range(0, 30, 7)]
    for number, path in zip(range(0, 30, 7), masks, strict=True):
        mask = np.asarray(Image.open(path))
        assert (mask[32, 24], mask[32, 72]) == (0, 2 - number % 2)
    assert "every 7" in str(reports[-1])


def test_smoothing_is_an_exponential_mean_of_logits(predictor: Predictor, tmp_path: Path) -> None:
    """Blue and green by turns: with much past the first one stays, and the file says why."""
    clip, reports, out = write_clip(tmp_path / "clip.mp4", 8, sound=None), [], tmp_path / "out"
    settings: dict[str, Any] = {"masks": True, "report": reports.append}
    predict_videos(predictor, [str(clip)], out, smooth=0.9, **settings)
    seen = [np.asarray(Image.open(p))[32, 72] for p in sorted((out / "clip_masks").iterdir())]
    blue, expected = 1.0, []
    for number in range(8):
        blue = 0.9 * blue + 0.1 * (number % 2 == 0) if number else 1.0
        expected.append(2 if blue > 0.5 else 1)
    assert seen == expected
    assert 1 not in seen[:4]
    assert "smooth 0.9" in str(reports[-1])
    with av.open(str(out / "clip_overlay.mp4")) as file:
        assert file.metadata["comment"] == "topseg overlay, smooth 0.9"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_file_that_is_cut_off_ends_cleanly(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    clip = write_clip(tmp_path / name, 90, options={"movflags": "faststart"} if "4" in name else {})
    times = read_times(clip)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    whole = write_clip(tmp_path / "whole.mp4", 3)
    with pytest.raises(InputError, match=rf"{name}: cut off, .* of its 3.0 s are there; .*overlay"):
        predict_videos(predictor, [str(clip), str(whole)], tmp_path / "out")
    found = read_times(tmp_path / "out" / "clip_overlay.mp4")
    assert 30 < len(found) < 70
    np.testing.assert_allclose(found, times[: len(found)], atol=1e-3)
    assert len(read_times(tmp_path / "out" / "whole_overlay.mp4")) == 3


def test_a_damaged_file_is_done_as_far_as_it_can_be_read(
    predictor: Predictor, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 90, sound=None)
    data = bytearray(clip.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    clip.write_bytes(data)
    with pytest.raises(InputError, match=r"clip.mp4: \d+ damaged packets; .*clip_overlay.mp4 has"):
        predict_videos(predictor, [str(clip)], tmp_path / "out")
    found = read_times(tmp_path / "out" / "clip_overlay.mp4")
    assert 30 < len(found) < 90
    assert found[-1] > 2.9


def test_nothing_is_left_of_a_video_that_cannot_be_read(
    predictor: Predictor, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    clip.write_bytes(clip.read_bytes()[:3000])  # without its index, which comes last
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"clip.mp4: cannot be read as a video"):
        predict_videos(predictor, [str(clip)], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_file(predictor: Predictor, tmp_path: Path, number: int) -> None:
    clip, before = write_clip(tmp_path / "clip.mp4", 60), signal.getsignal(number)
    hook(predictor, lambda frame: signal.raise_signal(number) if frame == 19 else None)
    code = predict_videos(predictor, [str(clip), "gone.mp4"], tmp_path / "out")[1]
    assert code == 128 + number
    assert signal.getsignal(number) == before
    assert read_times(tmp_path / "out" / "clip_overlay.mp4") == read_times(clip)[:20]


def test_a_second_ctrl_c_ends_at_once(predictor: Predictor, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 60)

    def twice(frame: int) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    hook(predictor, twice)
    with pytest.raises(KeyboardInterrupt):
        predict_videos(predictor, [str(clip)], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


class Server:
    """Sends a clip over TCP as a camera would; then hangs up, or falls silent."""

    def __init__(self, clip: Path, hang_up: bool) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.sent, self.over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(clip, hang_up))
        self._thread.start()

    def _run(self, clip: Path, hang_up: bool) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.sendall(clip.read_bytes())
            self.sent.set()
            if not hang_up:
                self.over.wait(30)

    def close(self) -> None:
        self.over.set()
        self._thread.join()
        self._socket.close()


def test_a_live_source_drops_frames_the_newest_first(predictor: Predictor, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", 200)
    server, reports, numbers = Server(clip, hang_up=True), [], []
    names = {thread.name for thread in threading.enumerate()}

    def wait(number: int) -> None:
        """Be slow with the first frame, until all has been sent and read."""
        numbers.append(number)
        if number == 0:
            server.sent.wait(30)
            for thread in threading.enumerate():
                if thread.name not in names:
                    thread.join(30)

    hook(predictor, wait)
    code = predict_videos(predictor, [server.address], tmp_path / "out", report=reports.append)[1]
    server.close()
    assert code == 0
    (path,) = (tmp_path / "out").iterdir()
    found, report = read_times(path), reports[-1]
    assert len(found) == report.frames == len(numbers) == 2
    assert report.dropped == 198
    assert found[1] == pytest.approx(read_times(clip)[-1] - read_times(clip)[0], abs=0.05)
    with av.open(str(path)) as file, av.open(str(clip)) as source:
        heard = [sum(1 for p in one.demux(audio=0) if p.size) for one in (file, source)]
    assert heard[0] == heard[1]  # sound is never dropped


def test_a_stream_that_falls_silent_ends_cleanly(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.ts", 200)
    server = Server(clip, hang_up=False)
    monkeypatch.setattr(video, "_PATIENCE", 1.0)
    with pytest.raises(InputError, match=r"reading stopped \(nothing came for 1 s\); .*overlay"):
        predict_videos(predictor, [server.address], tmp_path / "out")
    server.close()
    (path,) = (tmp_path / "out").iterdir()
    assert len(read_times(path)) > 1


def test_wrong_settings_are_refused_before_anything_is_opened(
    predictor: Predictor, make_runtime: Callable[..., Any], tmp_path: Path
) -> None:
    def refuse(sources: list[str], match: str, **more: Any) -> None:
        with pytest.raises(InputError, match=match):
            predict_videos(more.pop("predictor", predictor), sources, tmp_path, **more)
        assert not list(tmp_path.iterdir())

    refuse(["a.mp4"], "every: got 0", every=0)
    refuse(["a.mp4"], r"smooth: got 1.0, expected at least 0 \(off\) and below 1", smooth=1.0)
    refuse(["a/x.mp4", "b/x.mkv"], "would be written for both a/x.mp4 and b/x.mkv")
    refuse(["x.mp4", f"{tmp_path}/x_overlay.mp4"], "would overwrite a video that was given")
    grey = Predictor(make_runtime(channels=1))
    refuse(["a.mp4"], "only for models that take three channels", predictor=grey)


def test_passwords_are_not_shown(predictor: Predictor, tmp_path: Path) -> None:
    clip, reports = write_clip(tmp_path / "clip.ts", 30), []
    server = Server(clip, hang_up=True)
    address = server.address.replace("//", "//me:secret@")
    predict_videos(predictor, [address], tmp_path / "out", report=reports.append)
    server.close()
    assert str(reports[-1]).startswith(f"{server.address}: ")
    assert not [path for path in (tmp_path / "out").iterdir() if "secret" in path.name]
    with pytest.raises(InputError) as caught:
        predict_videos(predictor, ["rtsp://me:secret@127.0.0.1:9/x"], tmp_path / "out")
    assert "rtsp://127.0.0.1:9/x: cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_report_is_one_line() -> None:
    report = VideoReport("a.mp4", 2, 0.5, np.zeros(3, np.int64), frames=10, damaged=3, start=0.0)
    assert "\n" not in str(report)
    assert str(report).endswith("3 damaged packets, every 2, smooth 0.5")


def test_the_command(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def run(*words: object) -> tuple[int, str, str]:
        code = main(["video", str(trained.folder), *map(str, words), "--out", str(tmp_path / "o")])
        return code, *capsys.readouterr()

    clip = write_clip(tmp_path / "clip.mp4", 60, options={"movflags": "faststart"})
    code, out, err = run(clip, "--every", "20", "--masks")
    assert code == 0
    assert "%  class" in out
    assert "clip.mp4: 3 frames in" in err
    assert len(read_times(tmp_path / "o" / "clip_overlay.mp4")) == 3
    assert len(list((tmp_path / "o" / "clip_masks").iterdir())) == 3

    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) // 2])
    code, _, err = run(clip, "--every", "20")
    assert (code, "cut off" in err) == (3, True), err
    clip.write_bytes(whole)

    Image.fromarray(picture(0)).save(tmp_path / "photo.png")
    for words, match in {
        (clip, "--color"): "Unknown option: --color",
        (clip, "--smooth", "2"): "smooth: got 2.0",
        (): "give at least one video",
    }.items():
        code, _, err = run(*words)
        assert (code, match in err) == (2, True), err

    # A video among images is answered with the command for it.
    folder, out = str(trained.folder), str(tmp_path / "o o")
    assert main(["predict", folder, str(clip), "--out", out]) == 2
    assert f"take: topseg video {folder} {clip} --out '{out}'" in capsys.readouterr().err

    monkeypatch.setitem(sys.modules, "av", None)
    code, _, err = run(clip)
    assert (code, pip_install("topseg[video]") in err) == (2, True), err


def test_one_bad_video_ends_no_run(predictor: Predictor, tmp_path: Path) -> None:
    first, second = (write_clip(tmp_path / name, 3) for name in ("first.mp4", "second.mp4"))
    frames = 0

    def fail_once(frame: int) -> None:
        nonlocal frames
        frames += 1
        if frames == 2:
            raise MemoryError("no more")

    hook(predictor, fail_once)
    with pytest.raises(UnreadableError, match=r"first\.mp4: MemoryError: no more"):
        predict_videos(predictor, [str(first), str(second)], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second_overlay.mp4"]
    assert len(read_times(tmp_path / "out" / "second_overlay.mp4")) == 3
