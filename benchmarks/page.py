"""Image to mask in a browser: topseg's engine beside onnxruntime-web, in one run.

    python benchmarks/page.py [--images 30]

Needs chromium, chromedriver, selenium, and onnxruntime-web beside the page (docs/page.md). Both
engines run in the page's own worker in headless Chromium, on one thread, in turn image by image;
times are the worker's, from the decoded picture to the mask. The bytes are those of everything that
the page asks for until it has the mask of a sample.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "page"))

from browser import Browser

from models import untrained, write_result
from topseg.bundle.bundle import Bundle, read_bundle
from topseg.bundle.published import SHIPPED
from topseg.serve.page.files import has_ort, write_page

ENGINES = {"own": "topseg", "foreign": "onnxruntime-web"}

STAGES = ("pixels", "resize", "network", "tail")

WARM = 3
"""Pictures before those that count: the browser compiles in the meantime."""

SIZE = (480, 640)
"""Height and width of the pictures."""

# Both engines of a model in turn. a: the model's name, how many pictures, their [height, width].
RACE = """
    const [model, pictures, [height, width]] = a;
    const page = await (await fetch("page.json")).json();
    const metadata = await (await fetch(`models/${model}/metadata.json`)).json();
    const { engine, ort } = page;
    const [weights, graph] = [metadata.weights, metadata.graphs.onnx.file].map(
      (file) => `models/${model}/${file}?v=${metadata.files[file].slice(0, 16)}`);
    const networks = {
      own: { metadata, engine, weights },
      foreign: { metadata, engine, graph, ort },
    };
    const ask = (worker, message) => new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.progress) return;
        if (data.error) reject(new Error(data.error)); else resolve(data);
      };
      worker.postMessage(message);
    });
    const workers = {}, notes = {}, times = {}, equal = [];
    for (const [name, network] of Object.entries(networks)) {
      workers[name] = new Worker("worker.js", { type: "module" });
      notes[name] = (await ask(workers[name], { load: network })).note;
      times[name] = [];
    }
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    const sources = await Promise.all([...document.querySelectorAll("#samples img")].map(
      async ({ src }) => createImageBitmap(await (await fetch(src)).blob())));
    for (let i = 0; i < pictures; i++) {
      context.drawImage(sources[i % sources.length], -i, -i, width + 2 * i, height + 2 * i);
      const masks = [];
      for (const [name, worker] of Object.entries(workers)) {
        const { mask, stages } = await ask(worker, { bitmap: await createImageBitmap(canvas) });
        times[name].push(Object.fromEntries(stages));
        masks.push(mask);
      }
      const same = masks[0].filter((value, at) => value === masks[1][at]);
      equal.push(same.length / masks[0].length);
    }
    Object.values(workers).forEach((worker) => worker.terminate());
    return { notes, times, equal };
"""


@contextmanager
def hosted(folder: Path, sent: list[int]) -> Iterator[str]:
    """Host a folder, note the bytes of each answer, and return its address."""

    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            sent.append(len(content))
            outputfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def loaded(browser: Browser, folder: Path) -> list[int]:
    """Make the mask of one sample on a page, and return the bytes of each answer it got."""
    sent: list[int] = []
    with hosted(folder, sent) as address:
        browser.open(address)
        browser.until("[...document.querySelectorAll('#samples img')].every((i) => i.complete)")
        browser.forget()
        browser.click("#samples button")
        browser.shown()
        return list(sent)


def race(browser: Browser, address: str, model: str, images: int) -> list[str]:
    """Let both engines segment the same pictures, and return their rows of the table."""
    browser.open(address)
    browser.driver.set_script_timeout(300)
    found = browser.run(RACE, model, images, SIZE)
    assert isinstance(found, dict), found
    rows, totals = [], {}
    for name, label in ENGINES.items():
        laps = found["times"][name][WARM:]
        sums = [sum(lap.values()) for lap in laps]
        totals[name] = statistics.median(sums)
        middle = {stage: statistics.median(lap[stage] for lap in laps) for stage in laps[0]}
        cells = [f"{middle[stage]:.1f}" for stage in STAGES]
        rows.append([model, label, *cells, f"{totals[name]:.1f}", f"{min(sums):.1f}"])
        assert "1 thread." in found["notes"][name]
    ratio = totals["foreign"] / totals["own"]
    rows[0] += [f"{ratio:.2f}x", f"{statistics.mean(found['equal']):.4%}"]
    rows[1] += ["", ""]
    return [f"| {' | '.join(row)} |" for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=30)
    given = parser.parse_args()
    if not has_ort():
        sys.exit("onnxruntime-web is not beside the page: see docs/page.md")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shipped = read_bundle(next(iter(SHIPPED.values())))
        ade = untrained("topformer_tiny", folder, ("onnx",))
        models: dict[str, Bundle] = {"tiny-11-classes": shipped, "tiny-150-classes": ade}
        write_page(models, folder / "both")
        browser = Browser(folder)
        try:
            rows: list[str] = []
            for model in models:  # each at an address of its own: no isolation, so no threads
                with hosted(folder / "both", []) as address:
                    rows += race(browser, address, model, given.images)
            write_page({"tiny": bare(shipped)}, folder / "own")
            sent = loaded(browser, folder / "own")
        finally:
            browser.close()
    head = " | ".join(
        ("model", "engine", *STAGES, "image to mask", "least", "faster", "equal"),
    )
    notes = [
        f"Milliseconds, medians of {given.images - WARM} pictures of {SIZE[0]}x{SIZE[1]}, and the",
        "least sum; one thread, headless Chromium; pixels: the picture from a canvas.",
        "",
        "Loaded until the first mask is there (Tiny, 11 classes, float16), the service worker's",
        f"copies included: {sum(sent) / 1e6:.2f} MB in {len(sent)} answers.",
    ]
    write_result(
        "page",
        "Image to mask in a browser",
        "\n".join([f"| {head} |", "|" + "---|" * 10, *rows, "", *notes]),
    )


def bare(bundle: Bundle) -> Bundle:
    """A bundle without its graphs, as `--formats web` makes it."""
    return dataclasses.replace(bundle, metadata=dataclasses.replace(bundle.metadata, graphs={}))


if __name__ == "__main__":
    main()
