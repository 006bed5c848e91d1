"""Downloads against a server on loopback: once, going on, checked, and with errors that help."""

import dataclasses
import errno
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from golden.fill import golden_model
from topseg.bundle.bundle import read_bundle, write_metadata
from topseg.bundle.downloads import fetch
from topseg.bundle.published import PUBLISHED
from topseg.core.errors import InputError
from topseg.core.locks import hold
from topseg.inference import hub
from topseg.inference.hub import find_weights, open_model
from topseg.interop import write_weights

DATA = bytes(range(256)) * 5000


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges, and can break off after some bytes."""

    data: bytes = DATA
    break_after: int | None = None
    ranges: bool = True
    seen: ClassVar[list[str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.pdparams"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "bytes=0-")
        self.server.seen.append(asked)
        if self.path != "/model.pdparams":
            self.send_error(404)
            return
        data = self.server.data
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if self.server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if self.server.ranges else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.server.break_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.seen.clear()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_downloaded_once_and_told_how_far(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = fetch(server.url, tmp_path / "m", progress=lambda *c: calls.append(c))
    assert path.read_bytes() == DATA
    assert calls[-1] == (len(DATA), len(DATA))
    fetch(server.url, tmp_path / "m")
    assert len(server.seen) == 1


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch(server.url, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    server.break_after = None
    assert fetch(server.url, tmp_path / "m").read_bytes() == DATA
    assert server.seen == ["bytes=0-", "bytes=262144-"]  # what had arrived in whole blocks


def test_starts_over_where_the_server_has_no_ranges(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(b"old")
    server.ranges = False
    assert fetch(server.url, tmp_path / "m").read_bytes() == DATA


def test_broken_off_after_the_last_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(DATA)
    assert fetch(server.url, tmp_path / "m").read_bytes() == DATA


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "m.part").write_bytes(DATA + b"more")
    with pytest.raises(InputError, match="the next try starts over"):
        fetch(server.url, tmp_path / "m")
    assert fetch(server.url, tmp_path / "m").read_bytes() == DATA


def test_changed_copy_is_refused(server: Server, tmp_path: Path) -> None:
    path = fetch(server.url, tmp_path / "m")
    path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(InputError, match="bytes changed since it was downloaded"):
        fetch(server.url, tmp_path / "m")


def test_offline_never_asks(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--offline"):
        fetch(server.url, tmp_path / "m", offline=True)
    (tmp_path / "m").write_bytes(b"put there by hand")
    assert fetch(server.url, tmp_path / "m", offline=True).is_file()
    assert not server.seen


def test_missing_file_names_the_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="404 Not Found"):
        fetch(server.url.replace("model", "other"), tmp_path / "m")


def test_no_server_says_to_look_at_the_proxy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Connection refused.*HTTPS_PROXY"):
        fetch("http://127.0.0.1:9/model", tmp_path / "m")


def test_proxy_is_taken_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(InputError, match="proxy"):
        fetch("http://models.invalid/m", tmp_path / "m")


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        fetch(server.url, tmp_path / "m")


# ------------------------------------------------------------------ published models


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The published Tiny, served from here."""
    file = tmp_path / "model.pdparams"
    state = golden_model("topformer_tiny", "fixed").state_dict()
    write_weights({name: tensor.numpy() for name, tensor in state.items()}, file)
    server.data = file.read_bytes()
    monkeypatch.setenv("TOPSEG_CACHE", str(tmp_path / "cache"))
    for name in ("topformer-tiny-ade20k", "topformer-tiny-imagenet"):
        monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], url=server.url))
    return server


def test_published_name_becomes_a_bundle_once(published: Server, tmp_path: Path) -> None:
    bundle = open_model("topformer-tiny-ade20k")
    metadata = bundle.metadata
    assert metadata.architecture.options == {"pool": "fixed"}
    assert metadata.architecture.num_classes == 150
    assert (metadata.resize.multiple, metadata.resize.round) == (32, "up")
    assert metadata.classes[0] == "wall"
    assert metadata.origin == published.url
    assert metadata.metrics["ade20k val (published)"]["miou"] == 32.49
    assert open_model("topformer-tiny-ade20k") == read_bundle(bundle.folder)
    # As if the first use had been stopped after the conversion.
    forgotten = dataclasses.replace(metadata, origin="PaddleSeg", license=None, metrics={})
    write_metadata(bundle.folder, forgotten)
    assert open_model("topformer-tiny-ade20k").metadata == metadata
    assert len(published.seen) == 1


def test_wrong_file_is_not_kept(published: Server) -> None:
    published.data = b"<html>please log in</html>"
    with pytest.raises(InputError, match="downloaded weights do not fit"):
        open_model("topformer-tiny-ade20k")
    assert not list(hub.cache_folder().rglob("model.pdparams*"))


def test_backbone_cannot_predict_but_can_be_trained_from(published: Server) -> None:
    with pytest.raises(InputError, match=r"model\.backbone_weights=topformer-tiny-imagenet"):
        open_model("topformer-tiny-imagenet")
    assert find_weights("topformer-tiny-imagenet").read_bytes() == published.data


def test_offline_by_the_environment(published: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPSEG_OFFLINE", "1")
    with pytest.raises(InputError, match="downloads are off"):
        open_model("topformer-tiny-ade20k")


def test_misspelt_name_suggests() -> None:
    with pytest.raises(InputError, match="did you mean 'topformer-tiny-ade20k'"):
        open_model("topformer-tiny-ade")


class _Odd(http.server.BaseHTTPRequestHandler):
    """Sends headers that say something else than what is sent, by the path asked for."""

    def do_GET(self) -> None:
        if self.path == "/length":
            self.send_response(200)
            self.send_header("Content-Length", "abc")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Range", self.path.removeprefix("/").replace("_", " "))
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "path",
    ["length", f"bytes_0-{len(DATA) - 1}/{len(DATA)}", "bytes_x-1/2", f"bytes_4-{len(DATA)}/9"],
)
def test_bytes_of_another_place_are_not_kept(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "m.part").write_bytes(DATA[:4])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as odd:
        odd.daemon_threads = True
        thread = threading.Thread(target=odd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with pytest.raises(InputError, match="cannot be downloaded"):
            fetch(f"http://127.0.0.1:{odd.server_address[1]}/{path}", tmp_path / "m")
        odd.shutdown()
        thread.join()
    assert not (tmp_path / "m").exists()


def test_two_downloads_of_one_file(server: Server, tmp_path: Path) -> None:
    with (
        hold(tmp_path / ".m.lock", "", print),
        pytest.raises(InputError, match="in use by another process"),
    ):
        fetch(server.url, tmp_path / "m")
    assert not server.seen
    assert fetch(server.url, tmp_path / "m").read_bytes() == DATA
