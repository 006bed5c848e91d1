"""The doctor: what works is found to work, and what does not is named with its remedy."""

import dataclasses
import json

import numpy as np
import pytest

from topseg import doctor
from topseg.cli import main
from topseg.runtimes.registry import ENGINES


def test_every_engine_and_topic_is_reported() -> None:
    found = list(doctor.examine())
    assert {one.topic for one in found} >= {"versions", "processor", "engines"}
    engines = {one.name: one for one in found if one.topic == "engines"}
    assert engines.keys() == ENGINES.keys()
    assert not any(one.failed for one in found)
    assert " ms at " in engines["native"].value


def test_the_command_prints_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if not line.startswith(" ")][:3] == [
        "versions",
        "processor",
        "engines",
    ]
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"topic", "name", "value", "remedy", "failed"} == found[0].keys()


def test_an_engine_that_fails_or_differs_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = dataclasses.replace(ENGINES["native"], opener="test_doctor:fail")
    other = dataclasses.replace(ENGINES["native"], name="other", opener="test_doctor:turn")
    engines = {"native": ENGINES["native"], "broken": broken, "other": other}
    monkeypatch.setattr(doctor, "ENGINES", engines)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "wrong topseg" in text
    assert "RuntimeError: no such instruction" in text
    assert "of its pixels are the first engine's" in text


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("no such instruction\nand more")


def turn(*given: object, **options: object) -> object:
    """Open an engine whose classes are in the wrong order."""
    from topseg.runtimes.native import open_native

    inner = open_native(*given, **options)  # type: ignore[arg-type]

    class Turned:
        engine, metadata, fixed_size = "other", inner.metadata, None

        def __call__(self, images: np.ndarray) -> np.ndarray:
            return inner(images)[:, ::-1].copy()

    return Turned()
