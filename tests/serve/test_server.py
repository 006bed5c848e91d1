"""A server of its own on loopback, asked by another project's client, and told to stop."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from fakes import DEADLY, FAKE, REAL, ColorRuntime, Server, running
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.inference.upsample import upsample_argmax
from topseg.serve import run
from topseg.serve.config import ServeConfig
from topseg.serve.grpc.messages import SERVICE, calls
from topseg.serve.grpc.server import start_rpc
from topseg.serve.http.app import make_app
from topseg.serve.http.connection import HttpServer
from topseg.serve.service import Service

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def server(fake: Bundle) -> Iterator[Server]:
    with running(fake.folder, "max_batch=4", "head_s=1", "body_s=1") as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Any]:
    module = pytest.importorskip(
        f"tritonclient.{request.param}", reason="tritonclient[http,grpc] is not installed"
    )
    port = server.port if request.param == "http" else server.rpc_port
    options = {"concurrency": 8} if request.param == "http" else {}
    client = module.InferenceServerClient(f"127.0.0.1:{port}", **options)
    client.module = module
    yield client
    client.close()
    client.close = lambda: None  # it closes itself once more, in whichever thread collects it


def infer(
    client: Any,
    images: NDArray[np.uint8],
    *,
    binary: bool = True,
    call: str = "infer",
    **more: Any,
) -> Any:
    module = client.module
    tensor = module.InferInput("images", images.shape, "UINT8")
    outputs = [module.InferRequestedOutput(name) for name in ("logits", "masks")]
    if module.__name__.endswith("http"):
        tensor.set_data_from_numpy(images, binary_data=binary)
        outputs = [
            module.InferRequestedOutput(name, binary_data=binary) for name in ("logits", "masks")
        ]
    else:
        tensor.set_data_from_numpy(images)
    return getattr(client, call)("fake", [tensor], outputs=outputs, **more)


def expect(fake: Bundle, images: NDArray[np.uint8], answer: Any) -> None:
    logits = ColorRuntime(fake)(images)
    np.testing.assert_array_equal(answer.as_numpy("logits"), logits)
    masks = upsample_argmax(logits, images.shape[1:3])
    np.testing.assert_array_equal(answer.as_numpy("masks"), masks)


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", "1")
    about, model = client.get_server_metadata(), client.get_model_metadata("fake")
    if client.module.__name__.endswith("grpc"):
        assert (about.name, list(model.inputs[0].shape)) == ("topseg", [-1, -1, -1, 3])
    else:
        assert (about["name"], model["inputs"][0]["shape"]) == ("topseg", [-1, -1, -1, 3])


@pytest.mark.parametrize("binary", [True, False])
def test_inference(client: Any, fake: Bundle, binary: bool) -> None:
    answer = infer(client, IMAGES, binary=binary, request_id="n7", timeout=10_000_000)
    expect(fake, IMAGES, answer)
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "n7"


def test_concurrent_inference_of_several_shapes(client: Any, fake: Bundle) -> None:
    asked = [
        np.ascontiguousarray(IMAGES[:1, :, : 32 * (1 + number % 2)]) + np.uint8(number)
        for number in range(24)
    ]
    if client.module.__name__.endswith("http"):
        waiting = [infer(client, images, call="async_infer") for images in asked]
        answers = [one.get_result() for one in waiting]
    else:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda images: infer(client, images), asked))
    for images, answer in zip(asked, answers, strict=True):
        expect(fake, images, answer)


def test_packed_requests(client: Any, fake: Bundle) -> None:
    if client.module.__name__.endswith("grpc"):
        answer = infer(client, IMAGES, compression_algorithm="gzip")
    else:
        answer = infer(client, IMAGES, request_compression_algorithm="gzip")
    expect(fake, IMAGES, answer)


def test_errors_are_the_protocols(client: Any) -> None:
    exception = client.module.InferenceServerException
    with pytest.raises(exception, match="no model 'other' here, known: fake"):
        client.get_model_metadata("other")
    with pytest.raises(exception, match="expected multiples of 32"):
        infer(client, IMAGES[:, :31])
    with pytest.raises(exception, match="not answered within"):
        infer(client, IMAGES, timeout=1)


def test_dead_worker_is_answered_and_replaced(client: Any, fake: Bundle) -> None:
    with pytest.raises(client.module.InferenceServerException, match="worker process ended"):
        infer(client, np.full((1, 32, 32, 3), DEADLY, np.uint8))
    expect(fake, IMAGES, infer(client, IMAGES))


def test_slow_clients_and_long_heads_are_cut(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as slow:
        slow.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\n")
        assert slow.recv(100) == b""  # within head_s, whatever else arrives
    with socket.create_connection(("127.0.0.1", server.port), 10) as long:
        long.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 40_000)
        assert long.recv(100).startswith(b"HTTP/1.1 4")
    with socket.create_connection(("127.0.0.1", server.port), 10) as slow:
        slow.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def post(port: int, body: bytes, number: int) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/segment", body, {"X-Request-ID": f"n{number}"})
        with connection.getresponse() as answer:
            return answer.status, answer.read()


def logged(server: Server, request_id: str) -> dict[str, Any]:
    """Wait for a request's line in the log."""
    while (line := server.until("request"))["request_id"] != request_id:
        pass
    return line


def test_who_leaves_is_not_worked_for(
    fake: Bundle, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    with running(fake.folder) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(post, server.port, png, 1)
        for number in (2, 3):
            gone = http.client.HTTPConnection("127.0.0.1", server.port)
            gone.request("POST", "/segment", png, {"X-Request-ID": f"n{number}"})
            gone.close()
        channel = grpc.insecure_channel(f"127.0.0.1:{server.rpc_port}")
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        request = calls()["ModelInfer"][0](raw_input_contents=[IMAGES.tobytes()])
        request.inputs.add(name="images", datatype="UINT8", shape=IMAGES.shape)
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            infer(request.SerializeToString(), timeout=0.1, metadata=(("x-request-id", "n4"),))
        channel.close()
        assert first.result()[0] == 200
        statuses = {line["request_id"]: line["status"] for line in logged_until(server, 4)}
        assert statuses.pop("n4") in (499, 504)
        assert statuses == {"n1": 200, "n2": 499, "n3": 499}
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
    assert 'topseg_stage_seconds_count{model="fake",stage="network"} 1.0' in text
    assert 'topseg_queue_requests{model="fake"} 0.0' in text


def logged_until(server: Server, count: int) -> list[dict[str, Any]]:
    """Wait for that many requests in the log."""
    return [server.until("request") for _ in range(count)]


def test_reload_by_signal(server: Server, png: bytes) -> None:
    server.process.send_signal(signal.SIGHUP)
    assert server.until("reloaded")["model"] == "fake"
    assert post(server.port, png, 6)[0] == 200


def test_tls(fake: Bundle, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(
        [openssl, *command.split(), *names], cwd=tmp_path, check=True, capture_output=True
    )
    pair = (f"tls_cert={tmp_path}/cert.pem", f"tls_key={tmp_path}/key.pem")
    with running(fake.folder, *pair) as server:
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trust)
        connection.request("GET", "/v2/health/ready")
        assert connection.getresponse().read() == b'{"ready":true}'
        connection.close()
        root = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
        channel = grpc.secure_channel(f"127.0.0.1:{server.rpc_port}", root)
        assert channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=10) == b"\x08\x01"
        channel.close()


def test_nothing_accepted_is_lost_when_told_to_stop(
    fake: Bundle, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = cv2.imencode(".png", photo)[1].tobytes()
    monkeypatch.setenv("FAKE_SECONDS", "0.05")
    server = Server(fake.folder, "queue=8", "drain_delay_s=0.3")
    server.until("ready")
    answered: dict[str, int] = {}
    failed: set[str] = set()
    begun = threading.Event()

    def ask(first: int) -> None:
        for number in range(first, first + 1000):
            try:
                answered[f"n{number}"] = post(server.port, body, number)[0]
            except OSError:
                failed.add(f"n{number}")
                return  # the server is gone
            if len(answered) > 12:
                begun.set()

    threads = [threading.Thread(target=ask, args=(1000 * n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    server.process.send_signal(signal.SIGTERM)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    accepted = {line["request_id"] for line in server.lines if line["event"] == "request"}
    assert not accepted & failed
    assert accepted <= set(answered)
    assert set(answered.values()) == {200, 503}  # 12 at a time are more than wait and run
    assert server.lines[-1]["event"] == "stopped"


def test_taken_ports_and_missing_files_are_said(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen here"):
            run._listen(ServeConfig(port=port))
        with pytest.raises(InputError, match=f"gRPC: cannot listen on 127.0.0.1:{port}"):
            asyncio.run(start_rpc(make_service(), f"127.0.0.1:{port}", 9))
    service = make_service(tls_cert=tmp_path / "no", tls_key=tmp_path / "no")
    with pytest.raises(InputError, match="tls_cert, tls_key: cannot be used"):
        HttpServer(make_app(service), service, 9)


def test_engine_that_does_not_open_ends_the_server(fake: Bundle) -> None:
    with pytest.raises(AssertionError, match=r"'ready': .* no onnx graph") as said:
        Server(fake.folder, "runtime=onnx", program=REAL).until("ready")
    assert "Traceback" not in str(said.value)


def test_log_is_json_with_ids(server: Server, png: bytes) -> None:
    status, _ = post(server.port, png, 5)
    assert status == 200
    line = logged(server, "n5")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/segment", 200)
    assert json.dumps(line)


@pytest.mark.parametrize(
    ("address", "rpc", "text"),
    [
        (
            "127.0.0.1",
            8001,
            "look at http://127.0.0.1:8000/ (requests: http://127.0.0.1:8000/docs, figures: "
            "http://127.0.0.1:8000/metrics; gRPC: 127.0.0.1:8001); Ctrl-C stops it",
        ),
        (
            "[::]",
            None,
            "look at http://[::1]:8000/ (requests: http://[::1]:8000/docs, figures: "
            "http://[::1]:8000/metrics); Ctrl-C stops it",
        ),
    ],
)
def test_where_to_look(address: str, rpc: int | None, text: str) -> None:
    assert run.where_to_look(address, 8000, rpc) == text
    assert run.where_to_look(address, 8000, rpc, tls=True) == text.replace("http:", "https:")


def test_a_terminal_is_told_where_to_look(fake: Bundle) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    ours, theirs = pty.openpty()
    command = [*FAKE, f"fake={fake.folder}", "--set=port=0", "--set=grpc_port=0", "--set=workers=1"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while b"Ctrl-C stops it" not in said:
                said += os.read(ours, 4096)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(OSError):  # at its end
                while os.read(ours, 4096):
                    pass
            os.close(ours)
    lines = [line for line in said.decode().splitlines() if line.startswith("look at ")]
    page = lines[0].split()[2]
    port = next(
        json.loads(line)["port"] for line in said.decode().splitlines() if "listening" in line
    )
    assert page == f"http://127.0.0.1:{port}/"
