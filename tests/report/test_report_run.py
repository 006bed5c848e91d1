from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from topseg.core.errors import InputError
from topseg.models import create_model
from topseg.report.run import count_parameters, read_log, training_seconds


def test_parameters_are_those_that_are_trained(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = create_model("topformer_tiny", 9)
    tensors = {name: np.zeros(t.shape, np.float32) for name, t in model.state_dict().items()}
    save_file(tensors, tmp_path / "weights.safetensors")
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(tmp_path / "weights.safetensors") == expected


def test_training_time_adds_up_over_the_log() -> None:
    log = [
        {"step": 10, "images_per_s": 20.0},
        {"step": 10, "miou": 0.5},
        {"step": 30, "images_per_s": 40.0},
    ]
    assert training_seconds(log, batch_size=8) == 10 * 8 / 20 + 20 * 8 / 40
    assert training_seconds([], batch_size=8) == 0


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"log\.jsonl: cannot be read as a log"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": ')  # where a kill tore a line
    assert read_log(tmp_path) == [{"step": 1}]
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": \n')
    with pytest.raises(InputError, match=r"log\.jsonl: cannot be read as a log"):
        read_log(tmp_path)
