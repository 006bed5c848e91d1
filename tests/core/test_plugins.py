"""Names lead to built-in records, installed entry points or, where trusted, import paths."""

from importlib.metadata import EntryPoint

import pytest

from topseg.core import plugins
from topseg.core.errors import InputError
from topseg.core.plugins import known, look_up

TABLE = {"one": 1, "two": 2}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "three": EntryPoint("three", "sys:maxsize", "topseg.numbers"),
        "text": EntryPoint("text", "sys:version", "topseg.numbers"),
        "gone": EntryPoint("gone", "no_such_package:x", "topseg.numbers"),
        "one": EntryPoint("one", "sys:version", "topseg.numbers"),
    }
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: points)


@pytest.mark.usefixtures("installed")
class TestInstalled:
    def test_entry_point_is_found_after_the_table(self) -> None:
        assert look_up("numbers", "three", TABLE, int) > 2
        assert look_up("numbers", "one", TABLE, int) == 1
        assert known("numbers", TABLE) == ("one", "two", "gone", "text", "three")

    def test_other_type_is_rejected(self) -> None:
        with pytest.raises(InputError, match="'text' is a str, expected a int"):
            look_up("numbers", "text", TABLE, int)

    def test_package_that_does_not_import_is_named(self) -> None:
        with pytest.raises(InputError, match=r"'gone' cannot be imported.*no_such_package"):
            look_up("numbers", "gone", TABLE, int)


def test_import_path_counts_only_where_trusted() -> None:
    assert look_up("numbers", "sys:maxsize", TABLE, int, trusted=True) > 2
    with pytest.raises(InputError, match="import path, which counts only in a recipe"):
        look_up("numbers", "sys:maxsize", TABLE, int)
    with pytest.raises(InputError, match="cannot be imported"):
        look_up("numbers", "sys:nothing", TABLE, int, trusted=True)
    with pytest.raises(InputError, match="cannot be imported"):
        look_up("numbers", ":x", TABLE, int, trusted=True)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="numbers: no 'on', did you mean 'one'"):
        look_up("numbers", "on", TABLE, int)
