"""Modules of version 0.1 can be imported by their former names."""

import importlib
import sys

import pytest

from topseg.core.moved import MOVED, MovedFinder


@pytest.mark.parametrize("former", sorted(MOVED))
def test_former_name_gives_the_module_of_today(former: str) -> None:
    pytest.importorskip("torch", reason="some of the modules need torch")
    sys.modules.pop(f"topseg.{former}", None)
    with pytest.warns(DeprecationWarning, match=rf"topseg.{former} is now topseg.{MOVED[former]}"):
        found = importlib.import_module(f"topseg.{former}")
    assert found is importlib.import_module(f"topseg.{MOVED[former]}")


def test_other_names_are_left_alone() -> None:
    assert MovedFinder().find_spec("topseg.nothing") is None
    assert MovedFinder().find_spec("other.errors") is None
