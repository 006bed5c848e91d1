"""What a hostile client does to the listening process: every connection ends, health answers."""

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes import Server, running

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.serve import run
from topseg.serve.config import ServeConfig
from topseg.serve.grpc.messages import SERVICE, calls

HEAD = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(fake: Bundle) -> Iterator[Server]:
    limits = ("head_s=1", "body_s=1", "max_connections=20", "max_request_bytes=4000000")
    with running(fake.folder, *limits, "queue=4") as server:
        yield server


def raw(port: int, data: bytes, seconds: float = 20) -> bytes:
    """Send bytes, and read until the server hangs up."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return answer


def status_of(port: int, path: str = "/v2/health/live") -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def metrics(port: int) -> str:
    return status_of(port, "/metrics")[2].decode()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"nonsense\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000,
    ],
)
def test_what_is_no_http_is_refused_as_all_else(server: Server, request_: bytes) -> None:
    answer = raw(server.port, request_)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"application/json" in head
    assert json.loads(body)["error"] == "request: not valid HTTP/1.1"
    assert b"close" in head
    assert 'topseg_refused_total{reason="http"}' in metrics(server.port)
    assert any(line.get("reason") == "http" for line in server.lines)


def test_two_lengths_close_the_connection(server: Server) -> None:
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lengths = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(smuggled)
    answer = raw(server.port, HEAD + lengths + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"send one of them" in answer


def test_connections_beyond_the_limit(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(22)
        ]
        status, headers, body = status_of(server.port, "/v2")
        assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")
        assert b"too many connections" in body
        assert status_of(server.port)[0] == 200  # health is always answered
        more = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(60)
        ]
        more[-1].settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert more[-1].recv(1) == b""  # cut at once
        opened[0].settimeout(20)
        assert opened[0].recv(1) == b""  # cut when it did not send a head
    deadline = time.monotonic() + 20
    while status_of(server.port, "/v2")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_answer_that_is_not_read_ends(server: Server) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 1024, 1024, 3]}
    size = 3 * 2**20
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}).encode()
    request = b"POST /v2/models/fake/infer HTTP/1.1\r\nHost: localhost\r\n"
    request += b"Content-Length: %d\r\n" % (len(head) + size)
    request += b"Inference-Header-Content-Length: %d\r\n\r\n" % len(head)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        for _ in range(3):  # answers of 2 MB each, as text
            connection.sendall(request + head + bytes(size))
            time.sleep(0.2)
        deadline = time.monotonic() + 30
        while "topseg_body_bytes 0.0" not in metrics(server.port):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def method(channel: grpc.Channel, name: str, stream: bool = False) -> Any:
    make = channel.stream_unary if stream else channel.unary_unary
    return make(f"/{SERVICE}/{name}", None, None)


def test_calls_that_send_no_message_end(server: Server) -> None:
    wait = threading.Event()

    def nothing() -> Iterator[bytes]:
        wait.wait(30)
        yield from ()

    with grpc.insecure_channel(f"127.0.0.1:{server.rpc_port}") as channel:
        stalled = [method(channel, "ModelInfer", True).future(nothing()) for _ in range(40)]
        assert method(channel, "ServerLive")(b"", timeout=10)  # health has a place of its own
        codes = {call.exception(timeout=20).code().name for call in stalled}
        wait.set()
        assert codes <= {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
        assert "DEADLINE_EXCEEDED" in codes
        about = calls()["ModelMetadata"][0](name="fake").SerializeToString()
        assert method(channel, "ModelMetadata")(about, timeout=10)


def test_hostile_messages(server: Server) -> None:
    infer = calls()["ModelInfer"][0]
    with grpc.insecure_channel(f"127.0.0.1:{server.rpc_port}") as channel:
        call = method(channel, "ModelInfer")
        for message, code in {
            b"\x2a\0" * 1_000_000: "INVALID_ARGUMENT",
            infer(model_name="m" * 100_000).SerializeToString(): "NOT_FOUND",
            bytes(5_000_000): "RESOURCE_EXHAUSTED",
            b"": "NOT_FOUND",
        }.items():
            expected = code if message else "INVALID_ARGUMENT"
            with pytest.raises(grpc.RpcError) as refused:
                call(message, timeout=20)
            assert refused.value.code().name == expected
            assert len(refused.value.details()) < 600


def test_silent_connections_to_grpc_are_cut(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.rpc_port)))
        silent.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while silent.recv(100):  # the server's settings may come first
                pass
        assert status_of(server.port)[0] == 200


def test_silent_connections_of_tls_are_cut(fake: Bundle, tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-out",
        certificate,
        "-keyout",
        key,
    ]
    subprocess.run(command, check=True, capture_output=True)
    settings = (f"tls_cert={certificate}", f"tls_key={key}", "head_s=1", "max_connections=10")
    with (
        running(fake.folder, *settings, "grpc_port=null") as server,
        contextlib.ExitStack() as stack,
    ):
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(60)
        ]
        for connection in opened:
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


def test_descriptors_bound_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServeConfig(models={"m": "m"}, workers=2)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert run.connection_limit(config) == (1024 - 128 - 16) // 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10**6, 10**6))
    assert run.connection_limit(config) == config.max_connections
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(InputError, match="raise 'ulimit -n'"):
        run.connection_limit(config)


def test_health_answers_while_bodies_are_parsed(server: Server) -> None:
    form = b"\r\n--a\r\n\r\n" * 300_000
    boundary = b"Content-Type: multipart/form-data; boundary=a\r\n"
    request = HEAD + boundary + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(form)

    async def flood() -> list[bytes]:
        return await asyncio.gather(
            *(asyncio.to_thread(raw, server.port, request + form) for _ in range(4))
        )

    answers = asyncio.run(flood())
    assert all(b'"error"' in answer for answer in answers)
    assert status_of(server.port)[0] == 200
