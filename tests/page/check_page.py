"""Look at the page at length: masks of both engines beside Python's, and pictures of the page.

    python tests/page/check_page.py BUNDLE IMAGE... --out FOLDER

Needs chromium, chromedriver, selenium and the in-browser engine (see docs/page.md). Every image is
segmented by `topseg serve`, by the network in the browser and by Python; the shares of equal pixels
go to the benchmarks' results, and pictures of the page (desktop and phone, light and dark) to the
folder.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from browser import Browser, service

from topseg.bundle import read_bundle
from topseg.predict import Predictor
from topseg.runtimes import open_runtime

SCREENS = {"desktop": (1360, 860, 1), "phone": (390, 844, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    bundle = read_bundle(given.bundle)
    predictor = Predictor(open_runtime(bundle, "onnx"))
    with (
        service({given.bundle.name: bundle}) as address,
        tempfile.TemporaryDirectory() as downloads,
    ):
        browser = Browser(Path(downloads))
        try:
            rows = [compare(browser, address, predictor, image) for image in given.images]
            take_pictures(browser, address, given.images[0], given.out)
        finally:
            browser.close()
    (given.out / "page.json").write_text(json.dumps(rows, indent=2) + "\n")
    worst = min(row["browser_equals_service"] for row in rows)
    print(f"{len(rows)} images, the browser's masks equal the service's on {worst:.4%} or more")


def compare(browser: Browser, address: str, predictor: Predictor, image: Path) -> dict[str, Any]:
    """Segment one image in three places."""
    browser.device(1360, 860)
    browser.open(address)
    masks = {"python": predictor(image).mask}
    times: dict[str, Any] = {}
    for name in ("server", "browser"):
        browser.engine(name)
        for _ in range(2):  # the first time with the engine's start
            browser.segment(image.resolve())
        masks[name] = browser.mask()
        names, values = browser.all("#times dt"), browser.all("#times dd")
        times[name] = {n.text: v.text for n, v in zip(names, values, strict=True)}
    row = {
        "image": image.name,
        "size": list(masks["python"].shape),
        "engine": browser.text("#engine-note"),
        "service_equals_python": float(np.mean(masks["server"] == masks["python"])),
        "browser_equals_service": float(np.mean(masks["browser"] == masks["server"])),
        "times": times,
    }
    print(json.dumps(row))
    return row


def take_pictures(browser: Browser, address: str, image: Path, out: Path) -> None:
    """Show the page empty, with a mask and with the divider, on every screen."""
    for screen, (width, height, scale) in SCREENS.items():
        for dark in (False, True):
            name = f"{screen}_{'dark' if dark else 'light'}"
            browser.device(width, height, dark=dark, scale=scale)
            browser.open(address)
            browser.until("[...document.querySelectorAll('#samples img')].every((i) => i.complete)")
            browser.driver.save_screenshot(str(out / f"{name}_empty.png"))
            browser.segment(image.resolve())
            browser.driver.save_screenshot(str(out / f"{name}_mask.png"))
            browser.click("#views [value=compare]")
            browser.driver.save_screenshot(str(out / f"{name}_compare.png"))


if __name__ == "__main__":
    main()
