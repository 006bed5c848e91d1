"""A browser to look at the page with, and a small service to look at."""

import http.server
import mimetypes
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from topseg.bundle import Bundle
from topseg.drawing import mask_png
from topseg.predict import Predictor
from topseg.runtimes import open_runtime
from topseg.serve.page import page_files

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")


@contextmanager
def service(models: Mapping[str, Bundle], *, server: bool = True) -> Iterator[str]:
    """Serve the page and ``segment`` on loopback, and give the page's address."""
    files = page_files(models, server=server)
    predictors = {n: Predictor(open_runtime(b, "onnx", threads=1)) for n, b in models.items()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(urlsplit(self.path).path[1:])
            if content is None:
                return self._answer(404, b"", "text/plain")
            kind = mimetypes.guess_type(self.path.partition("?")[0])[0] or "text/html"
            data = content.read_bytes() if isinstance(content, Path) else content
            return self._answer(200, data, kind)

        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            data = self.rfile.read(int(self.headers["Content-Length"]))
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            if pixels is None:
                return self._answer(415, b'{"error": "not an image"}', "application/json")
            predictor = predictors[query["model"][0]]
            start = time.perf_counter()
            mask = predictor(np.asarray(pixels, np.uint8)).mask
            spent = 1000 * (time.perf_counter() - start)
            png = mask_png(mask, predictor.labels)
            return self._answer(200, png, "image/png", {"Server-Timing": f"network;dur={spent}"})

        def _answer(
            self, status: int, data: bytes, kind: str, more: Mapping[str, str] | None = None
        ) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(data)), **(more or {})}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


class Browser:
    """Headless Chromium on the page."""

    def __init__(self, downloads: Path, *arguments: str) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            *arguments,
        ):
            options.add_argument(argument)
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(downloads), "download.prompt": False}
        )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(str(DRIVER)))
        self.downloads = downloads

    def close(self) -> None:
        self.driver.quit()

    def device(self, width: int, height: int, *, dark: bool = False, scale: int = 1) -> None:
        """Be a screen of that many pixels."""
        mobile = width < 600
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.until("document.querySelector('#promise').textContent")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run an async function's body, with ``a`` as its arguments."""
        wrapped = (
            "const a = Array.from(arguments), done = a.pop();"
            f"(async () => {{ {script} }})().then(done, (error) => done('error: ' + error));"
        )
        return self.driver.execute_async_script(wrapped, *arguments)

    def until(self, condition: str, seconds: float = 60) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.driver.execute_script(f"return {condition}"):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{condition}; the page says: {self.text('#alert')!r} {self.log()}")

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def click(self, selector: str, number: int = 0) -> None:
        self.all(selector)[number].click()

    def text(self, selector: str) -> str:
        return str(self.driver.find_element("css selector", selector).get_attribute("textContent"))

    def log(self) -> list[str]:
        """What the console has said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def engine(self, name: str) -> None:
        self.click(f"#engines [value={name}]")

    def segment(self, image: Path) -> None:
        """Choose a file, and wait for its mask."""
        self.forget()
        self.all("#file")[0].send_keys(str(image))
        self.shown()

    def forget(self) -> None:
        self.driver.execute_script("delete document.body.dataset.result")

    def shown(self) -> None:
        """Wait for a mask."""
        self.until("document.body.dataset.result || !document.querySelector('#alert').hidden")
        assert not self.text("#alert"), self.text("#alert")

    def mask(self, path: str = "mask") -> NDArray[Any]:
        """Download the mask and read it."""
        from PIL import Image

        before = set(self.downloads.iterdir())
        self.click(f"#save-{path}")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            new = [p for p in set(self.downloads.iterdir()) - before if p.suffix == ".png"]
            if new:
                with Image.open(new[0]) as file:
                    return np.asarray(file)
            time.sleep(0.05)
        raise TimeoutError("no download")
