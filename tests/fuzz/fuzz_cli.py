"""Mutated images and mutated bundles through topseg-cli, built with sanitizers.

    python tests/fuzz/fuzz_cli.py [--images 10000] [--bundles 10000] [--seed 0]

A run may end within a minute of processor time with exit code 0, 2 (the bundle) or 3 (some images),
with one line for each file that is refused and a mask for each other. What asks for more memory
than the sanitizers allow is repeated by the program without them, held to one GiB. Every case
follows from the seed and its number.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fuzz_serve import sample_images
from mutations import mutate, mutate_tree

sys.path.insert(0, str(Path(__file__).parents[1] / "native"))
from builds import ROOT, make

from topseg.bundle.bundle import read_bundle
from topseg.bundle.metadata import METADATA, WEIGHTS
from topseg.core.config import to_tree
from topseg.core.geometry import ResizeRule

SHIPPED = ROOT / "src" / "topseg" / "shipped" / "topformer-tiny-camvid"
LIMIT_SECONDS = 60
"""Processor time of a run; ten times as long may pass, on a machine that does other things."""

BATCH = 100
"""Images of one process."""

SANITIZERS = "allocator_may_return_null=1:max_allocation_size_mb=1024"
TOO_LARGE = ("AddressSanitizer: out-of-memory", "AddressSanitizer: allocation-size-too-big")
JSON = (b"[[", b"{", b"1e999", b'"\\ud800"', b"-", b"null", b"NaN")


@dataclass(frozen=True)
class Run:
    """How a process ended: exit code, lines on standard error, seconds."""

    code: int
    lines: list[str]
    seconds: float


def predict(program: Path, bundle: Path, images: Path, out: Path) -> Run:
    """Run the program and check its end."""
    words = ["predict", bundle, images, "--out", out, "--overlay", "--json"]
    environment = {**os.environ, "ASAN_OPTIONS": SANITIZERS}

    def run(program: Path, limits: Mapping[int, int]) -> subprocess.CompletedProcess[bytes]:
        def confine() -> None:
            for what, limit in limits.items():
                resource.setrlimit(what, (limit, limit))

        return subprocess.run(
            [program, *words],
            capture_output=True,
            check=False,
            env=environment,
            timeout=10 * LIMIT_SECONDS,
            preexec_fn=confine,
        )

    limits = {resource.RLIMIT_CPU: LIMIT_SECONDS}
    start = time.monotonic()
    done = run(program, limits)
    seconds = time.monotonic() - start
    if any(word.encode() in done.stderr for word in TOO_LARGE):
        plain = make("static").folder / "topseg-cli"
        done = run(plain, limits | {resource.RLIMIT_AS: 2**30})
    text = done.stderr.decode(errors="replace")
    assert done.returncode in (0, 2, 3), f"exit code {done.returncode}\n{text}"
    return Run(done.returncode, text.splitlines(), seconds)


def small_bundle() -> dict[str, bytes]:
    """The shipped bundle's files, with a rule that leaves images small."""
    bundle = read_bundle(SHIPPED)
    rule = ResizeRule(short_side=None, multiple=32, round="nearest")
    metadata = replace(bundle.metadata, resize=rule, graphs={}, recipe=None)
    return {
        METADATA: json.dumps(to_tree(metadata)).encode(),
        WEIGHTS: bundle.weights.read_bytes(),
    }


def mutate_bundle(files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Mutate the metadata, the head of the weights, or any bytes of one of them."""
    name = rng.choice(tuple(files))
    data = files[name]
    if rng.random() < 0.5:
        changed = mutate(data, rng, JSON)
    elif name == METADATA:
        changed = json.dumps(mutate_tree(json.loads(data), rng)).encode()
    else:  # a head of the right length
        end = 8 + int.from_bytes(data[:8], "little")
        head = json.dumps(mutate_tree(json.loads(data[8:end]), rng)).encode()
        changed = len(head).to_bytes(8, "little") + head + data[end:]
    return files | {name: changed}


def fuzz(program: Path, images: int, bundles: int, seed: int) -> dict[str, Counter[str]]:
    """Try everything.

    Args:
        program: topseg-cli.
        images: Mutated images, in runs of a hundred.
        bundles: Mutated bundles, each with a run of its own on one good image.
        seed: Where the mutations come from.

    Returns:
        For images and bundles how many gave a mask and how many were refused, and the slowest run
        in milliseconds.

    Raises:
        AssertionError: What must not be, with the number of the first case of the run.
    """
    found = {"images": Counter[str](), "bundles": Counter[str]()}
    samples = [file for file in sample_images() if not file.startswith(b"RIFF")]  # no WebP
    bundle = small_bundle()

    def one(kind: str, number: int, files: dict[str, bytes], pictures: list[bytes]) -> None:
        with tempfile.TemporaryDirectory() as made:
            folders = [Path(made) / name for name in ("bundle", "images", "out")]
            for folder in folders[:2]:
                folder.mkdir()
            for name, data in files.items():
                (folders[0] / name).write_bytes(data)
            for place, data in enumerate(pictures):
                (folders[1] / f"{place:03}.png").write_bytes(data)
            try:
                run = predict(program, *folders)
                masks = len(list(folders[2].glob("*.png"))) if folders[2].exists() else 0
                refused = len(pictures) - masks
                assert (run.code == 0) == (refused == 0), run
                assert len(run.lines) == (1 if run.code == 2 else refused), run
            except Exception as error:
                raise AssertionError(f"{kind} from {number} on, seed {seed}: {error}") from error
        count = found[kind]
        count["masks"] += masks
        count["refused"] += refused
        count["slowest"] = max(count["slowest"], round(1000 * run.seconds))

    for start in range(0, images, BATCH):
        numbers = range(start, min(start + BATCH, images))
        rngs = [random.Random(f"{seed} image {number}") for number in numbers]
        one("images", start, bundle, [mutate(rng.choice(samples), rng) for rng in rngs])
    for number in range(bundles):
        rng = random.Random(f"{seed} bundle {number}")
        one("bundles", number, mutate_bundle(bundle, rng), samples[4:5])
    return found


def report(found: dict[str, Counter[str]]) -> str:
    """Put the findings into words."""
    rows = ["| mutated | how many | gave a mask | refused with a line | slowest run |"]
    rows.append("|---|---|---|---|---|")
    for kind, count in found.items():
        both = count["masks"] + count["refused"]
        cells = [kind, both, count["masks"], count["refused"], f"{count['slowest']} ms"]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + (
        "\n\nThe preset `sanitize` (addresses, leaks, undefined behaviour) found nothing; every "
        "run ended by itself with exit code 0, 2 or 3."
    )


def main() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from models import write_result

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--bundles", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = fuzz(make("sanitize").folder / "topseg-cli", **vars(given))
    write_result("cli_fuzz", "topseg-cli under mutated images and bundles", report(found))


if __name__ == "__main__":
    main()
