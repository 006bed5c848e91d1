"""The short form of fuzzing files."""

from pathlib import Path

import pytest
from fuzz_files import Surface, fuzz, surfaces, write

KINDS = surfaces()


@pytest.mark.parametrize("surface", KINDS, ids=[one.name for one in KINDS])
def test_a_whole_file_is_read(surface: Surface, tmp_path: Path) -> None:
    for name in surface.mutations:
        write(tmp_path / "in", surface.files)
        surface.read(tmp_path / "in", tmp_path / "in" / name)


@pytest.mark.parametrize("surface", KINDS, ids=[one.name for one in KINDS])
def test_a_mutated_file_is_read_or_refused(surface: Surface) -> None:
    found = fuzz(surface, 60, seed=1)
    assert found.get("read", 0) + found["refused"] == 60
    assert found["refused"]  # some of them are damaged
