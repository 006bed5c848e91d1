"""Mutated images and mutated requests against a server on loopback.

    python tests/fuzz/fuzz_serve.py [--bundle BUNDLE] [--images 20000] [--requests 20000] [--seed 0]

It is decoders and parsers that are tried, so without a bundle the network is a fake one. Every
request must be answered or hung up on within five seconds; no worker may die; the memory must stay
bounded; and a good image must have the same answer afterwards. Every case follows from the seed and
its number.
"""

import argparse
import gzip
import io
import json
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from fakes import FAKE, REAL, Server, make_bundle, running
from mutations import mutate

from topseg.serve.grpc.messages import SERVICE, calls

Case = Callable[[random.Random], tuple[str, str]]
"""Sends one mutation: what it was, and the answer's status."""

LIMIT_SECONDS = 5.0
LIMIT_MIB = 700
CLIENTS = 16
WORDS = (b"\r\n", b"\r\n\r\n", b"\0", b":", b"chunked", b"-1", b"99999999999999999999", b"{", b"[[")


def sample_images() -> list[bytes]:
    """One file of every kind."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (noise, "JPEG", {}),
        (noise, "JPEG", {"progressive": True, "exif": exif}),
        (noise.convert("L"), "JPEG", {"quality": 20}),
        (noise.convert("CMYK"), "JPEG", {}),
        (noise, "PNG", {}),
        (noise.convert("P"), "PNG", {"transparency": 3}),
        (noise.convert("RGBA"), "PNG", {"exif": exif}),
        (Image.fromarray(rng.integers(0, 65536, (40, 56), np.uint16)), "PNG", {}),
        (noise.convert("1"), "PNG", {}),
        (noise, "PNG", {"save_all": True, "append_images": [noise.rotate(90)]}),
        (noise, "WEBP", {}),
        (noise.convert("RGBA"), "WEBP", {"lossless": True}),
        (noise, "WEBP", {"save_all": True, "append_images": [noise.rotate(90)]}),
    ]
    found = []
    for image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def sample_requests(images: Sequence[bytes]) -> list[bytes]:
    """One HTTP request of every kind."""
    tensor: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3]}
    plain = json.dumps({"inputs": [{**tensor, "data": [7] * 3072}], "id": "x"}).encode()
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 3072}}]}).encode()
    length = b"Inference-Header-Content-Length: %d\r\n" % len(head)
    form = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n%s\r\n--b--\r\n' % images[0]
    note = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n'
    file = note.replace(b'"note"', b'"x"; filename="a.png"\r\nContent-Type: image/png')
    forms = note * 3 + file.replace(b"\r\n\r\nx", b"\r\n\r\n" + images[4]) + form
    packed = gzip.compress(forms) + gzip.compress(b"")
    rows = {"inputs": [{**tensor, "shape": [1, 128, 128, 3], "data": [[[7] * 3] * 128] * 128}]}
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(images[4]), images[4])

    def http(line: bytes, body: bytes = b"", headers: bytes = b"") -> bytes:
        if body and b"Transfer" not in headers:
            headers += b"Content-Length: %d\r\n" % len(body)
        return line + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + body

    return [
        http(b"GET /v2/health/ready"),
        http(b"GET /docs", headers=b"Accept: text/html\r\nX-Request-ID: abc\r\n"),
        http(b"POST /segment?output=json&shapes=all", images[4]),
        http(b"POST /segment?output=overlay&alpha=0.5", images[0]),
        http(b"POST /segment", form, b"Content-Type: multipart/form-data; boundary=b\r\n"),
        http(b"POST /segment", forms, b"Content-Type: multipart/form-data; boundary=b\r\n"),
        http(
            b"POST /segment",
            packed,
            b'Content-Type: multipart/form-data; boundary="b"\r\nContent-Encoding: gzip\r\n',
        ),
        http(b"HEAD /v2/health/live"),
        http(b"POST /v2/models/fake/infer", json.dumps(rows).encode()),
        http(b"POST /segment", chunks, b"Transfer-Encoding: chunked\r\n"),
        http(b"POST /v2/models/fake/infer", plain, b"Content-Type: application/json\r\n"),
        http(b"POST /v2/models/fake/infer", head + bytes(3072), length),
    ]


def sample_call() -> bytes:
    """A call of gRPC."""
    request = calls()["ModelInfer"][0](model_name="fake", id="x")
    request.parameters["timeout"].int64_param = 1_000_000
    request.inputs.add(name="images", datatype="UINT8", shape=[1, 32, 32, 3])
    request.raw_input_contents.append(bytes(3072))
    return bytes(request.SerializeToString())


def ask(port: int, request: bytes) -> tuple[str, bytes]:
    """Send a request and read until there is an answer, or the server hangs up.

    Returns:
        The status ("closed" where there was none), and the answer's body.
    """
    with socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as connection:
        try:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(65536):
                answer += part
                head, _, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                if length and len(body) >= int(length[1]):
                    break
        except ConnectionError:
            return "closed", b""
    if not answer:
        return "closed", b""
    status = re.match(rb"HTTP/1\.[01] ([2345]\d\d) ", answer)
    assert status, f"no HTTP: {answer[:100]!r}"
    return status[1].decode(), answer.partition(b"\r\n\r\n")[2]


def post(image: bytes, query: bytes = b"") -> bytes:
    """Return the request for an image's mask."""
    head = b"POST /segment%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    return head % (query, len(image)) + image


def memory(server: Server) -> float:
    """Resident MiB of the server and its workers."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = [str(server.process.pid), *" ".join(file.read_text() for file in tasks).split()]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * 4096 / 2**20


def fuzz(images: int, requests: int, seed: int, bundle: Path | None = None) -> dict[str, Any]:
    """Try everything.

    Args:
        images: Mutated images to send.
        requests: Mutated requests to send, a quarter of them calls of gRPC.
        seed: Where the mutations come from.
        bundle: Served by the command; None: a fake network.

    Returns:
        How often there was which answer, the slowest in seconds, and the memory in MiB: before,
        at most, after.

    Raises:
        AssertionError: What must not be, with the number of the case.
    """
    files, call = sample_images(), sample_call()
    texts = sample_requests(files)
    found: dict[str, Any] = {"images": Counter(), "requests": Counter(), "calls": Counter()}
    slowest, sizes, stop = 0.0, [0.0], threading.Event()

    def one(case: Case, number: int) -> tuple[str, str, float]:
        start = time.monotonic()
        try:
            kind, status = case(random.Random(f"{seed} {number}"))
        except Exception as error:
            raise AssertionError(f"case {number}: {type(error).__name__}: {error}") from error
        seconds = time.monotonic() - start
        assert seconds < LIMIT_SECONDS, f"case {number}: {seconds:.1f} s"
        assert not status.startswith("5"), f"case {number}: {status}"
        return kind, status, seconds

    with tempfile.TemporaryDirectory() as folder:
        limits = ["head_s=1", "body_s=1", "max_pixels=4000000", "max_request_bytes=1000000"]
        served = bundle or make_bundle(Path(folder) / "fake").folder
        with running(served, *limits, program=REAL if bundle else FAKE) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.rpc_port}")
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")

            def image(rng: random.Random) -> tuple[str, str]:
                query = rng.choice((b"", b"?output=json&shapes=all", b"?output=overlay"))
                return "images", ask(server.port, post(mutate(rng.choice(files), rng), query))[0]

            def request(rng: random.Random) -> tuple[str, str]:
                if rng.random() < 0.25:
                    try:
                        infer(mutate(call, rng), timeout=LIMIT_SECONDS)
                    except grpc.RpcError as error:
                        return "calls", error.code().name
                    return "calls", "OK"
                return "requests", ask(server.port, mutate(rng.choice(texts), rng, WORDS))[0]

            def watch() -> None:
                while not stop.wait(0.2):
                    sizes.append(memory(server))

            good = [ask(server.port, post(file)) for file in files]
            sizes[0] = memory(server)
            watching = threading.Thread(target=watch)
            watching.start()
            try:
                with ThreadPoolExecutor(CLIENTS) as pool:
                    for case, count in ((image, images), (request, requests)):
                        for kind, status, seconds in pool.map(partial(one, case), range(count)):
                            found[kind][status] += 1
                            slowest = max(slowest, seconds)
                assert [ask(server.port, post(file)) for file in files] == good
                metrics = ask(server.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[1]
            finally:
                stop.set()
                watching.join()
                channel.close()
    assert b"topseg_worker_restarts_total{" not in metrics, "a worker died"
    assert b"topseg_body_bytes 0.0" in metrics, "a body was not let go of"
    assert max(sizes) < LIMIT_MIB, f"{max(sizes):.0f} MiB"
    for bad in ("INTERNAL", "UNAVAILABLE", "UNKNOWN"):
        assert bad not in found["calls"], found["calls"]
    return {**found, "slowest": slowest, "memory": (sizes[0], max(sizes), sizes[-1])}


def report(found: dict[str, Any]) -> str:
    """Put the findings into words."""
    rows = ["| sent | how many | answers |", "|---|---|---|"]
    kinds = {"images": "images", "requests": "requests over HTTP", "calls": "calls over gRPC"}
    for kind, name in kinds.items():
        answers = ", ".join(f"{status}: {n}" for status, n in sorted(found[kind].items()))
        rows.append(f"| mutated {name} | {found[kind].total()} | {answers} |")
    before, most, after = found["memory"]
    return "\n".join(rows) + (
        f"\n\nSlowest answer {found['slowest']:.2f} s; memory of the service and its worker "
        f"{before:.0f} MiB before, at most {most:.0f}, {after:.0f} after. No worker died, and good "
        'images had the same answers afterwards, byte for byte. "closed": hung up without an '
        "answer, as on a head that never ended."
    )


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from models import write_result

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="with an onnx graph")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    found = fuzz(**vars(parser.parse_args()))
    write_result("serve_fuzz", "The service under mutated images and requests", report(found))


if __name__ == "__main__":
    main()
