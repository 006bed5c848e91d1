"""A lock belongs to one process and ends with it."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from topseg.core import locks
from topseg.core.errors import InputError
from topseg.core.locks import hold

HOLDER = """
import sys
from pathlib import Path
from topseg.core.locks import hold
with hold(Path(sys.argv[1]), "wait", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_holds_and_others_are_told_who(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        owner = rf"run: in use by another process \({holder.pid}\); wait"
        with pytest.raises(InputError, match=owner), hold(path, "wait", pytest.fail):
            pass
        holder.kill()
    with hold(path, "wait", pytest.fail):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_in_one_process_counts_too(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        hold(path, "wait", pytest.fail),
        pytest.raises(InputError, match="in use by"),
        hold(path, "wait", pytest.fail),
    ):
        pass
    with hold(path, "wait", pytest.fail):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is inherited here")
def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    """As the loader's processes of a training that was killed."""
    path, forked = tmp_path / ".lock", multiprocessing.get_context("fork")
    started, event = forked.Event(), forked.Event()

    def work() -> None:
        started.set()
        event.wait()

    with hold(path, "wait", pytest.fail):
        child = forked.Process(target=work)
        child.start()
        started.wait()
    try:
        with hold(path, "wait", pytest.fail):
            assert child.is_alive()
    finally:
        event.set()
        child.join()


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(file: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "_lock", none)
    told: list[str] = []
    with hold(tmp_path / ".lock", "wait", told.append):
        pass
    (line,) = told
    assert "has no locks (Operation not supported); see to it that only one process" in line


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / ".lock"
    with pytest.raises(InputError, match="cannot write here"), hold(path, "wait", pytest.fail):
        pass
