"""The short form of fuzzing topseg-cli, without sanitizers."""

import sys
from pathlib import Path

from builds import make

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))
from fuzz_cli import fuzz


def test_mutated_images_and_bundles_do_no_harm() -> None:
    found = fuzz(make("static").folder / "topseg-cli", images=150, bundles=40, seed=1)
    for kind, number in (("images", 150), ("bundles", 40)):
        assert found[kind]["masks"] + found[kind]["refused"] == number
        assert found[kind]["masks"] > 0  # some are still whole
        assert found[kind]["refused"] > 0  # and some are not
