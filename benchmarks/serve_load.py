"""The service under load, on loopback: processor time, latency, overload, and memory over time.

    python benchmarks/serve_load.py [--seconds 8] [--soak 600]

Everything is bounded in number and time and ends by itself. Processor seconds are those of the
whole server, its workers included, beside as many processes that do the same work without a server.
"""

import argparse
import concurrent.futures
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models import untrained, write_result
from topseg.bundle.bundle import Bundle
from topseg.evaluation.benchmark import draw_photo
from topseg.inference.predictor import Predictor
from topseg.media.drawing import mask_png
from topseg.media.images import decode_image
from topseg.runtimes.registry import open_runtime

CLIENTS = 8
QUEUE = 16
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """The command, in a process of its own."""

    def __init__(self, bundle: Bundle, *flags: str) -> None:
        command = [sys.executable, "-m", "topseg", "serve", f"m={bundle.folder}", "--port", "0"]
        command += ["--set", "grpc_port=null", "--set", f"queue={QUEUE}", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.port = 0
        for line in self.process.stderr:
            event = json.loads(line)
            self.port = event.get("port", self.port)
            if event["event"] == "ready":
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def processes(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task")  # a thread has its own children
        children = [pid for file in tasks.glob("*/children") for pid in file.read_text().split()]
        return [self.process.pid, *map(int, children)]

    def cpu(self) -> float:
        """Processor seconds of the server and its workers so far."""
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def memory(self) -> float:
        """Resident MiB of the server and its workers."""
        pages = [int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in self.processes()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Load:
    """What a number of clients saw."""

    seconds: list[float] = field(default_factory=list)
    """Latency of every answer that was a mask."""
    statuses: Counter[int] = field(default_factory=Counter)
    hints: int = 0
    """Refusals that said when to try again."""

    def summary(self) -> str:
        p50, p99 = 1000 * np.percentile(self.seconds, (50, 99))
        return f"{p50:.0f} | {p99:.0f}"


def load(port: int, body: bytes, clients: int, seconds: float, pause: float = 0.0) -> Load:
    """Let clients ask one after the other, each on its own connection, for that long."""
    found, end = Load(), time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            start = time.perf_counter()
            connection.request("POST", "/segment", body)
            answer = connection.getresponse()
            answer.read()
            found.statuses[answer.status] += 1
            if answer.status == 200:
                found.seconds.append(time.perf_counter() - start)
                time.sleep(pause)
            else:
                found.hints += answer.headers["Retry-After"] is not None
                time.sleep(0.02)  # less patient than Retry-After asks for
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def ask(port: int, body: bytes) -> bytes:
    """Return the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/segment", body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def predict(bundle: Bundle, engine: str, body: bytes) -> bytes:
    """Return the mask as ``topseg predict`` writes it."""
    predictor = Predictor(open_runtime(bundle, engine, device="cpu", threads=1))
    return mask_png(predictor(decode_image(body, "photo")).mask, predictor.labels)


def alone(bundle: Bundle, engine: str, body: bytes, seconds: float) -> tuple[int, float]:
    """Do a worker's work without a server: images done, and processor seconds."""
    cv2.setNumThreads(1)
    predictor = Predictor(open_runtime(bundle, engine, device="cpu", threads=1))

    def once() -> None:
        mask_png(predictor(decode_image(body, "photo")).mask, predictor.labels)

    once()
    count, start, end = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        once()
        count += 1
    return count, time.process_time() - start


def compare(bundle: Bundle, engine: str, body: bytes, workers: int, seconds: float) -> list[str]:
    """Server and plain processes in turns, then more clients than fit, then as before."""
    server = Server(bundle, "--workers", str(workers), "--set", f"runtime={engine}")
    context = multiprocessing.get_context("spawn")
    plain, served, rate, all_loads = [], [], [], Load()
    load(server.port, body, CLIENTS, 2)
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        expected = pool.submit(predict, bundle, engine, body).result()
    assert ask(server.port, body) == expected, f"{engine}: the answer is not what predict writes"
    for _ in range(4):
        with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
            jobs = [pool.submit(alone, bundle, engine, body, seconds / 4) for _ in range(workers)]
            done = [job.result() for job in jobs]
        plain.append(sum(cpu for _, cpu in done) / sum(count for count, _ in done))
        before = server.cpu()
        one = load(server.port, body, CLIENTS, seconds / 4)
        served.append((server.cpu() - before) / one.statuses[200])
        rate.append(one.statuses[200] / (seconds / 4))
        all_loads.seconds += one.seconds
        all_loads.statuses += one.statuses
    assert set(all_loads.statuses) == {200}, all_loads.statuses
    base, ours = np.median(plain), np.median(served)
    rows = [
        f"| {engine} | {1000 * base:.1f} | {1000 * ours:.1f} | **{ours / base:.2f}x** | "
        f"{1 / ours:.1f} | "
        f"{np.median(rate):.1f} | {all_loads.summary()} |"
    ]
    over = load(server.port, body, 4 * (QUEUE + workers), seconds / 2)
    after = load(server.port, body, CLIENTS, seconds / 4)
    assert set(over.statuses) == {200, 503}, over.statuses
    assert set(after.statuses) == {200}, after.statuses
    assert over.hints == over.statuses[503]
    rows.append(
        f"{engine}: {4 * (QUEUE + workers)} clients where {QUEUE} may wait: "
        f"{over.statuses[200]} masks (p50 | p99: {over.summary()} ms), {over.statuses[503]} times "
        f"503 with Retry-After, nothing else; {CLIENTS} clients right after: "
        f"{after.statuses[200]} masks ({after.summary()} ms), no refusal."
    )
    assert server.close() == 0
    return rows


def soak(bundle: Bundle, body: bytes, workers: int, seconds: float) -> str:
    """Serve for a long time and look at the memory."""
    server = Server(bundle, "--workers", str(workers))
    result: list[Load] = []
    client = threading.Thread(
        target=lambda: result.append(load(server.port, body, CLIENTS, seconds))
    )
    client.start()
    start, times, sizes = time.monotonic(), [], []
    while client.is_alive():
        client.join(seconds / 200)
        times.append(time.monotonic() - start)
        sizes.append(server.memory())
    settled = np.array(times) > seconds / 10
    slope, level = np.polyfit(np.array(times)[settled], np.array(sizes)[settled], 1)
    growth = 100 * slope * seconds / (level + slope * seconds / 2)
    assert server.close() == 0
    return (
        f"{seconds:.0f} s with {CLIENTS} clients: {dict(result[0].statuses)}, "
        f"p50 | p99 {result[0].summary()} ms, memory {min(sizes):.0f} to {max(sizes):.0f} MiB; the "
        f"line through it after the first tenth changes by **{growth:+.2f} %** over the whole time."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=16, help="of load for each engine")
    parser.add_argument("--soak", type=float, default=0, help="seconds of the memory test")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    head = [
        f"Tiny, 150 classes, a 1280x960 JPEG, the network at short side 512; {given.workers} "
        f"workers of one thread, {CLIENTS} clients on the same machine.",
        "",
        "| engine | CPU ms per image without a server | with | ratio | masks per CPU second | "
        "masks per second | latency p50 (ms) | p99 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = untrained("topformer_tiny", Path(folder))
        body = draw_photo(Path(folder) / "scene.jpg").read_bytes()
        for engine in ("native", "onnx", "openvino"):
            row, note = compare(bundle, engine, body, given.workers, given.seconds)
            head.append(row)
            notes.append(note)
        if given.soak:
            notes.append(soak(bundle, body, given.workers, given.soak))
    write_result("serve", "The service under load", "\n".join([*head, "", *notes]))


if __name__ == "__main__":
    main()
