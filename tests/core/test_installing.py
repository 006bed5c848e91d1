"""Commands that install a part of the package, from where it came from."""

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from topseg.core import installing
from topseg.core.installing import here, origin, pip_install

ROOT = Path(__file__).parents[2]


def test_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert pip_install("topseg[serve]") == "pip install -e '.[serve]'"


def test_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my topseg").mkdir()
    monkeypatch.setattr(installing, "_source", lambda: ("-e ", f"{tmp_path}/my topseg[]"))
    assert pip_install("topseg[serve]") == f"pip install -e '{tmp_path}/my topseg[serve]'"
    assert here("pip install --no-deps topseg, where it is") == (
        f"pip install --no-deps -e '{tmp_path}/my topseg', where it is"
    )


def test_other_packages() -> None:
    assert pip_install("onnxruntime") == "pip install onnxruntime"
    assert here("pip install topseg-example") == "pip install topseg-example"


def test_from_an_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pyproject.toml beside the package, and nothing noted by pip."""

    class Installed:
        def read_text(self, name: str) -> None:
            return None

    place = tmp_path / "lib" / "site-packages" / "topseg" / "core" / "installing.py"
    monkeypatch.setattr(installing, "__file__", str(place))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    assert pip_install("topseg[onnx]") == "pip install 'topseg[onnx]'"
    assert here("pip install topseg") == "pip install topseg"


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        (
            {"url": "https://x.org/topseg-1.whl", "archive_info": {}},
            "topseg[] @ https://x.org/topseg-1.whl",
        ),
        (
            {"url": "https://x.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "topseg[] @ git+https://x.org/t.git@abc",
        ),
        ({"url": "file:///no/such/folder", "dir_info": {}}, "topseg[]"),
    ],
)
def test_what_pip_noted(direct: dict[str, Any], expected: str) -> None:
    assert origin(direct) == expected


def test_a_file_that_is_still_there(tmp_path: Path) -> None:
    wheel = tmp_path / "a b" / "topseg-1-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    assert origin({"url": wheel.as_uri(), "archive_info": {}}) == f"{wheel}[]"
