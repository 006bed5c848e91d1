"""A browser to look at the page with, and the two places where the page can stand."""

import functools
import http.server
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "serve"))
from fakes import REAL, running

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")


@contextmanager
def service(folder: Path, *settings: str) -> Iterator[str]:
    """Serve a bundle by the command, and give the page's address."""
    settings = ("runtime=onnx", "grpc_port=null", *settings)
    with running(folder, *settings, program=REAL) as server:
        yield f"http://127.0.0.1:{server.port}/"


@contextmanager
def static(
    folder: Path, headers: Callable[[str], Mapping[str, str]] = lambda _: {}
) -> Iterator[str]:
    """Host a folder by Python's own web server, and give its address.

    Args:
        folder: What it shows.
        headers: More headers, for a path.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers(self.path).items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


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
        self.driver.set_script_timeout(300)  # seconds
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
            if new and new[0].stat().st_size:  # the name is there before the content
                with Image.open(new[0]) as file:
                    return np.asarray(file)
            time.sleep(0.05)
        raise TimeoutError("no download")
