"""What the benchmarks share: bundles of untrained networks, and the results folder."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from topseg.bundle.bundle import Bundle, write_metadata
from topseg.bundle.metadata import WEIGHTS, Architecture, Metadata
from topseg.core.files import write_text
from topseg.core.labels import standard_set
from topseg.evaluation.benchmark import describe_machine
from topseg.exporting.run import export, proof_images
from topseg.models import create_model

# As the command line does, for the processes that the benchmarks start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RESULTS = Path(__file__).resolve().parent / "results"


def untrained(name: str, folder: Path, formats: Sequence[str] = ("onnx", "openvino")) -> Bundle:
    """A bundle of 150 classes with random weights: times do not depend on the weights."""
    torch.manual_seed(0)
    labels, _ = standard_set("ade20k")
    plain = folder / f"{name}-weights"
    plain.mkdir()
    save_file(create_model(name, 150).state_dict(), plain / WEIGHTS)
    metadata = Metadata(
        architecture=Architecture(
            name=name, num_classes=150, in_channels=3, options={"pool": "adaptive"}
        ),
        classes=labels.names,
        palette=labels.palette,
    )
    bundle = write_metadata(plain, metadata)
    images = proof_images(metadata, None)
    return export(bundle, folder / name, formats, images=images)


def write_result(name: str, title: str, body: str) -> None:
    """Print a result and keep it with the machine and the command that repeats it."""
    script = Path(sys.argv[0]).resolve().relative_to(RESULTS.parents[1])
    command = " ".join(["python", str(script), *sys.argv[1:]])
    text = f"# {title}\n\nMachine: {describe_machine()}.\nCommand: `{command}`.\n\n{body.strip()}\n"
    print(text)
    write_text(RESULTS / f"{name}.md", text)
