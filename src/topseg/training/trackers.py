"""Trackers: services that a run's figures and pictures go to, beside its own log.

Each is a thin adapter; its package is optional and imported only here. What identifies a run at the
service stands in a small file of the run folder, so that a resumed run goes on there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from topseg.core.errors import InputError, did_you_mean
from topseg.core.files import write_text
from topseg.media.drawing import Picture


class Tracker(Protocol):
    """Takes what a run has to show."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take figures by name, such as "train/loss"."""
        ...

    def picture(self, step: int, name: str, picture: Picture) -> None:
        """Take a picture, (H, W, 3) uint8 RGB."""
        ...

    def close(self) -> None:
        """Send what is left and end."""
        ...


class TensorBoard:
    """Event files in ``tensorboard/`` of the run folder."""

    def __init__(self, run: Path, step: int, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:  # noqa: D102
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Picture) -> None:  # noqa: D102
        self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:  # noqa: D102
        self._writer.close()


class WeightsAndBiases:
    """A run of https://wandb.ai; account and project come from its own environment variables."""

    def __init__(self, run: Path, step: int, settings: Mapping[str, Any]) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        known = _known(run / "wandb_id.txt")
        self._run = self._wandb.init(
            dir=str(run), name=run.name, id=known, resume="allow", config=dict(settings)
        )
        write_text(run / "wandb_id.txt", self._run.id)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:  # noqa: D102
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Picture) -> None:  # noqa: D102
        self._run.log({name: self._wandb.Image(picture)}, step=step)

    def close(self) -> None:  # noqa: D102
        self._run.finish()


class MLflow:
    """A run of MLflow; server and experiment come from its own environment variables."""

    def __init__(self, run: Path, step: int, settings: Mapping[str, Any]) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        known = _known(run / "mlflow_id.txt")
        started = self._mlflow.start_run(run_id=known, run_name=None if known else run.name)
        if known is None:
            self._mlflow.log_dict(dict(settings), "recipe.yaml")
            write_text(run / "mlflow_id.txt", started.info.run_id)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:  # noqa: D102
        self._mlflow.log_metrics(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Picture) -> None:  # noqa: D102
        self._mlflow.log_image(picture, key=name, step=step)

    def close(self) -> None:  # noqa: D102
        self._mlflow.end_run()


class Callback:
    """A function of the step and the figures that are logged there."""

    def __init__(self, call: Callable[[int, Mapping[str, float]], None]) -> None:
        self._call = call

    def __call__(self, run: Path, step: int, settings: Mapping[str, Any]) -> Callback:
        """Begin to track a run."""
        return self

    def scalars(self, step: int, values: Mapping[str, float]) -> None:  # noqa: D102
        self._call(step, values)

    def picture(self, step: int, name: str, picture: Picture) -> None:  # noqa: D102
        pass

    def close(self) -> None:  # noqa: D102
        pass


MakeTracker = Callable[[Path, int, Mapping[str, Any]], Tracker]

TRACKERS: dict[str, MakeTracker] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def find_trackers(names: Iterable[str | Callback]) -> list[MakeTracker]:
    """Find trackers by name, before there is a run for them.

    Args:
        names: Of ``TRACKERS``, or callbacks.

    Returns:
        What begins to track a run, or goes on with it: (run folder, steps done before, recipe) ->
        tracker.

    Raises:
        InputError: No such tracker, or its package is not installed.
    """
    return [_find(name) for name in dict.fromkeys(names)]


def _find(name: str | Callback) -> MakeTracker:
    if isinstance(name, Callback):
        return name
    if name not in TRACKERS:
        raise InputError(
            f"tracker: got '{name}', expected one of {', '.join(TRACKERS)}"
            f"{did_you_mean(name, TRACKERS)}"
        )
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(f"tracker {name}: not installed; pip install {name}") from None
    return TRACKERS[name]


def _known(path: Path) -> str | None:
    return path.read_text().strip() if path.is_file() else None
