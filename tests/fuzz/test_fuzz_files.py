"""The short form of fuzzing files."""

import pytest
from fuzz_files import Surface, fuzz, surfaces

KINDS = surfaces()


@pytest.mark.parametrize("surface", KINDS, ids=[one.name for one in KINDS])
def test_a_mutated_file_is_read_or_refused(surface: Surface) -> None:
    found = fuzz(surface, 60, seed=1)
    assert found.get("read", 0) + found["refused"] == 60
    assert found["refused"]  # some of them are damaged
