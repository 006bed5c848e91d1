"""What is MNN's own: several engines in several threads, and nothing on the terminal."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.core.errors import InputError
from topseg.runtimes.registry import open_runtime

pytest.importorskip("MNN")


def test_engines_in_threads_do_not_touch_each_other(exported: Bundle) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 64, 96, 3), np.uint8)
    expected = [open_runtime(exported, "mnn", threads=1)(image) for image in images]
    engines = [open_runtime(exported, "mnn", threads=1) for _ in images]
    with ThreadPoolExecutor(len(images)) as pool:
        found = list(pool.map(lambda engine, image: engine(image), engines, images))
    np.testing.assert_array_equal(found, expected)


def test_it_is_quiet(exported: Bundle) -> None:
    code = (
        "from topseg.bundle.bundle import read_bundle\n"
        "from topseg.runtimes.registry import open_runtime\n"
        f"from pathlib import Path; bundle = read_bundle(Path({str(exported.folder)!r}))\n"
        "open_runtime(bundle, 'mnn', threads=1); print('done')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "done\n"


def test_only_the_processor_is_offered(exported: Bundle) -> None:
    with pytest.raises(InputError, match="device cuda: the mnn runtime has only 'cpu'"):
        open_runtime(exported, "mnn", device="cuda")
