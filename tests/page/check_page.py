"""Look at the page at length: masks of both engines beside Python's, and pictures of the page.

    python tests/page/check_page.py BUNDLE IMAGE... --out FOLDER

Needs chromium, chromedriver and selenium. Every image is segmented by `topseg serve`, by the page's
engine in the browser and by Python; the shares of equal pixels go to the benchmarks' results, and
pictures of the page (desktop and phone, light and dark) to the folder.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from browser import Browser, service

from topseg.bundle.bundle import read_bundle
from topseg.inference.predictor import Predictor
from topseg.media.drawing import picture_jpeg, picture_png
from topseg.media.images import read_image
from topseg.runtimes.registry import open_runtime

SCREENS = {"desktop": (1360, 860, 1), "phone": (390, 844, 2)}


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    from models import write_result

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(open_runtime(read_bundle(given.bundle), "native"))
    with (
        service(given.bundle, "runtime=native") as address,
        tempfile.TemporaryDirectory() as folder,
    ):
        browser = Browser(Path(folder))
        try:
            files = [file for image in given.images for file in variants(image, predictor, folder)]
            rows = [compare(browser, address, predictor, file) for file in files]
            take_pictures(browser, address, files[1], given.out)
        finally:
            browser.close()
    write_result("page_masks", "One image, three places", report(rows))


def variants(image: Path, predictor: Predictor, folder: str) -> tuple[Path, Path]:
    """Write an image as a PNG of the network's size, and as a JPEG of its own."""
    pixels = read_image(image)
    rule = predictor.runtime.metadata.resize
    height, width = rule.network_size((pixels.shape[0], pixels.shape[1]))
    png, jpeg = Path(folder) / f"{image.stem}_own.png", Path(folder) / f"{image.stem}_photo.jpg"
    png.write_bytes(picture_png(cv2.resize(pixels, (width, height))))
    jpeg.write_bytes(picture_jpeg(pixels))
    return png, jpeg


def compare(browser: Browser, address: str, predictor: Predictor, image: Path) -> dict[str, Any]:
    """Segment one image in three places."""
    browser.device(1360, 860)
    browser.open(address)
    masks = {"python": predictor(image).mask}
    times = {}
    for name in ("server", "browser"):
        browser.engine(name)
        for _ in range(2):  # the first time with the engine's start
            browser.segment(image)
        masks[name] = browser.mask()
        times[name] = browser.text("#time-total")
    return {
        "image": image.name,
        "size": "x".join(map(str, masks["python"].shape)),
        "service_equals_python": float(np.mean(masks["server"] == masks["python"])),
        "browser_equals_service": float(np.mean(masks["browser"] == masks["server"])),
        "times": times,
        "engine": browser.text("#engine-note"),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Put the shares of equal pixels into a table."""
    lines = [
        "| image | size | service = Python | browser = service | by the service | in the browser |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        shares = [f"{row[key]:.4%}" for key in ("service_equals_python", "browser_equals_service")]
        cells = [row["image"], row["size"], *shares, *row["times"].values()]
        lines.append(f"| {' | '.join(cells)} |")
    note = f"Headless Chromium. The engine in the browser: {rows[-1]['engine']} "
    note += "Times are the page's own, from the file to the painted mask."
    return "\n".join([*lines, "", note])


def take_pictures(browser: Browser, address: str, image: Path, out: Path) -> None:
    """Show the page empty, with a mask and with the divider, on every screen."""
    for screen, (width, height, scale) in SCREENS.items():
        for dark in (False, True):
            name = f"{screen}_{'dark' if dark else 'light'}"
            browser.device(width, height, dark=dark, scale=scale)
            browser.open(address)
            browser.until("[...document.querySelectorAll('#samples img')].every((i) => i.complete)")
            browser.driver.save_screenshot(str(out / f"{name}_empty.png"))
            browser.engine("browser")
            browser.segment(image.resolve())
            browser.driver.save_screenshot(str(out / f"{name}_mask.png"))
            browser.click("#views [value=compare]")
            browser.driver.save_screenshot(str(out / f"{name}_compare.png"))


if __name__ == "__main__":
    main()
