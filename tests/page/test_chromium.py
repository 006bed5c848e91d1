"""The page in headless Chromium, with the service and with the network in the browser itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, Browser, service, static
from numpy.typing import NDArray

from topseg.bundle.bundle import Bundle
from topseg.inference.predictor import Predictor
from topseg.inference.upsample import upsample_argmax
from topseg.media.drawing import picture_png
from topseg.runtimes.registry import open_runtime
from topseg.serve.page.files import has_ort, write_page

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium is not installed")
with_ort = pytest.mark.skipif(
    not has_ort(), reason="onnxruntime-web is not installed beside the page"
)


@pytest.fixture(scope="module")
def address(exported: Bundle) -> Iterator[str]:
    with service(exported.folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Browser:
    """The page, just opened, on a desktop's screen."""
    browser.device(1360, 860)
    browser.open(address)
    return browser


@pytest.fixture
def picture(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A PNG of the network's own size, 128 x 160."""
    path = tmp_path / "photo.png"
    path.write_bytes(picture_png(np.resize(photo, (128, 160, 3))))
    return path


def expected(bundle: Bundle, picture: Path) -> NDArray[Any]:
    return Predictor(open_runtime(bundle, "onnx", threads=1))(picture).mask


def test_mask_of_the_service(page: Browser, picture: Path, exported: Bundle) -> None:
    page.engine("server")
    page.segment(picture)
    np.testing.assert_array_equal(page.mask(), expected(exported, picture))
    stages = {node.text for node in page.all("#times dt")}
    assert {"decode", "network", "transfer", "paint"} <= stages


def test_mask_of_the_browser_is_that_of_the_service(
    page: Browser, picture: Path, exported: Bundle
) -> None:
    page.engine("browser")
    assert "never leave" in page.text("#promise")
    page.segment(picture)
    assert (page.mask() == expected(exported, picture)).mean() >= 0.999
    assert "topseg's engine, WebAssembly" in page.text("#engine-note")


def isolated(_: str) -> dict[str, str]:
    """Headers of a web host that isolates the page itself."""
    return {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    }


def note_and_mask(browser: Browser, picture: Path) -> tuple[str, NDArray[Any]]:
    browser.engine("browser")
    browser.segment(picture)
    return browser.text("#engine-note"), browser.mask()


def test_service_worker_isolates_the_page_so_that_it_has_threads(
    browser: Browser, exported: Bundle, picture: Path, tmp_path: Path
) -> None:
    write_page({"golden": exported}, tmp_path / "web")
    with static(tmp_path / "web") as address:
        found = []
        for visit in range(3):
            browser.open(address)
            assert browser.run("return crossOriginIsolated") is (visit > 0)
            found.append(note_and_mask(browser, picture))
            browser.run("await navigator.serviceWorker.ready")
    assert "1 thread." in found[0][0]
    several = browser.run("return navigator.hardwareConcurrency") > 1
    for note, mask in found[1:]:
        assert ("threads." in note) is several
        np.testing.assert_array_equal(mask, found[0][1])


def test_page_whose_workers_may_not_start_has_one_thread(
    browser: Browser, exported: Bundle, picture: Path, tmp_path: Path
) -> None:
    write_page({"golden": exported}, tmp_path / "web")

    def forbidding(path: str) -> dict[str, str]:
        policy = {"Content-Security-Policy": "worker-src 'none'"} if "worker.js" in path else {}
        return isolated(path) | policy

    with static(tmp_path / "web", forbidding) as address:
        browser.open(address)
        assert browser.run("return crossOriginIsolated")
        note, mask = note_and_mask(browser, picture)
    assert "1 thread." in note
    assert (mask == expected(exported, picture)).mean() >= 0.999


def test_models_and_engines_side_by_side_keep_their_masks(
    browser: Browser, exported: Bundle, tmp_path: Path
) -> None:
    write_page({"golden": exported}, tmp_path / "web")
    script = """
        const { Engine } = await import("./engine/index.js");
        const get = async (name) => (await fetch(name)).arrayBuffer();
        const metadata = new Uint8Array(await get("models/golden/metadata.json"));
        const weights = new Uint8Array(await get("models/golden/weights.safetensors"));
        const picture = ([width, height]) => {
          const data = new Uint8Array(3 * width * height);
          return { data: data.map((_, i) => (i * i * 31) >> 9), width, height };
        };
        const sizes = [[160, 96], [97, 211], [320, 256]], seen = new Set();
        const plain = await Engine.load(await get("engine/topseg_relaxed.wasm"));
        const engines = await Promise.all([plain, Engine.load(), Engine.load()]);
        const opened = (engine) => engine.open(metadata, weights);
        const models = [...engines.map(opened), ...engines.map(opened)];
        for (let turn = 0; turn < 2; turn++)
          for (const size of sizes)
            for (const model of models) seen.add(size + ":" + model.mask(picture(size)).join());
        return [engines.map((one) => one.threads), seen.size];
    """
    with static(tmp_path / "web", isolated) as address:
        browser.open(address)
        threads, masks = browser.run(script)
    assert threads[0] == 1
    assert threads[1] == threads[2] == min(browser.run("return navigator.hardwareConcurrency"), 4)
    assert masks == 3  # one a size, whatever the engine and the turn


@with_ort
def test_mask_of_onnxruntime_web_is_that_of_the_service(
    page: Browser, picture: Path, exported: Bundle
) -> None:
    page.driver.execute_script("document.querySelector('#gpu').hidden = false")
    gpu = page.all("#engines [value=gpu]")[0]
    if not gpu.is_enabled():
        pytest.skip("this browser has no WebGPU, which the choice is for")
    page.engine("gpu")
    page.segment(picture)
    assert (page.mask() == expected(exported, picture)).mean() >= 0.999
    assert "onnxruntime-web" in page.text("#engine-note")


def test_tail_in_the_browser_equals_pythons(page: Browser) -> None:
    logits = np.random.default_rng(0).normal(0, 4, (30, 8, 9)).astype(np.float32)
    script = """
        const { Engine } = await import("./engine/index.js");
        const engine = await Engine.load();
        return Array.from(engine.upsampleArgmax(Float32Array.from(a[0]), [30, 8, 9], [50, 70]));
    """
    mask = page.run(script, logits.ravel().tolist())
    np.testing.assert_array_equal(np.reshape(mask, (50, 70)), upsample_argmax(logits, (50, 70)))


def test_legend_switches_classes(page: Browser, picture: Path) -> None:
    page.segment(picture)
    shares = [float(node.text.strip("<% ")) for node in page.all("#legend .share")]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    assert page.run(PAINTED) == 128 * 160
    page.click("#legend input")  # the largest class off
    hidden = 1 - page.run(PAINTED) / (128 * 160)
    assert 100 * hidden == pytest.approx(shares[0], abs=0.06)
    page.click("#show-all")
    assert page.run(PAINTED) == 128 * 160
    page.driver.execute_script("document.querySelector('#legend .only').focus()")
    page.all("#legend .only")[0].send_keys("\ue007")  # by the keyboard
    assert 100 * page.run(PAINTED) / (128 * 160) == pytest.approx(shares[0], abs=0.06)


PAINTED = """
    const canvas = document.querySelector("#overlay");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length;
"""


def test_opacity_and_divider_follow_the_keyboard(page: Browser, picture: Path) -> None:
    page.segment(picture)
    style = "return getComputedStyle(document.querySelector('#overlay'))"
    page.all("#opacity")[0].send_keys("\ue011")  # Home
    assert page.driver.execute_script(f"{style}.opacity") == "0"
    assert page.text("#opacity-value") == "0 %"
    page.click("#views [value=compare]")
    page.all("#divider")[0].send_keys("\ue011", *["\ue014"] * 10)  # ten steps to the right
    assert page.driver.execute_script(f"{style}.clipPath") == "inset(0px 0px 0px 1%)"


def test_overlay_is_downloaded(page: Browser, picture: Path) -> None:
    page.segment(picture)
    assert page.mask("overlay").shape[:2] == (128, 160)


def test_pasted_and_dropped_images_are_taken(page: Browser) -> None:
    script = """
        const [sample] = document.querySelectorAll("#samples img");
        const blob = await (await fetch(sample.src)).blob();
        const data = new DataTransfer();
        data.items.add(new File([blob], "scene.png", { type: "image/png" }));
        const event = a[0] === "paste"
          ? new ClipboardEvent("paste", { clipboardData: data })
          : new DragEvent("drop", { dataTransfer: data });
        document.body.dispatchEvent(new event.constructor(a[0], {
          clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true }));
    """
    for way in ("paste", "drop"):
        page.forget()
        page.run(script, way)
        page.shown()


def test_camera_makes_masks_until_it_is_stopped(page: Browser) -> None:
    for _ in range(2):
        page.forget()
        page.click("#camera")
        page.shown()
        assert page.all("#camera")[0].get_attribute("aria-pressed") == "true"
        page.click("#camera")
        assert page.all("#camera")[0].get_attribute("aria-pressed") == "false"


def test_what_is_no_image_is_explained(page: Browser, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    page.all("#file")[0].send_keys(str(broken))
    page.until("!document.querySelector('#alert').hidden")
    assert "broken.png" in page.text("#alert")


def test_refusals_of_the_service_are_shown(page: Browser, picture: Path) -> None:
    page.engine("server")
    page.driver.execute_script(
        'window.fetch = async () => new Response(\'{"error": "too large"}\', { status: 413 })'
    )
    page.all("#file")[0].send_keys(str(picture))
    page.until("!document.querySelector('#alert').hidden")
    assert page.text("#alert") == "too large"


@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_a_phone(page: Browser, picture: Path, dark: bool) -> None:
    page.device(390, 844, dark=dark)
    for _ in range(2):
        width = page.driver.execute_script("return document.documentElement.scrollWidth")
        assert width == 390
        page.segment(picture)
    assert page.driver.execute_script(READABLE) == []


READABLE = """
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (color) => {
      const [r, g, b] = color.slice(0, 3).map((value) => {
        value /= 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
      for (; node; node = node.parentElement) {
        const color = rgb(getComputedStyle(node).backgroundColor);
        if (color[3] !== 0) return color;
      }
    };
    return [...document.querySelectorAll("h1, h2, label, span, button, dt, dd, p, output, strong")]
      .filter((node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
      .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3))
      .filter((node) => !node.closest(".hidden, #frame") && !node.matches(":disabled + span"))
      .map((node) => {
        const both = [rgb(getComputedStyle(node).color), ground(node)].map(light);
        const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        return [node.textContent.trim(), contrast];
      })
      .filter(([text, contrast]) => text && contrast < 4.5);
"""


def test_engines_are_switched_beside_a_picture(page: Browser, picture: Path) -> None:
    page.segment(picture)
    for name in ("browser", "server"):
        page.forget()
        page.engine(name)
        page.shown()
        assert page.driver.execute_script("return document.body.dataset.result") == name


def test_page_asks_for_the_key_of_its_service(
    browser: Browser, exported: Bundle, picture: Path
) -> None:
    with service(exported.folder, "api_keys=[right-key]") as address:
        browser.device(1360, 860)
        browser.open(address)
        browser.driver.execute_script("window.prompt = () => 'right-key'")
        browser.segment(picture)
        np.testing.assert_array_equal(browser.mask(), expected(exported, picture))


def test_page_in_a_folder_works_offline_once_loaded(
    browser: Browser, exported: Bundle, picture: Path, tmp_path: Path
) -> None:
    write_page({"golden": exported}, tmp_path / "web")
    with static(tmp_path / "web") as address:
        browser.device(1360, 860)
        browser.open(address)
        assert not browser.all("#engines [value=server]")[0].is_enabled()
        browser.run("await navigator.serviceWorker.ready")
        browser.open(address)  # now under the service worker's eyes
        browser.segment(picture)
        online = browser.mask()
        asked = browser.run("return performance.getEntriesByType('resource').map((e) => e.name)")
        assert len(asked) > 10
        assert all(one.startswith((address, "blob:", "data:")) for one in asked)
    browser.open(address)  # nobody listens there any more
    browser.segment(picture)
    assert (browser.mask() == online).mean() >= 0.999
