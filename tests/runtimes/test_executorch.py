"""What is ExecuTorch's own: its one pool of threads, and its one type of weights."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from golden.make_blocks import SIZE, blocks_network
from topseg.bundle.bundle import Bundle
from topseg.bundle.metadata import Architecture, Metadata
from topseg.core.errors import InputError
from topseg.exporting.graphs.executorch import write_executorch
from topseg.runtimes.registry import open_runtime


def test_threads_reach_the_pool(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    metadata = Metadata(
        architecture=Architecture(name="blocks", num_classes=3, in_channels=3),
        classes=("red", "green", "blue"),
        palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        graphs={"executorch": write_executorch(blocks_network(), tmp_path)},
    )
    bundle = Bundle(tmp_path, metadata)
    images = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    answers = [open_runtime(bundle, "executorch", threads=count)(images) for count in (1, 2)]
    from executorch.extension.pybindings import portable_lib

    assert portable_lib._threadpool_get_thread_count() == 2
    np.testing.assert_array_equal(*answers)
    open_runtime(bundle, "executorch")
    assert portable_lib._threadpool_get_thread_count() == 2


def test_half_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="executorch: got precision fp16, expected fp32"):
        write_executorch(SimpleNamespace(precision="fp16"), tmp_path)
