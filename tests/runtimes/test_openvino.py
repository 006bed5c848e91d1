"""What is OpenVINO's own: where its threads may run."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from topseg.bundle.bundle import Bundle
from topseg.runtimes.registry import open_runtime


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a thread's cores")
def test_its_thread_is_not_bound_to_a_core(exported: Bundle) -> None:
    """Engines of one thread each would all be bound to the first core."""
    pytest.importorskip("openvino")
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one core alone")
    runtime = open_runtime(exported, "openvino", threads=1)
    seen = []
    with ThreadPoolExecutor(1) as pool:  # one thread on the processor is the caller's own
        caller = pool.submit(threading.get_native_id).result()
        running = pool.submit(runtime, np.zeros((1, 256, 256, 3), np.uint8))
        while not running.done():
            seen.append(os.sched_getaffinity(caller))
    assert seen
    assert all(cores == os.sched_getaffinity(0) for cores in seen)
