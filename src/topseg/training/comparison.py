"""Comparison: whether two runs are equal bit by bit, step by step.

For changes that must not change a result: the same recipe before and after, another number of
loader processes, a run that was stopped and resumed against one that was not.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from topseg.core.errors import InputError
from topseg.training.checkpoint import STATE, list_checkpoints, load_checkpoint

WALL_CLOCK = frozenset({"images_per_s", "data_wait", "memory_mb"})
_STATE = ("step", "evaluated", "top", "stale", "losses", "scaler")


def compare_runs(a: Path, b: Path) -> list[str]:
    """List where two runs differ.

    Compared are the logs, figures of wall-clock time and memory aside, and every tensor and number
    of the checkpoints that both still have.

    Args:
        a: A run folder.
        b: Another one.

    Returns:
        One line a difference; none: the runs are equal bit by bit.

    Raises:
        InputError: One is no run, a checkpoint is damaged, or they have no checkpoint in common.
    """
    differences = [
        f"log.jsonl: line {number}: {x} in {a}, {y} in {b}"
        for number, (x, y) in enumerate(zip_longest(_log(a), _log(b)), start=1)
        if x != y
    ]
    names = _checkpoints(a) & _checkpoints(b)
    if not names:
        raise InputError(f"{a} and {b}: no checkpoint in common; compare runs of as many steps")
    for name in sorted(names):
        differences += _compare_checkpoints(a / "checkpoints" / name, b / "checkpoints" / name)
    return differences


def _compare_checkpoints(a: Path, b: Path) -> list[str]:
    x, y = load_checkpoint(a), load_checkpoint(b)
    differences = [
        f"{a.name}/{STATE}: {key}: {getattr(x.state, key)} and {getattr(y.state, key)}"
        for key in _STATE
        if getattr(x.state, key) != getattr(y.state, key)
    ]
    for file in sorted(x.tensors.keys() | y.tensors.keys()):
        of_a, of_b = x.tensors.get(file, {}), y.tensors.get(file, {})
        unequal = [
            name
            for name in sorted(of_a.keys() | of_b.keys())
            if name not in of_a or name not in of_b or not torch.equal(of_a[name], of_b[name])
        ]
        if unequal:
            more = f" and {len(unequal) - 1} more tensors" if unequal[1:] else ""
            differences.append(f"{a.name}/{file}.safetensors: {unequal[0]}{more}")
    return differences


def _log(run: Path) -> list[dict[str, Any]]:
    """Read a log without its times; a line that was cut off when the run was killed is left out."""
    try:
        text = (run / "log.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
    except FileNotFoundError:
        raise InputError(f"{run}: no log.jsonl in it; give a run folder") from None
    except ValueError as error:
        raise InputError(f"{run / 'log.jsonl'}: cannot be read as a log ({error})") from None
    return [{k: v for k, v in line.items() if k not in WALL_CLOCK} for line in lines]


def _checkpoints(run: Path) -> set[str]:
    return {folder.name for folder in list_checkpoints(run)}
