"""The service for a long time: good, bad, leaving and slow clients, worker kills and reloads.

    python benchmarks/serve_soak.py [--requests 60000]

On loopback, with the tests' fake network: what is tried is the service. Every request that was sent
whole must be answered by what is right for it, byte for byte; health is asked all the time by a
process of its own; memory and descriptors are those of the process that listens.
"""

import argparse
import gzip
import http.client
import io
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "serve"))
from fakes import Server, make_bundle, running

from models import write_result
from topseg.serve.grpc.messages import SERVICE, calls

CLIENTS = 8
WORKERS = 2
INFER = "/v2/models/fake/infer"
BUSY = {500, 503, 504}
"""What a request may get while its worker is killed, or none is there."""


@dataclass(frozen=True, eq=False)
class Case:
    """A request and what is right for it; no status: its client leaves."""

    kind: str
    path: str
    body: bytes
    headers: dict[str, str]
    status: int


def make_cases() -> list[Case]:
    """One request of every sort; the good ones thrice."""
    rng = np.random.default_rng(0)
    found = []
    for size in ((40, 56), (96, 130), (200, 150)):
        noise = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).resize(size[::-1])
        buffer = io.BytesIO()
        noise.save(buffer, "PNG" if size[0] != 96 else "JPEG")
        image = buffer.getvalue()
        form = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n%s\r\n--b--\r\n' % image
        tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 96, 3]}
        values = rng.integers(0, 256, (1, 32, 96, 3), np.uint8)
        numbers = json.dumps({"inputs": [{**tensor, "data": values.tolist()}]}).encode()
        head = {"inputs": [{**tensor, "parameters": {"binary_data_size": values.nbytes}}]}
        binary = json.dumps({**head, "parameters": {"binary_data_output": True}}).encode()
        length = {"Inference-Header-Content-Length": str(len(binary))}
        multipart = {"Content-Type": "multipart/form-data; boundary=b"}
        zipped = {"Content-Encoding": "gzip"}
        found += [
            Case("good", "/segment", image, {}, 200),
            Case("good", "/segment?output=json&shapes=all", image, {}, 200),
            Case("good", "/segment", form, multipart, 200),
            Case("good", "/segment", gzip.compress(image), zipped, 200),
            Case("good", INFER, numbers, {}, 200),
            Case("good", INFER, binary + values.tobytes(), length, 200),
            Case("slow", "/segment", image, {}, 200),
            Case("leaving", "/segment", image, {}, 0),
            Case("leaving", INFER, numbers, {}, 0),
            Case("bad", "/segment", image[: len(image) // 2], {}, 400),
        ]
    scans = b"\xff\xd8" + b"\xff\xda\0\2" * 101
    many = b"".join(b"--b\r\n\r\n\r\n" for _ in range(70))
    found += [
        Case("bad", "/segment", b"GIF89a" * 9, {}, 415),
        Case("bad", "/segment", scans, {}, 413),
        Case("bad", "/segment", many, {"Content-Type": "multipart/form-data; boundary=b"}, 400),
        Case("bad", "/segment", b"no", {"Content-Encoding": "gzip"}, 400),
        Case("bad", "/segment", b"no", {"Content-Encoding": "br"}, 415),
        Case("bad", "/segment?model=other", b"no", {}, 415),
        Case("bad", "/segment?alpha=nan", b"no", {}, 400),
        Case("bad", "/nowhere", b"no", {}, 405),
        Case("bad", INFER, b'{"inputs": [' + b"[" * 5000, {}, 400),
        Case("bad", INFER, b'{"inputs": [{"name": "images", "data": ["a"]}]}', {}, 400),
        Case("bad", "/v2/models/other/infer", b"{}", {}, 404),
    ]
    return found


class Clients:
    """Sends cases and judges the answers."""

    def __init__(self, port: int, rpc_port: int, expected: dict[Case, bytes]) -> None:
        self.port, self.expected = port, expected
        self.answers: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._local = threading.local()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{rpc_port}")
        self._infer = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        request = calls()["ModelInfer"][0](model_name="fake")
        request.inputs.add(name="images", datatype="UINT8", shape=[1, 32, 32, 3])
        request.raw_input_contents.append(bytes(range(256)) * 12)
        self._call = request.SerializeToString()
        self._call_answer = self._infer(self._call, timeout=60)

    def send(self, case: Case | None) -> None:
        """Send one request; None: a call of gRPC."""
        if case is None:
            self._send_call()
        elif case.kind == "leaving":
            with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
                length = len(case.body)
                head = f"POST {case.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}"
                cut = random.randrange(length + 1)
                connection.sendall(head.encode() + b"\r\n\r\n" + case.body[:cut])
            self._count(case.kind, "left")
        else:
            self._send_request(case)

    def _send_request(self, case: Case) -> None:
        body: Any = case.body
        headers = {"Content-Length": str(len(case.body)), **case.headers}
        if case.kind == "slow":
            body = self._slowly(case.body, len(case.body) // 5 + 1)
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection = self._local.connection
        try:
            connection.request("POST", case.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with self._lock:
                self.lost[f"{case.kind} {type(error).__name__}"] += 1
            return
        status, right = answer.status, content == self.expected.get(case, content)
        if not (status == case.status and right) and status not in BUSY:
            self.wrong.append(f"{case.kind} {case.path}: {status} {content[:80]!r}")
        self._count(case.kind, str(status))

    def _send_call(self) -> None:
        try:
            if self._infer(self._call, timeout=60) != self._call_answer:
                self.wrong.append("gRPC: another answer")
            self._count("gRPC", "OK")
        except grpc.RpcError as error:
            code = error.code().name
            if code not in ("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"):
                self.wrong.append(f"gRPC: {code} {error.details()}")
            self._count("gRPC", code)

    def _count(self, kind: str, answer: str) -> None:
        with self._lock:
            self.answers[f"{kind} {answer}"] += 1

    @staticmethod
    def _slowly(body: bytes, step: int) -> Any:
        for at in range(0, len(body), step):
            time.sleep(0.02)
            yield body[at : at + step]


def probe(port: int, stop: Any, found: Any) -> None:
    """Ask for health ten times a second, each on a connection of its own; runs in a process."""
    seconds = []
    while not stop.is_set():
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().status == 200
        connection.close()
        seconds.append(time.perf_counter() - start)
        time.sleep(0.1)
    found.send(seconds)


def worker_pids(server: Server) -> list[int]:
    """Processes that run the network."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(server.process.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]


def disturb(server: Server, stop: threading.Event, done: Counter[str]) -> None:
    """Kill, stop and reload in turns."""
    steps: list[Callable[[int], None]] = [
        lambda pid: os.kill(pid, signal.SIGKILL),
        lambda pid: os.kill(pid, signal.SIGSTOP),
        lambda _: server.process.send_signal(signal.SIGHUP),
    ]
    names, number = ("worker killed", "worker stopped", "reload"), 0
    while not stop.wait(8):
        pids = worker_pids(server)
        if pids:
            steps[number % 3](random.choice(pids))
            done[names[number % 3]] += 1
            number += 1


def measure(server: Server) -> tuple[float, int]:
    """Resident MiB and open descriptors of the process that listens."""
    proc = Path(f"/proc/{server.process.pid}")
    pages = int((proc / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(proc / "fd"))


def soak(requests: int) -> str:
    """Send everything and put the findings into words."""
    cases, rng = make_cases(), random.Random(0)
    settings = [f"workers={WORKERS}", "worker_seconds=2", "deadline_s=20", "queue=64"]
    stop, done = threading.Event(), Counter[str]()
    sizes: list[tuple[float, float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder) / "fake")
        with running(bundle.folder, *settings) as server:
            expected: dict[Case, bytes] = {}
            clients = Clients(server.port, server.rpc_port, expected)
            for case in cases:
                if case.status == 200:
                    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
                    connection.request("POST", case.path, case.body, case.headers)
                    answer = connection.getresponse()
                    assert answer.status == 200, answer.read()
                    expected[case] = answer.read()
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            quiet = context.Event()
            prober = context.Process(target=probe, args=(server.port, quiet, theirs), daemon=True)
            prober.start()
            threading.Thread(target=disturb, args=(server, stop, done), daemon=True).start()
            start = time.monotonic()

            def watch() -> None:
                while not stop.wait(2):
                    sizes.append((time.monotonic() - start, *measure(server)))

            threading.Thread(target=watch, daemon=True).start()
            chosen: list[Case | None] = [rng.choice([*cases, None, None]) for _ in range(requests)]
            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(clients.send, chosen))
            seconds = time.monotonic() - start
            stop.set()
            quiet.set()
            health = 1000 * np.array(ours.recv())
            time.sleep(12)  # until idle connections are closed, and workers are there again
            after = measure(server)
            clients._channel.close()
        lines = server.lines
    return report(requests, seconds, clients, done, np.array(sizes), after, health, lines)


def report(
    requests: int,
    seconds: float,
    clients: Clients,
    done: Counter[str],
    sizes: Any,
    after: tuple[float, int],
    health: Any,
    lines: list[dict[str, Any]],
) -> str:
    """Put the findings into words."""
    tenth = len(sizes) // 10
    slope = np.polyfit(sizes[tenth:, 0], sizes[tenth:, 1], 1)[0]
    faults = sum(line["event"] in ("request failed", "call failed") for line in lines)
    p50, p99, most = np.percentile(health, 50), np.percentile(health, 99), health.max()
    kinds: dict[str, list[str]] = {}
    for name, count in sorted(clients.answers.items()):
        kind, answer = name.split()
        kinds.setdefault(kind, []).append(f"{answer}: {count}")
    rows = ["| clients | answers |", "|---|---|"]
    rows += [f"| {kind} | {', '.join(answers)} |" for kind, answers in kinds.items()]
    events = ", ".join(f"{name} {count} times" for name, count in sorted(done.items()))
    return "\n".join(
        [
            f"{requests} requests by {CLIENTS} clients in {seconds:.0f} s, {WORKERS} workers of "
            f"the fake network; meanwhile {events}.",
            "",
            *rows,
            "",
            f"* **Lost: {clients.lost.total()}** {dict(clients.lost) or ''} (sent whole, and no "
            f"answer). **Wrong: {len(clients.wrong)}** {clients.wrong[:5] or ''} (another status "
            "or other bytes than right; 500, 503 and 504 are right while a worker is killed).",
            f"* Tracebacks of requests in the log: {faults}.",
            f"* Health, asked {len(health)} times: p50 {p50:.0f} ms, **p99 {p99:.0f} ms**, at most "
            f"{most:.0f} ms.",
            f"* The listening process: {sizes[0, 1]:.0f} MiB at the start, "
            f"{sizes[:, 1].max():.0f} at most, {after[0]:.0f} afterwards; after the first tenth "
            f"the line through it changes by **{slope * seconds:+.1f} MiB** over the whole time. "
            f"Descriptors: {sizes[:, 2].max():.0f} at most, {after[1]} afterwards.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60_000)
    text = soak(parser.parse_args().requests)
    write_result("serve_soak", "The service for a long time", text)


if __name__ == "__main__":
    main()
